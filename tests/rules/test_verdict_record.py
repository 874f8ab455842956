"""What the rules said of a chat is kept with it, and can be told again later."""

import gc
import json
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.rules import Standing, judge, read_record
from relay.rules.compared_values import ChatView
from relay.rules.timed_evaluation import MAX_RULES, judge_view
from tests.builders import a_chat
from tests.rules.books import a_book

_DESTINATIONS = """\
recipient_domains: [example.org]
destinations:
  desk: {email: {to: desk@example.com}}
  visitor: {email: {to: "{{ visitor.email }}"}}
rules:
"""
BOOK = a_book(
    f"{_DESTINATIONS}"
    "  - {name: Bad, when: {rating: {at_most: 2}, any: [{missed: true}, {visitor.note: x}]}, send_to: desk}\n"
    "  - {name: All, when: always, send_to: [desk, visitor], stop: true}\n"
    "  - {name: Off, when: always, send_to: desk, enabled: false}\n"
    "  - {name: Later, when: {missed: true}, send_to: desk}\n"
)


def test_a_chat_is_judged_as_the_rules_say() -> None:
    chat = a_chat(rating=2, missed=True)
    assert judge(BOOK, chat).matches == BOOK.matches(chat)


@given(rating=st.none() | st.integers(1, 5), missed=st.booleans(), note=st.text(max_size=200))
def test_a_record_tells_again_what_was_found(rating: int | None, missed: bool, note: str) -> None:
    chat = a_chat(rating=rating, missed=missed, visitor={"note": note})
    recorded = read_record(judge(BOOK, chat).record)
    assert recorded.left_out == 0
    assert recorded.verdicts == tuple(
        replace(each, matches=(), unreached=()) for each in BOOK.explain(chat)
    )


def test_a_record_answers_why_nobody_was_told() -> None:
    told = json.loads(judge(BOOK, a_chat(rating=4)).record)
    assert told["rules"][0] == {
        "rule": "Bad",
        "answer": "no",
        "findings": [
            {"condition": "rated 2 or lower", "holds": False, "saw": "it was 4"},
            {
                "condition": "any of these",
                "holds": False,
                "parts": [
                    {"condition": "missed", "holds": False},
                    {
                        "condition": "visitor's note is “x”",
                        "holds": False,
                        "saw": "no note on the visitor",
                    },
                ],
            },
        ],
    }
    assert told["rules"][1]["unusable"] == [
        "visitor: {{ visitor.email }} is “marta@example.com”, which is outside recipient_domains"
    ]
    assert told["rules"][3] == {"rule": "Later", "answer": "not asked", "stopped_by": "All"}


def test_of_very_many_rules_only_those_that_hold_are_recorded() -> None:
    book = a_book(
        _DESTINATIONS
        + "".join(f"  - {{name: r{n}, when: {{rating: {n}}}, send_to: desk}}\n" for n in range(500))
    )
    judgement = judge(book, a_chat(rating=3))
    recorded = read_record(judgement.record)
    assert [match.rule for match in judgement.matches] == ["r3"]
    assert [(each.rule, each.standing) for each in recorded.verdicts] == [("r3", Standing.HOLDS)]
    assert recorded.left_out == 499
    assert len(judgement.record) < 300


def test_a_record_stays_small() -> None:
    long = "é" * 60_000
    book = a_book(
        _DESTINATIONS
        + "".join(
            f"  - {{name: r{n}, when: {{said: {{contains: nothing {n}}}}}, send_to: desk}}\n"
            for n in range(MAX_RULES)
        )
    )
    said = [{"type": "visitor", "content": long, "sentAt": 1} for _ in range(20)]
    assert len(judge(book, a_chat(messages=said)).record) < 20_000


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"{}", b'{"rules": [{}]}', b'{"rules": [{"rule": "a", "answer": "?"}]}', b"\xff"],
)
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"verdicts|Standing"):
        read_record(record)


def test_a_chat_that_was_judged_is_let_go_without_the_garbage_collector() -> None:
    view = ChatView(a_chat(rating=2, missed=True, visitor={"note": "x"}))
    judge_view(BOOK, view)
    let_go = weakref.ref(view)
    gc.disable()
    try:
        del view
        assert let_go() is None
    finally:
        gc.enable()
