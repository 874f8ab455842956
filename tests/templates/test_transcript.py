"""Who said what and when, who waited, and what is left out where room is short."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Author, Visitor
from relay.notification import TranscriptMessage
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.transcript import Room, excerpt, html_bytes, text_bytes
from tests.templates.reading import SHIPPED, a_talk, shown, told


def test_a_long_wait_is_marked_where_it_ended() -> None:
    chat = a_talk(
        (0, Author.VISITOR, "Hello?"),
        (30, Author.AUTOMATIC, "We will be with you soon"),
        (300, Author.VISITOR, "Anybody?"),
        (660, Author.AGENT, "Here I am", "Jana"),
        (700, Author.VISITOR, "Good"),
        (819, Author.AGENT, "How can I help?", "Jana"),
        (900, Author.VISITOR, "Bye"),
        (1100, Author.SYSTEM, "close.visitorClose"),
    )
    gaps = [message.gap for message in told("chat", chat).transcript]
    assert gaps == [
        "",
        "",
        "",
        "11 min without an answer",
        "",
        "",
        "",
        "3 min 20 s without an answer",
    ]


@pytest.mark.parametrize(
    ("joined", "automatic", "place"),
    [(170, None, 1), (10, None, 2), (90, None, 1), (91, 1, 2), (100, 5, 2), (170, 175, 1)],
)
def test_a_wait_is_shown_where_nothing_was_said_for_longest(
    joined: int, automatic: int | None, place: int
) -> None:
    """Not between "Jana joined" and her first words, where she joined at the end of it."""
    between = [(float(joined), Author.SYSTEM, "agent.join", "Jana")]
    between += [(float(automatic), Author.AUTOMATIC, "Wait", "")] if automatic else []
    chat = a_talk((0, Author.VISITOR, "Hello?"), *sorted(between), (180, Author.AGENT, "Hi"))
    gaps = [message.gap for message in told("chat", chat).transcript]
    assert [at for at, gap in enumerate(gaps) if gap] == [place]


def test_a_wait_is_shown_after_the_visitors_last_words() -> None:
    chat = a_talk(
        (0, Author.VISITOR, "Hello?"),
        (200, Author.VISITOR, "Anybody?"),
        (230, Author.SYSTEM, "agent.join", "Jana"),
        (231, Author.AGENT, "Hi", "Jana"),
    )
    gaps = [message.gap for message in told("chat", chat).transcript]
    assert gaps == ["", "", "3 min 51 s without an answer", ""]


def test_nobody_waits_for_an_answer_to_an_offline_message() -> None:
    chat = a_talk((0, Author.VISITOR, "Please call me"), (900, Author.SYSTEM, "close.timeout"))
    assert [m.gap for m in told("offline", replace(chat, offline=True)).transcript] == ["", ""]


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("agent.join", "Jana", "Jana joined"),
        ("agent.leave", "Jana", "Jana left"),
        ("agent.join", "", "An agent joined"),
        ("close.visitorClose", "Marta", "The visitor closed the chat"),
        ("close.agentClose", "Jana", "Jana closed the chat"),
        ("agent.sang", "Jana", "agent.sang"),
        ("{name.__class__}", "Jana", "{name.__class__}"),
    ],
)
def test_system_codes_are_put_into_words_and_unknown_ones_stay(
    code: str, name: str, words: str
) -> None:
    (message,) = told("chat", a_talk((0, Author.SYSTEM, code, name))).transcript
    assert (message.name, message.text) == ("", words)


def test_a_message_that_was_only_an_attachment_says_so() -> None:
    chat = a_talk(
        (0, Author.VISITOR, ""), (9, Author.AGENT, " \n", "Jana"), (10, Author.SYSTEM, "")
    )
    made = told("chat", chat)
    assert [m.text for m in made.transcript] == ["(attachment)", "(attachment)", ""]
    assert "Jana: (attachment)" in made.text


def test_everybody_in_a_transcript_has_a_name() -> None:
    said = [(0, author, "Hi") for author in Author if author is not Author.SYSTEM]
    nameless = told("chat", a_talk(*said)).transcript
    assert [m.name for m in nameless] == ["Visitor", "Agent", "Automatic message", "Unknown"]
    named = told("chat", replace(a_talk(*said), visitor=Visitor(name="Marta"))).transcript
    assert named[0].name == "Marta"


def test_times_are_those_of_the_destination_and_a_new_day_is_named() -> None:
    chat = a_talk((0, Author.VISITOR, "Hi"), (60 * 60 * 11.5, Author.VISITOR, "Hi"), (60 * 60 * 12.5, Author.VISITOR, "Hi"))  # fmt: skip
    assert [m.time for m in told("chat", chat).transcript] == ["12:00", "23:30", "23 Nov, 00:30"]
    in_tokyo = SHIPPED.render("chat", chat, rule="", language="en", zone=ZoneInfo("Asia/Tokyo"))
    assert [m.time for m in in_tokyo.transcript] == ["20:00", "23 Nov, 07:30", "08:30"]


def test_the_middle_of_a_long_transcript_is_left_out_of_the_html_and_counted() -> None:
    notification = told("chat", made_up_chats()["very_long"])
    page = shown(notification.html)
    numbers = {int(word.rstrip(":")) for word in page.text.split() if word.rstrip(":").isdigit()}
    left_out = 300 - len({n for n in range(300) if f" {n}: " in page.text and n in numbers})
    assert 200 < left_out < 280
    assert f"{left_out} messages left out; the whole transcript is attached" in page.text
    assert "Question 0:" in page.text
    assert "Answer 299:" in page.text
    for part in (notification.text, notification.attachment):
        assert all(f"{message.text}\n" in part for message in notification.transcript)


def test_a_transcript_that_is_shown_whole_is_not_attached_as_well() -> None:
    assert told("chat", made_up_chats()["finished"]).attachment == ""


@given(
    texts=st.lists(st.text('a"&\n\u00e9\N{GRINNING FACE}', max_size=40), max_size=12),
    total=st.integers(0, 3_000),
    most=st.integers(10, 220),
    cost=st.sampled_from([html_bytes, text_bytes]),
)
def test_a_transcript_is_shown_whole_where_there_is_room_for_it_and_nowhere_else(
    texts: list[str], total: int, most: int, cost: Callable[[str], int]
) -> None:
    said = tuple(TranscriptMessage(author=Author.AGENT, name="<J>", text=text) for text in texts)
    part = excerpt(said, Room(total=total, message=most, markup=30, cost=cost), "…")
    needed = sum(30 + cost(message.text) + cost(message.name) for message in said)
    assert part.whole == (needed <= total and all(cost(text) <= most for text in texts))
    if part.whole:
        assert (part.head, part.tail) == (said[: len(said) // 2], said[len(said) // 2 :])


def test_a_message_of_100_kb_is_cut_visibly_in_html_and_whole_in_the_text_part_and_the_attachment() -> (
    None
):
    notification = told("chat", a_talk((0, Author.VISITOR, "word & " * 14_000 + "end")))
    assert "… [cut; the attachment has all of it]" in shown(notification.html).text
    assert len(notification.html.encode()) < 20_000
    assert "word & end\n" in notification.text
    assert notification.attachment.endswith("word & end\n")


def test_the_text_part_stops_at_its_limit_and_says_so() -> None:
    said = [(place, Author.VISITOR, "x" * 50_000) for place in range(6)]
    notification = told("chat", a_talk(*said))
    assert len(notification.text.encode()) <= 200_000
    assert "[ 3 messages left out; the whole transcript is attached ]" in notification.text
    assert notification.attachment.count("x" * 50_000) == 6


def test_a_name_stands_once_above_what_one_person_says_in_a_row() -> None:
    """Also where the first half of the transcript meets the second."""
    notification = told(
        "chat",
        a_talk(
            (0, Author.VISITOR, "Hello", "Marta"),
            (5, Author.VISITOR, "Anyone there?", "Marta"),
            (65, Author.VISITOR, "It is about shoes", "Marta"),
            (70, Author.AGENT, "Which ones?", "Jana"),
            (75, Author.VISITOR, "The green ones", "Marta"),
        ),
    )
    said = shown(notification.html).text.partition("Transcript")[2].partition("Chat 2 of")[0]
    assert said.strip() == (
        "Marta · 12:00 Hello Anyone there? 12:01 It is about shoes"
        " Jana · 12:01 Which ones? Marta · 12:01 The green ones"
    )
    assert notification.text.count("Marta: ") == 4
