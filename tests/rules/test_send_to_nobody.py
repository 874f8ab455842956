"""`send_to: nobody`: a rule that keeps chats from the rules below it."""

from pathlib import Path

import pytest

from relay.rules import RulesError, judge, read_record
from relay.services.backtesting import Comparing
from tests.builders import NOON, a_chat, a_hook
from tests.rules.books import a_book
from tests.rules.commands import relay

FILE = """\
destinations: {desk: {email: {to: desk@example.com}}}
rules:
  - name: Our own
    when: {visitor.email: {ends_with: "@example.org"}}
    send_to: nobody
    stop: true
  - {name: All, when: always, send_to: desk}
"""
OURS, THEIRS = (a_chat(visitor={"email": f"ann@example.{end}"}) for end in ("org", "com"))


def test_it_tells_nobody_and_stops_the_rules_below() -> None:
    book = a_book(FILE)
    assert book.warnings == ()
    assert book.matches(OURS) == ()
    assert [match.rule for match in book.matches(THEIRS)] == ["All"]
    own, rest = book.explain(OURS)
    assert (own.holds, own.stops, own.reaches_nobody) == (True, True, False)
    assert rest.stopped_by == "Our own"
    recorded, _ = read_record(judge(book, OURS).record).verdicts
    assert (recorded.holds, recorded.stops, recorded.reaches_nobody) == (True, True, False)


def test_without_stop_it_brings_a_warning() -> None:
    book = a_book(FILE.replace("    stop: true\n", ""))
    (warning,) = book.warnings
    assert "a rule for nobody changes nothing" in warning.words
    assert [match.rule for match in book.matches(OURS)] == ["All"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("send_to: nobody", "send_to: [nobody, desk]", "`nobody` stands alone"),
        ("send_to: nobody", "send_to: [nobody]", "`nobody` stands alone"),
        ("send_to: nobody", "send_to: Nobody", "for nobody write `send_to: nobody`"),
        ("send_to: nobody", "send_to: none", "for nobody write `send_to: nobody`"),
        ("send_to: nobody", "send_to: [no one]", "for nobody write `send_to: nobody`"),
        ("send_to: nobody", "send_to: off", "for nobody write `send_to: nobody`"),
        ("send_to: nobody", "send_to: []", "or write `send_to: nobody`"),
        ("send_to: nobody", "send_to: null", "or write `send_to: nobody`"),
        ("send_to: nobody", 'send_to: ""', "or write `send_to: nobody`"),
        ("rules:", "alerts_to: nobody\nrules:", "leave `alerts_to:` out"),
        ("to: desk@example.com}", "to: desk@example.com}, fallback: none", "leave `fallback:` out"),
        (
            "{desk:",
            "{nobody: {email: {to: a@example.com}}, desk:",
            "a destination can't be called 'nobody'",
        ),
    ],
)
def test_what_it_can_not_mean_is_an_error_that_says_what_to_write(
    old: str, new: str, words: str
) -> None:
    with pytest.raises(RulesError) as refused:
        a_book(FILE.replace(old, new))
    assert words in refused.value.problems[0].words


def test_explain_says_so_and_cases_can_expect_it(tmp_path: Path) -> None:
    rules, cases = tmp_path / "rules.yaml", tmp_path / "rules.test.yaml"
    rules.write_text(FILE, "utf-8")
    cases.write_text(
        "cases:\n"
        "  - {name: Ours, chat: {visitor.email: a@example.org}, expect: {Our own: nobody}}\n"
        "  - {name: Ours too, chat: {visitor.email: a@example.org}, expect: Our own}\n"
        "  - {name: Theirs, chat: {visitor.email: a@example.com}, expect: {All: desk}}\n",
        "utf-8",
    )
    tried = relay("test", cases)
    assert tried.exit_code == 0, tried.output
    hook = tmp_path / "hook.json"
    hook.write_bytes(a_hook(visitor={"email": "ann@example.org"}))
    explained = relay("explain", hook, rules)
    assert "Nothing would be sent.\n  Our own -> nobody, as the rule says\n" in explained.output
    cases.write_text(
        "cases:\n  - {name: Theirs, chat: {rating: 5}, expect: {All: nobody}}\n", "utf-8"
    )
    assert relay("test", cases).exit_code == 1


def test_a_destination_of_that_name_is_used_where_it_is_called_none() -> None:
    book = a_book(
        FILE.replace("{desk:", "{none: {email: {to: a@example.com}}, desk:").replace(
            "send_to: nobody", "send_to: none"
        )
    )
    assert [match.destination for match in book.matches(OURS)] == ["none"]


def test_preview_says_that_the_rule_sends_to_nobody(tmp_path: Path) -> None:
    rules, hook = tmp_path / "rules.yaml", tmp_path / "hook.json"
    rules.write_text(FILE, "utf-8")
    hook.write_bytes(a_hook(visitor={"email": "ann@example.org"}))
    for more in ([], ["--rule", "Our own"]):
        shown = relay("preview", hook, rules, *more)
        assert shown.exit_code == 1
        assert "the rule “Our own” says `send_to: nobody`, so nothing would be sent" in shown.stderr


def test_a_backtest_counts_the_chats_that_it_keeps_from_the_others() -> None:
    without = a_book(FILE.replace("send_to: nobody", "send_to: desk").replace("Our own", "Old"))
    comparing = Comparing(without, a_book(FILE))
    comparing.add(OURS, NOON)
    found = comparing.result()
    assert (found.told_before, found.told_after) == (1, 0)
    own, rest, old = found.changes
    assert (own.rule, own.for_nobody, own.before, own.after) == ("Our own", True, 0, 1)
    assert (rest.before, rest.after, old.before, old.after) == (0, 0, 1, 0)


def test_a_chat_for_nobody_is_not_counted_as_one_for_which_no_rule_holds() -> None:
    book = a_book(FILE)
    assert judge(book, OURS).held
    assert not judge(a_book(FILE.replace("when: always", "when: {missed: true}")), THEIRS).held
