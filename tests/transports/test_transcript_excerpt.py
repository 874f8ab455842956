"""What is shown of a transcript that is too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chat import Author
from relay.notification import TranscriptMessage
from relay.transports.transcript_excerpt import (
    MAX_MESSAGES,
    facts_left_out_line,
    left_out_line,
    post_excerpt,
)


def chat_of(lengths: list[int]) -> tuple[TranscriptMessage, ...]:
    return tuple(
        TranscriptMessage(author=Author.VISITOR, name=str(number), text="x" * length)
        for number, length in enumerate(lengths)
    )


def cost(message: TranscriptMessage) -> int:
    return len(message.text)


def test_a_chat_that_fits_is_shown_whole() -> None:
    chat = chat_of([10] * 5)
    shown = post_excerpt(chat, 50, cost)
    assert (shown.head + shown.tail, shown.left_out) == (chat, 0)


def test_the_middle_is_left_out() -> None:
    chat = chat_of([10] * 10)
    shown = post_excerpt(chat, 50, cost)
    assert (shown.head, shown.left_out, shown.tail) == (chat[:2], 5, chat[-3:])


def test_so_is_it_where_there_are_too_many() -> None:
    chat = chat_of([0] * 20)
    shown = post_excerpt(chat, 50, cost)
    assert (shown.head, shown.left_out, shown.tail) == (chat[:2], 8, chat[-10:])


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(-5, 300))
def test_no_message_is_lost_from_the_count_and_no_budget_is_overrun(
    lengths: list[int], budget: int
) -> None:
    chat = chat_of(lengths)
    shown = post_excerpt(chat, budget, cost)
    kept = shown.head + shown.tail
    assert len(kept) + shown.left_out == len(chat)
    assert len(kept) <= MAX_MESSAGES + 2
    assert not kept or sum(map(cost, kept)) <= budget
    assert chat[: len(shown.head)] == shown.head
    assert chat[len(chat) - len(shown.tail) :] == shown.tail


@pytest.mark.parametrize(
    ("count", "language", "line"),
    [
        (1, "en", "… 1 message left out; Smartsupp has the whole chat …"),
        (23, "en", "… 23 messages left out; Smartsupp has the whole chat …"),
        (23, "fr", "… 23 messages left out; Smartsupp has the whole chat …"),
        (1, "cs", "… vynechána 1 zpráva; celý chat je ve Smartsuppu …"),
        (3, "cs", "… vynechány 3 zprávy; celý chat je ve Smartsuppu …"),
        (23, "cs", "… vynecháno 23 zpráv; celý chat je ve Smartsuppu …"),
        (23, "de", "… 23 Nachrichten ausgelassen; der ganze Chat steht in Smartsupp …"),
    ],
)
def test_the_count_is_told(count: int, language: str, line: str) -> None:
    assert left_out_line(count, language) == line


def test_beside_a_file_it_says_so() -> None:
    assert (
        left_out_line(2, "en", in_file=True)
        == "… 2 messages left out; the file has the whole chat …"
    )


@pytest.mark.parametrize(
    ("count", "language", "line"),
    [
        (1, "en", "… 1 more left out …"),
        (3, "cs", "… a ještě {} další …"),
        (9, "cs", "… a ještě 9 dalších …"),
    ],
)
def test_facts_that_are_not_shown_are_counted(count: int, language: str, line: str) -> None:
    assert facts_left_out_line(count, language) == line.format(count)
