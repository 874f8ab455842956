"""What a Teams card looks like: small enough for a flow, with nothing to carry out but our links."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.chat import Author
from relay.notification import Fact, Link, Notification, TranscriptMessage
from relay.transports.teams.pack import pack
from tests.transports.examples import (
    HOSTILE,
    MISSED,
    NOTIFICATIONS,
    TEXTS,
    a_notification,
    saying,
    typed,
)
from tests.transports.web_bench import texts

Json = dict[str, Any]
OF_1_2 = {
    "ActionSet",
    "Container",
    "RichTextBlock",
    "TextRun",
    "AdaptiveCard",
    "Action.OpenUrl",
    "message",
}


def nodes(json_: Any) -> Iterator[Json]:
    if isinstance(json_, dict):
        yield json_
        for value in json_.values():
            yield from nodes(value)
    if isinstance(json_, list):
        for value in json_:
            yield from nodes(value)


def read(post: bytes) -> str:
    """A line per block."""
    return "\n".join(
        "".join(run["text"] for run in node["inlines"])
        for node in nodes(json.loads(post))
        if node.get("type") == "RichTextBlock"
    )


def body(post: bytes) -> list[Json]:
    found: list[Json] = json.loads(post)["attachments"][0]["content"]["body"]
    return found


def buttons(post: bytes) -> list[Json]:
    return [each for node in body(post) for each in node.get("actions", [])]


def check(post: bytes) -> None:
    """Everything that must hold of any card."""
    assert len(post) <= 18 * 1024
    assert len(json.dumps(post.decode())) <= 24 * 1024
    message = json.loads(post)
    (attachment,) = message["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["msteams"] == {"width": "Full"}
    assert card["fallbackText"]
    assert "actions" not in card
    assert len(buttons(post)) <= 4
    assert "entities" not in card["msteams"]
    for node in nodes(message):
        assert node.get("type", "message") in OF_1_2
        assert node.get("text", "-") != ""
        if "url" in node:
            assert re.match(r"https://[^\s|<>]{1,1000}$", node["url"])
            assert node["title"]
    said = "".join(text for text in texts(message))
    assert not re.search(r"\{\{|<at\b|</at\b|[\ud800-\udfff\u202e\x00]", said, re.IGNORECASE)


def test_a_missed_chat_reads_from_top_to_bottom() -> None:
    post = pack(MISSED)
    check(post)
    assert read(post).split("\n") == [
        "Missed chat from Marta Nowák",
        "Marta Nowák wrote 3 messages and nobody answered.",
        "12:00  Marta Nowák: Hello, is anybody there?",
        "12:00  🤖 Shop: We will be with you soon.",
        "⏳ 6 minutes without an answer",
        "12:06  Marta Nowák: I would like to order.",
        "Today!",
        "12:07  Marta Nowák left",
        "Visitor: Marta Nowák",
        "Email: marta@example.com",
        "Page: Green shoes, size 42",
    ]
    heading, below, *_ = body(post)
    assert heading["style"] == "attention"
    assert below["actions"] == [
        {
            "type": "Action.OpenUrl",
            "title": "Open in the relay (relay.example.com)",
            "url": MISSED.links[0].url,
        }
    ]


def test_markdown_is_shown_as_it_was_typed() -> None:
    assert "[x](http://e) **b** _i_ # h" in read(pack(typed("[x](http://e) **b** _i_ # h")))


def test_mentions_and_functions_are_taken_apart() -> None:
    post = pack(typed("<at>CEO</at> {{DATE(2017-02-14T06:08:39Z)}}"))
    check(post)
    assert "<\u200bat>CEO<\u200b/at> {\u200b{DATE(" in read(post)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://a", ""])
def test_a_link_with_another_scheme_is_no_button(url: str) -> None:
    post = pack(a_notification(links=(Link(label="Look", url=url),)))
    assert buttons(post) == []


def test_who_left_no_address_is_said_where_the_button_would_be() -> None:
    post = pack(a_notification(links=(), no_address="“<at>me</at>” is not an email address"))
    check(post)
    said = read(post).split("\n")[2]
    assert said == "“<\u200bat>me<\u200b/at>” is not an email address"
    assert "not an email address" not in read(pack(a_notification(no_address="")))


def test_an_answer_begins_in_outlook_as_teams_opens_no_mail_program() -> None:
    links = (Link(label="Reply to Marta", url="mailto:marta+shop%26x@example.com"),)
    post = pack(a_notification(links=links))
    check(post)
    (action,) = buttons(post)
    assert action["title"] == "Reply to Marta"
    url = urlsplit(action["url"])
    assert (url.scheme, url.hostname) == ("https", "outlook.office.com")
    assert parse_qs(url.query) == {"to": ["marta+shop&x@example.com"]}


def test_a_page_that_the_visitor_was_on_is_a_link_that_names_its_host_and_no_button() -> None:
    pages = (
        Link(label="Open <at>chat</at>", url="https://evil.example/x", visited=True),
        *(Link(label=f"Page {n}", url="https://shop.example.com/", visited=True) for n in range(5)),
    )
    post = pack(a_notification(links=pages))
    check(post)
    assert read(post).split("Pages visited:\n")[1].split("\n")[:3] == [
        "Open <\u200bat>chat<\u200b/at> (evil.example)",
        "Page 0 (shop.example.com)",
        "Page 1 (shop.example.com)",
    ]
    pressed = [node["selectAction"] for node in body(post) if "selectAction" in node]
    assert [each["url"] for each in pressed] == [page.url for page in pages[:3]]
    assert buttons(post) == []


@pytest.mark.parametrize("url", ["http://shop.example/", "https://a.example/" + "x" * 600])
def test_a_page_that_can_not_be_opened_from_a_card_is_named(url: str) -> None:
    post = pack(a_notification(links=(Link(label="Shoes", url=url, visited=True),)))
    check(post)
    assert "Shoes (" in read(post)
    assert not [node for node in body(post) if "selectAction" in node]


def test_lines_keep_their_indentation() -> None:
    post = pack(saying("    if x:\n\treturn  1", times=1))
    check(post)
    said = read(post).replace("\N{NO-BREAK SPACE}", "_").split("\n")
    place = said.index("____if x:")
    assert said[place + 1] == "____return__1"


def test_a_long_chat_keeps_its_start_and_its_end() -> None:
    transcript = tuple(
        TranscriptMessage(author=Author.VISITOR, name="Marta", text=f"message {number}")
        for number in range(1_000)
    )
    post = pack(a_notification(transcript=transcript))
    check(post)
    shown = [int(number) for number in re.findall(r"message (\d+)", read(post))]
    assert shown[:2] == [0, 1]
    assert shown[2:] == list(range(shown[2], 1_000))
    assert len(shown) == 12
    assert "… 988 messages left out; Smartsupp has the whole chat …" in read(post)


@pytest.mark.parametrize(("count", "shown"), [(14, 14), (15, 12), (60, 12)])
def test_one_or_two_messages_more_are_shown_and_not_counted(count: int, shown: int) -> None:
    post = read(pack(saying("hats", times=count)))
    assert post.count("hats") == shown
    assert ("left out" in post) == (shown < count)


def test_facts_without_room_are_counted_with_those_left_out_before() -> None:
    facts = tuple(Fact(label=f"Fact {n}", value="x") for n in range(25))
    post = pack(a_notification(facts=facts, facts_left_out=16))
    check(post)
    assert "Fact 19: x\n… 21 more left out …" in read(post)


def test_a_rating_is_seen_in_the_heading() -> None:
    post = pack(a_notification(subject="Rated 2 of 5 stars: Marta", stars="★★☆☆☆"))
    assert read(post).split("\n")[0] == "Rated 2 of 5 stars: Marta  ★★☆☆☆"
    assert "★" not in json.loads(post)["summary"]


@pytest.mark.parametrize("text", ["word " * 240, "слово " * 200, '"\\' * 600])
def test_a_chat_of_long_messages_uses_most_of_the_room(text: str) -> None:
    post = pack(saying(text, times=200))
    check(post)
    assert len(post) > 12_000 or len(json.dumps(post.decode())) > 20_000
    assert "messages left out" in read(post)


def test_a_card_too_big_without_a_chat_is_its_head_only() -> None:
    facts = tuple(type(MISSED.facts[0])(label="ж" * 60, value='"' * 2_000) for _ in range(25))
    post = pack(a_notification(facts=facts))
    check(post)
    assert "Missed chat from Marta Nowák" in read(post)


@pytest.mark.parametrize("stuff", ["👩‍👩‍👧", '"\\', "ж", "🏳"])
def test_a_card_of_which_everything_is_long_still_fits_and_names_the_chat(stuff: str) -> None:
    links = tuple(
        Link(label=stuff * 100, url=f"https://a.example/{number}{'x' * 970}") for number in range(6)
    )
    facts = tuple(Fact(label=stuff * 60, value=stuff * 300) for _ in range(20))
    full = a_notification(
        subject=f"Missed chat {stuff * 200}", summary=stuff * 1_000, facts=facts, links=links
    )
    for notification in (full, full.short()):
        post = pack(notification)
        check(post)
        assert "Missed chat" in read(post)


def test_a_notification_that_says_nothing_is_still_a_card() -> None:
    post = pack(Notification(subject="", summary=""))
    check(post)
    assert read(post) == "Smartsupp"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    check(pack(typed(text)))


@settings(max_examples=300, deadline=None)
@given(NOTIFICATIONS)
@pytest.mark.long
def test_any_notification_makes_a_card_that_a_flow_can_hand_on(notification: Notification) -> None:
    check(pack(notification))
    brief = pack(notification.short())
    check(brief)
    assert not [node for node in nodes(json.loads(brief)) if node.get("type") == "Container"]
    assert buttons(brief) == []


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 400))
def test_any_chat_of_any_length_fits(text: str, times: int) -> None:
    check(pack(saying(text, times=times)))


def test_the_activity_feed_says_who_and_what_and_not_only_that_there_is_something() -> None:
    post = json.loads(pack(MISSED))
    said = "Missed chat from Marta Nowák · Marta Nowák wrote 3 messages and nobody answered."
    assert post["summary"] == said
    assert post["attachments"][0]["content"]["fallbackText"] == said


def test_the_small_print_stands_at_the_foot() -> None:
    post = pack(a_notification(footer="21 Nov 2025, 14:05 · rule “<at>Night</at> watch”"))
    check(post)
    assert read(post).split("\n")[-1] == (
        "21 Nov 2025, 14:05 · rule “<\u200bat>Night<\u200b/at> watch”"
    )


def test_a_single_message_that_the_summary_quotes_is_not_said_twice() -> None:
    message = TranscriptMessage(author=Author.VISITOR, name="José", text="Good day,\n40 chairs?")
    post = pack(a_notification(summary="“Good day, 40 chairs?”", transcript=(message,), facts=()))
    check(post)
    assert read(post).split("\n") == [
        "Missed chat from Marta Nowák",
        "José: Good day,",
        "40 chairs?",
    ]


def test_ones_own_people_are_marked_in_a_transcript() -> None:
    message = TranscriptMessage(author=Author.AGENT, name="Jana", text="Hello", time="12:01")
    assert "12:01  🎧 Jana: Hello" in read(pack(a_notification(transcript=(message, message))))


def test_a_command_of_the_relays_looks_like_one() -> None:
    post = pack(a_notification(summary="`relay check` says where."))
    check(post)
    runs = [node for node in nodes(json.loads(post)) if node.get("fontType") == "Monospace"]
    assert [run["text"] for run in runs] == ["relay check"]
