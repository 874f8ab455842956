"""`relay check`, `relay explain` and `relay fields`, as a person runs them."""

import json
import os
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.rules.commands import check, relay

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "rules.example.yaml"
SAMPLES = ROOT / "relay" / "demo" / "samples"

FLOW = "https://x.environment.api.powerplatform.com:443/powerautomate/workflows/1/triggers/manual/paths/invoke"
_GOOD = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, stop: true}
  - {name: The rest, when: {rating: {at_most: 2}}, send_to: desk}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(_GOOD, "utf-8")
    return path


def test_check_says_what_was_read(rules: Path) -> None:
    result = check(rules)
    assert result.output == f"{rules}: 2 rules, 1 destination; all fine\n"
    assert result.exit_code == 0


def test_check_shows_each_problem_with_its_line_and_a_caret(rules: Path) -> None:
    rules.write_text(_GOOD.replace("missed:", "mised:").replace("desk,", "dask,"), "utf-8")
    result = check(rules)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{rules}:4:33: unknown field 'mised'; did you mean missed?",
        "    4 |   - {name: Missed chats, when: {mised: true}, send_to: dask, stop: true}",
        "      |                                 ^",
        f"{rules}:4:56: no destination is called 'dask'; did you mean desk?",
        "    4 |   - {name: Missed chats, when: {mised: true}, send_to: dask, stop: true}",
        "      |                                                        ^",
        "2 problems",
    ]


def test_check_points_below_letters_of_any_width(rules: Path) -> None:
    rules.write_text(_GOOD.replace("{name: Missed chats, ", "{name: 顧客🎉, mist: x, "), "utf-8")
    lines = check(rules).stderr.splitlines()
    # Three letters of the line take two columns each.
    assert lines[2].index("^") == lines[1].index("mist") + 3


def test_check_never_shows_a_line_with_a_secret(rules: Path) -> None:
    rules.write_text(
        "destinations:\n  room: {slack: {webhook: hush-hush, chanel: x}}\n"
        "  other: {slack: {chanel: https://hooks.slack.com/services/T0/B0/hush}}\n"
        "  third: {slack: hush-hush}\nrules: []\n",
        "utf-8",
    )
    result = relay("check", rules, "--json")
    assert "hush" not in result.output
    shown = relay("check", rules).output
    assert "rules.yaml:2:38: unknown key 'chanel' under slack" in shown
    assert "hush" not in shown


def test_check_warns_of_variables_that_are_not_set(rules: Path) -> None:
    result = relay("check", rules)
    assert result.exit_code == 0
    assert result.stdout == f"{rules}: 2 rules, 1 destination, 2 warnings\n"
    assert (
        f"{rules}:2:18: warning: RELAY_SMTP_URL is not set in relay.env or the environment; "
        "the relay needs it here" in result.stderr
    )


def test_check_names_a_variable_that_is_nearly_the_one_that_is_not_set(rules: Path) -> None:
    rules.write_text(
        "destinations:\n  room: {slack: {webhook: $SUPPORT_WEBHOOK}}\n  lead: {slack: {webhook: $SUPPORTS_WEBHOOK}}\n"
        "rules:\n  - {name: All, when: always, send_to: [room, lead]}\n",
        "utf-8",
    )
    set_now = dict.fromkeys(
        ("SUPORT_WEBHOOK", "SUPPORTS_WEBHOOK"), "https://hooks.slack.com/services/T/B/x"
    )
    told = check(rules, **set_now).stderr
    assert (
        "SUPPORT_WEBHOOK is not set in relay.env or the environment (SUPORT_WEBHOOK is set: a typo?)"
        in told
    )


@pytest.mark.long
def test_check_warns_of_a_secret_that_is_not_set() -> None:
    result = check(EXAMPLE)
    assert result.exit_code == 0
    assert "SLACK_SUPPORT_WEBHOOK is not set in relay.env or the environment" in result.stderr
    told = check(EXAMPLE, SLACK_SUPPORT_WEBHOOK="https://127.0.0.1/hush")
    assert "SLACK_SUPPORT_WEBHOOK" not in told.stderr.replace("$SLACK_SUPPORT_WEBHOOK", "")
    assert "hush" not in told.output


def test_check_tries_the_templates_out(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "words" / "chat").mkdir(parents=True)
    (tmp_path / "words" / "chat" / "subject.txt").write_text("{{ visitor.nmae }}", "utf-8")
    result = check(rules, RELAY_TEMPLATES=str(tmp_path / "words"))
    assert result.exit_code == 1
    assert "subject.txt:1" in result.stderr
    assert "nmae" in result.stderr


def test_check_reads_the_file_that_the_setting_names(rules: Path) -> None:
    assert check(RELAY_RULES=str(rules)).exit_code == 0


def test_check_tries_the_samples_for_variables_that_are_no_numbers(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    condition = "{any: [{visitor.variables.cart: {at_least: 1000}}, {missed: true}]}"
    rules.write_text(_GOOD.replace("{missed: true}", condition), "utf-8")
    (tmp_path / "samples").mkdir()
    for name, cart in (("a", "1 290"), ("b", "1290 Kč"), ("c", "")):
        hook = a_hook(1, visitor={"variables": {"cart": {"label": "Cart", "value": cart}}})
        (tmp_path / "samples" / f"{name}.json").write_bytes(hook)
    (tmp_path / "samples" / "d.json").write_text("no chat", "utf-8")
    result = check(rules)
    assert result.exit_code == 0
    assert result.stderr.count("not a number") == 1
    assert (
        "rules.yaml:4:5: warning: 'Missed chats' compares visitor.variables.cart with a number; in "
        f"{tmp_path}/samples/b.json it is not a number: “1290 Kč”"
    ) in result.stderr


def test_check_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rules.yaml")
    result = check(tmp_path / "rules.yaml")
    assert result.exit_code == 2
    assert "rules.yaml: the file can't be read: it is a named pipe, not a file" in result.stderr


def test_check_can_t_run_without_a_file(tmp_path: Path) -> None:
    result = relay("check", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml: there is no such file" in result.stderr


def test_check_can_t_run_with_broken_settings(rules: Path) -> None:
    result = relay("check", rules, RELAY_SMTP_URL="mail.example.com")
    assert result.exit_code == 2
    assert "RELAY_SMTP_URL: write smtps://" in result.stderr


def test_one_setting_that_can_not_be_used_puts_no_blame_on_the_others(
    rules: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "of_ones_own").mkdir(parents=True)
    (own / "of_ones_own" / "subject.txt").write_text("Hello", "utf-8")
    rules.write_text(
        "destinations: {room: {slack: {webhook: $ROOM}}}\n"
        "rules: [{name: All, when: always, send_to: room, template: of_ones_own}]\n",
        "utf-8",
    )
    result = check(
        rules,
        ROOM="http://127.0.0.1/hook",
        RELAY_ALLOW_PRIVATE_WEBHOOKS="yes",
        RELAY_TEMPLATES=str(own),
        RELAY_RETENTION_DAYS="soon",
    )
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "problem: RELAY_RETENTION_DAYS: 'soon' is not a number of days; write 365, or forever",
        "1 problem",
    ]


def test_explain_says_whom_a_rule_reaches_instead_or_that_it_reaches_nobody(
    tmp_path: Path,
) -> None:
    rules, hook = tmp_path / "rules.yaml", tmp_path / "chat.json"
    hook.write_bytes(a_hook(1, missed=True))
    text = """\
recipient_domains: [example.com]
destinations:
  owner: {email: {to: "{{ visitor.variables.owner }}"}%s}
  sales: {email: {to: sales@example.com}}
rules:
  - {name: Owners, when: {missed: true}, send_to: owner, stop: true}
  - {name: Rest, when: always, send_to: sales}
"""
    rules.write_text(text % ", fallback: sales", "utf-8")
    told = relay("explain", hook, rules).stdout
    assert "Owners -> sales (email, template chat, instead of owner): sales@example.com" in told
    assert "Owners: left out, owner: {{ visitor.variables.owner }} is empty for this chat" in told
    assert "2. Rest: not asked" in told
    rules.write_text(text % "", "utf-8")
    told = relay("explain", hook, rules).stdout
    assert "1. Owners: yes, but it reaches nobody" in told
    assert "2. Rest: yes" in told


def test_check_warns_of_a_fallback_that_may_reach_nobody(rules: Path) -> None:
    rules.write_text(
        """\
recipient_domains: [example.com]
destinations:
  owner: {email: {to: "{{ visitor.variables.owner }}"}}
  room: {email: {to: desk@example.com}, fallback: owner}
rules: [{name: All, when: always, send_to: room}]
""",
        "utf-8",
    )
    assert (
        "warning: the chat chooses all recipients of 'owner', so this fallback may reach nobody; "
        "give that one a fallback too"
    ) in check(rules).stderr


def test_check_answers_programs_in_json(rules: Path) -> None:
    rules.write_text(_GOOD.replace("at_most: 2", "at_most: two"), "utf-8")
    result = check(rules, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert told["problems"] == [
        {
            "severity": "error",
            "path": str(rules),
            "line": 5,
            "column": 47,
            "what": "expected a number, got 'two'",
            "hint": "",
        }
    ]


def test_explain_says_of_each_rule_why_and_what_would_be_sent() -> None:
    result = relay("explain", SAMPLES / "low_rating_vip.json", EXAMPLE)
    assert result.exit_code == 0
    assert (
        result.stdout
        == """\
Chat 208/910003, Sat 2025-11-22 11:26 (Europe/Prague)

1. Missed chats: no
   missed: no

2. Bad ratings: yes
   rated 2 or lower: yes, it was 1

3. Offline messages to sales: no
   an offline message: no

4. VIP customers: yes
   visitor's note contains “VIP”: yes, it was “VIP - key account, call Petr”
   any of these: yes
     missed: no
     rated 3 or lower: yes, it was 1

5. Slow answers in office hours: turned off

Would be sent:
  Bad ratings -> managers (teams, template low_rating)
  Bad ratings -> support-room (slack, template low_rating)
  VIP customers -> vip-room (slack, template vip)
"""
    )


def test_explain_says_what_a_stop_kept_from_being_asked(rules: Path) -> None:
    result = relay("explain", "-", rules, given=a_hook(missed=True))
    assert "2. The rest: not asked, because “Missed chats” stops" in result.stdout
    assert "Missed chats -> desk (email, template chat): desk@example.com" in result.stdout


@pytest.mark.parametrize(
    ("at", "shown", "answer"),
    [
        ("2026-11-21 23:30", "Sat 2026-11-21 23:30", "yes"),
        ("2026-11-20 09:00", "Fri 2026-11-20 09:00", "no"),
        ("2026-11-20T23:30:00Z", "Sat 2026-11-21 00:30", "yes"),
        ("sun 10:00", "Sun 2025-11-23 10:00", "yes"),  # of the chat's week
        ("tuesday 10:00", "Tue 2025-11-18 10:00", "no"),
        ("10:00", "Sat 2025-11-22 10:00", "yes"),  # of its day
    ],
)
def test_explain_moves_a_chat_to_another_time(
    rules: Path, at: str, shown: str, answer: str
) -> None:
    rules.write_text(
        "timezone: Europe/Prague\n"
        "schedules: {office: {days: mon-fri, hours: 08:00-17:00}}\n"
        "destinations: {desk: {email: {to: desk@example.com}}}\n"
        "rules:\n"
        "  - {name: Began, when: {began: {outside: office}}, send_to: desk}\n"
        "  - {name: Ended, when: {ended: {outside: office}}, send_to: desk}\n",
        "utf-8",
    )
    told = relay("explain", "-", rules, "--at", at, given=a_hook()).stdout
    assert f", {shown} (Europe/Prague)" in told
    assert f"1. Began: {answer}\n   began outside office: {answer}, it was {shown}" in told
    assert f"2. Ended: {answer}\n" in told


def test_explain_refuses_a_time_that_is_none(rules: Path) -> None:
    result = relay("explain", "-", rules, "--at", "tomorrow", given=a_hook())
    assert result.exit_code == 2
    assert "'tomorrow' is not a time; write 2026-11-21 23:30, sat 23:30 or 23:30" in result.stderr


def test_explain_says_when_nothing_would_be_sent(rules: Path) -> None:
    assert relay("explain", "-", rules, given=a_hook()).stdout.endswith(
        "\nNothing would be sent.\n"
    )


def test_explain_names_recipients_that_are_left_out(rules: Path) -> None:
    rules.write_text(
        "recipient_domains: example.org\n"
        "destinations: {visitor: {email: {to: '{{ visitor.email }}'}}}\n"
        "rules: [{name: All, when: always, send_to: visitor}]",
        "utf-8",
    )
    told = relay("explain", "-", rules, given=a_hook()).stdout
    assert (
        "  All: left out, visitor: {{ visitor.email }} is “marta@example.com”, "
        "which is outside recipient_domains\n" in told
    )


def test_explain_shows_no_terminal_tricks_of_a_visitor(rules: Path) -> None:
    hook = a_hook(rating_comment="\x1b[2J\u202egnp\r\n", visitor={"note": "\x1b]0;x\x07"})
    rules.write_text(
        _GOOD.replace("{missed: true}", "{rating_comment: x, visitor.note: y}"), "utf-8"
    )
    told = relay("explain", "-", rules, given=hook).stdout
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_explain_answers_programs_in_json(rules: Path) -> None:
    told = json.loads(relay("explain", "-", rules, "--json", given=a_hook(missed=True)).stdout)
    assert told["rules"][0]["answer"] == "yes"
    assert told["rules"][0]["findings"] == [
        {"condition": "missed", "holds": True, "saw": "", "parts": []}
    ]
    assert told["rules"][0]["sends"][0]["recipients"] == ["desk@example.com"]
    assert told["rules"][1]["stopped_by"] == "Missed chats"


@pytest.mark.parametrize(
    ("given", "words"), [(b"[1]", "expected a JSON object, got a list"), (b"{", "not JSON")]
)
def test_explain_can_t_run_with_what_is_no_chat(rules: Path, given: bytes, words: str) -> None:
    result = relay("explain", "-", rules, given=given)
    assert result.exit_code == 2
    assert "this is not a chat" in result.stderr
    assert words in result.stderr


def test_explain_can_t_run_with_bad_rules(rules: Path) -> None:
    rules.write_text("rules: 1", "utf-8")
    result = relay("explain", "-", rules, given=a_hook())
    assert result.exit_code == 2
    assert f"{rules}:1:8: `rules:` takes a list, got '1'" in result.stderr


def test_fields_shows_both_names() -> None:
    told = relay("fields").stdout
    assert "average_response" in told
    assert "channel.avgResponse" in told
    assert all(len(line) <= 120 for line in told.splitlines())


def test_fields_answers_programs_in_json() -> None:
    told = json.loads(relay("fields", "--json").stdout)
    rating = next(field for field in told["fields"] if field["name"] == "rating")
    assert rating["smartsupp"] == "channel.rating"
    assert "at_most" in rating["operators"]
    assert {"name", "meaning", "example"} == set(told["operators"][0])


SLACK_WEBHOOKS = [
    ("hooks.slack.com/services/T0/B0/x", "holds is not a web address"),
    ("https://hooks.slack.com/triggers/T0/1/x", "Slack's Workflow Builder; make an incoming webhook"),
    ("http://hooks.slack.com/services/T0/B0/x", "it must be https://"),
    ("https://127.0.0.1/services/x", "leads to 127.0.0.1, which is not on the public internet"),
    ("https://hooks.slack.com/services/...", "is a placeholder, as in an example"),
    ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "is a placeholder"),
    ("https://hooks.slack.com/services/YOUR/WEBHOOK/URL", "is a placeholder"),
    ("https://example-team.slack.com/archives/C0123456789", "is not whole: "),
    ("https://teams.microsoft.com/l/channel/19%3Ax/General", "is a webhook of Teams, not of Slack"),
    ("https://hooks.slack.com/services/T0/B0", "is not whole: "),
    ("https://hooks.slack.com/", "is not whole: "),
    (f"{FLOW}?api=1&sig=x", "is a webhook of Teams, not of Slack; are two of them exchanged?"),
    ("https://hooks.slack.com/services/T0/B0/x&amp;y=1", "has &amp; in it"),
    ("https://hooks.slack.com/services/T0/B0/x y", "holds is not a web address"),
]  # fmt: skip
FLOWS = [
    ("https://hooks.slack.com/services/T0/B0/x", "is a webhook of Slack, not of Teams"),
    (f"{FLOW}?api-version=1", "is not whole: the address of a flow has &sig=... at its end"),
    (f"{FLOW}?api-version=1&sig=", "is not whole: the address of a flow has &sig=... at its end"),
    (f"{FLOW}?api=1&amp;sig=x", "has &amp; in it"),
    ("https://....environment.api.powerplatform.com:443/powerautomate/...&sig=...", "is a placeholder"),
    ("https://teams.microsoft.com/l/channel/19%3Ax/General", "is not whole: "),
    ("https://x.webhook.office.com/webhookb2/x", "is the address of an Office 365 connector"),
]  # fmt: skip
"""What a secret holds, and what is said of it."""


def rooms(folder: Path, transport: str, count: int) -> Path:
    """A rules file with so many destinations, each with a webhook of its own: $ROOM10, $ROOM11, ..."""
    path = folder / "rules.yaml"
    names = [f"room{number}" for number in range(10, 10 + count)]
    lines = [f"  {name}: {{{transport}: {{webhook: ${name.upper()}}}}}" for name in names]
    rule = f"rules: [{{name: All, when: always, send_to: [{', '.join(names)}]}}]"
    path.write_text("\n".join(["destinations:", *lines, rule, ""]), "utf-8")
    return path


def problem_of(stderr: str, rules: Path, number: int) -> str:
    """What is said of this webhook, at its place."""
    place = f"{rules}:{number - 8}:29: what $ROOM{number} holds "
    (line,) = (line for line in stderr.splitlines() if line.startswith(place))
    return line


@pytest.mark.long
def test_check_says_where_a_webhook_can_not_be_one_and_does_not_show_it(tmp_path: Path) -> None:
    rules = rooms(tmp_path, "slack", len(SLACK_WEBHOOKS))
    variables = {f"ROOM{number}": held for number, (held, _) in enumerate(SLACK_WEBHOOKS, 10)}
    result = check(rules, **variables)
    assert result.exit_code == 1
    for number, (held, said) in enumerate(SLACK_WEBHOOKS, 10):
        assert said in problem_of(result.stderr, rules, number)
        assert held not in result.stderr
    good = dict.fromkeys(variables, "https://hooks.slack.com/services/T0/B0/x")
    assert check(rules, **good).exit_code == 0


@pytest.mark.long
def test_check_says_where_a_flows_address_can_not_be_one(tmp_path: Path) -> None:
    rules = rooms(tmp_path, "teams", len(FLOWS))
    values, files = {}, {}
    for number, (held, _) in enumerate(FLOWS, 10):
        file = tmp_path / f"secret{number}"
        file.write_text(f"\ufeff{held}\r\n", "utf-8")
        values[f"ROOM{number}"] = held
        files[f"ROOM{number}_FILE"] = str(file)
    for variables in (values, files):
        result = check(rules, **variables)
        assert result.exit_code == 1
        for number, (held, said) in enumerate(FLOWS, 10):
            assert f" holds {said}" in problem_of(result.stderr, rules, number)
            assert held not in result.stderr
    assert check(rules, **dict.fromkeys(values, f"{FLOW}?api-version=1&sig=x")).exit_code == 0


@pytest.mark.long
def test_check_says_where_a_secrets_file_can_not_hold_it(tmp_path: Path) -> None:
    rules, file = tmp_path / "rules.yaml", tmp_path / "secret"
    rules.write_text(
        "destinations:\n  room: {slack: {webhook: $ROOM}}\n"
        "rules: [{name: All, when: always, send_to: room}]\n",
        "utf-8",
    )
    file.write_text("https://hooks.slack.com/services/T0/\nB0/hush", "utf-8")
    result = check(rules, ROOM_FILE=str(file))
    assert result.exit_code == 1
    assert (
        f"{rules}:2:27: ROOM_FILE: the file holds more than one line; write the value"
        in result.stderr
    )
    result = check(rules, ROOM_FILE="https://hooks.slack.com/services/T0/B0/hush")
    assert result.exit_code == 1
    assert (
        f"{rules}:2:27: ROOM_FILE names no file: it seems to hold the secret itself"
        in result.stderr
    )
    assert "hush" not in result.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RELAY_SLACK_TOKEN": "xoxb-..."}, "RELAY_SLACK_TOKEN holds the value of an example"),
        ({"RELAY_HOOK_TOKENS": "your-token-0123456789"}, "RELAY_HOOK_TOKENS holds the value of an example"),
        ({"RELAY_SMTP_URL": "smtps://me:app-password@mail"}, "RELAY_SMTP_URL holds the value of an example"),
        ({"RELAY_DATABASE": "postgresql://relay:password@db/x"}, "RELAY_DATABASE holds the value of an example"),
        ({"RELAY_SMTP_URL": "smtps://me:pass@mail"}, "the password in RELAY_SMTP_URL has fewer than 8 characters"),
        ({"RELAY_DATABASE": "postgresql://me:pass@db/x"}, "the password in RELAY_DATABASE has fewer than 8"),
    ],
)  # fmt: skip
@pytest.mark.long
def test_check_refuses_what_is_no_secret_yet(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    (tmp_path / "rules.yaml").write_text("rules: []", "utf-8")
    result = check(tmp_path / "rules.yaml", **variables)
    assert result.exit_code == 1
    assert f"environment: {said}" in result.stderr


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"RELAY_SMTP_URL": "smtps://me:long%20enough@smtp.example.com"}, "RELAY_SMTP_URL"),
        ({"RELAY_SMTP_URL": "smtps://mail", "RELAY_MAIL_FROM": "a@example.com"}, "RELAY_MAIL_FROM"),
        ({"RELAY_PUBLIC_URL": "https://relay.example.com"}, "RELAY_PUBLIC_URL"),
        ({"RELAY_DATABASE": "postgresql://db.example.org/x"}, "RELAY_DATABASE"),
    ],
)
@pytest.mark.long
def test_check_warns_of_hosts_that_only_examples_have(
    tmp_path: Path, variables: dict[str, str], name: str
) -> None:
    (tmp_path / "rules.yaml").write_text("rules: []", "utf-8")
    result = check(tmp_path / "rules.yaml", **variables)
    assert f"environment: warning: {name} names a host of examples" in result.stderr
    assert result.exit_code == 0
