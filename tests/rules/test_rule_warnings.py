"""Warnings of rules that can never tell of a chat: those that people write, and that each warning is true."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chat import Author, Chat, Message, Visitor
from tests.rules.books import a_book, a_rule_when

_DESK = "destinations: {desk: {email: {to: desk@example.com}}}\n"


def warnings_of(text: str) -> list[str]:
    return [str(each).removeprefix("rules.yaml:") for each in a_book(text).warnings]


def doubts(condition: str) -> list[str]:
    """What is said of a rule with this condition, the unused schedule apart."""
    told = warnings_of(a_rule_when(condition))
    return [each.split("; ", 1)[1] for each in told if "'The rule' can never match" in each]


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (
            "{rating: {at_least: 4, at_most: 2}}",
            '"rated 4 or higher" and "rated 2 or lower" exclude each other',
        ),
        (
            "{rating: {more_than: 3, less_than: 3}}",
            '"rated higher than 3" and "rated lower than 3" exclude each other',
        ),
        (
            "{rating: {more_than: 3, at_most: 3}}",
            '"rated higher than 3" and "rated 3 or lower" exclude each other',
        ),
        ("{rating: 7}", "\"rated 7\" matches no chat, 'rating' goes from 1 to 5"),
        (
            "{rating: {less_than: 1}}",
            "\"rated lower than 1\" matches no chat, 'rating' goes from 1 to 5",
        ),
        (
            "{message_count: {less_than: 0}}",
            "\"number of messages lower than 0\" matches no chat, 'message_count' goes from 0 upwards",
        ),
        ("{missed: true, all: [{missed: false}]}", '"missed" and "not missed" exclude each other'),
        (
            "{visitor.note: vip, all: [{visitor.note: {contains: gold}}]}",
            '"visitor\'s note is “vip”" and "visitor\'s note contains “gold”" exclude each other',
        ),
        (
            "{began: {within: office, outside: office}}",
            '"began within office" and "began outside office" exclude each other',
        ),
        (
            "{first_response: {more_than: 3m, empty: true}}",
            '"first answer took longer than 3 min" and "\'first_response\' is empty" exclude each other',
        ),
    ],
)
def test_a_rule_that_can_never_hold_is_a_warning(condition: str, why: str) -> None:
    assert doubts(condition) == [why]


@pytest.mark.parametrize(
    "condition",
    [
        "{rating: {at_least: 3, at_most: 3}}",
        "{rating: [4, 7]}",
        "{said: refund, all: [{said: return}]}",  # one message each
        "{any: [{rating: 9}, {missed: true}]}",
        "{rating: 3, any: [{rating: 4}, {rating: 3}]}",
        "{visitor.note: Vip, all: [{visitor.note: {matches: '(?-i)VIP'}}]}",  # case counts there
        "{began: {within: office}, ended: {outside: office}}",
        "{not: {rating: {at_most: 2}}, any: [{rating: {at_most: 3}}]}",
    ],
)
def test_a_rule_that_may_hold_is_none(condition: str) -> None:
    assert doubts(condition) == []


@pytest.mark.parametrize(
    ("condition", "warning"),
    [
        (
            "{visitor.country_code: Germany}",
            "'visitor.country_code' is never 'Germany'; it has two letters, such as CZ",
        ),
        (
            "{page.url: [https://a.example/, /checkout]}",
            "'page.url' is never '/checkout'; it begins with https://; for a part of it use contains",
        ),
        (
            "{visitor.email: example.com}",
            (
                "'visitor.email' is never 'example.com'; "
                "it has an @; for a part of it use contains, or ends_with"
            ),
        ),
        (
            "{visitor.note: contains VIP}",
            "'contains VIP' is compared as a whole text; write {contains: VIP}, or put quotes around it if it is meant",
        ),
        (
            "{visitor.note: x}, template: chat #1",
            (
                "only 'chat' counts, YAML takes '#1}' for a comment; "
                "put quotes around all of it, or a space after the # of a comment"
            ),
        ),
    ],
)
def test_a_value_that_was_hardly_meant_is_a_warning(condition: str, warning: str) -> None:
    source = a_rule_when(condition)
    told = warnings_of(source + ("    }\n" if "#1" in condition else ""))
    assert [each.split(" ", 1)[1] for each in told if "schedule" not in each] == [warning]


def test_a_schedule_that_no_rule_uses_is_a_warning() -> None:
    assert warnings_of(a_rule_when("{missed: true}")) == ["3:3: no rule uses the schedule 'office'"]
    assert warnings_of(a_rule_when("{began: {within: office}}")) == []


_ATOMS = st.sampled_from(
    [
        "missed: true",
        "missed: false",
        "missed: {empty: true}",
        "rating: 1",
        "rating: [1, 2]",
        "rating: {at_most: 2}",
        "rating: {less_than: 2}",
        "rating: {at_least: 2}",
        "rating: {more_than: 2}",
        "rating: {empty: true}",
        "rating: {empty: false}",
        "first_response: {at_most: 1m}",
        "first_response: {more_than: 1m}",
        "visitor.note: VIP",
        "visitor.note: [vip, gold]",
        "visitor.note: {contains: v}",
        "visitor.note: {matches: '(?-i)vip'}",
        "said: refund",
        "said: {contains: fun}",
        "began: {within: office}",
        "began: {outside: office}",
    ]
)
_WHEN = st.recursive(
    _ATOMS.map(lambda atom: f"{{{atom}}}"),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{any: [{', '.join(parts)}]}}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{all: [{', '.join(parts)}]}}"),
        inner.map(lambda part: f"{{not: {part}}}"),
    ),
    max_leaves=6,
)
_CHATS = [
    Chat(
        account="1",
        id="1",
        missed=missed,
        rating=rating,
        first_response=response,
        visitor=Visitor(note=note),
        began=began,
        messages=tuple(Message(author=Author.VISITOR, text=text) for text in said),
    )
    for missed in (True, False, None)
    for rating in (None, 1, 1.5, 2, 3)
    for response, note, began, said in (
        (None, "", None, ()),
        (timedelta(minutes=1), "VIP", datetime(2026, 6, 1, 9, tzinfo=UTC), ("refund",)),
        (timedelta(minutes=2), "vip", datetime(2026, 6, 1, 23, tzinfo=UTC), ("funny", "x")),
        (timedelta(seconds=5), "gold", datetime(2026, 6, 6, 9, tzinfo=UTC), ("x",)),
    )
]


@given(first=_WHEN, second=_WHEN)
def test_a_rule_of_which_a_warning_says_that_it_never_holds_never_does(
    first: str, second: str
) -> None:
    book = a_book(
        a_rule_when(first).replace("- {", "- {stop: true, ")
        + f"  - {{name: Second, send_to: desk, when: {second}}}\n"
    )
    said = " ".join(map(str, book.warnings))
    told = {match.rule for chat in _CHATS for match in book.matches(chat)}
    if "'The rule' can never match" in said:
        assert "The rule" not in told
    if "'Second' can never" in said:
        assert "Second" not in told
