"""What visitors type stays text, in every part of a notification."""

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.notification import Fact
from relay.rendering.made_up_chats import HOSTILE_TEXTS, made_up_chats
from relay.rendering.templates import built_in_notification
from relay.smartsupp import read_chat
from relay.text import clean, clean_line
from tests.templates.reading import SHIPPED, a_talk, every_template, shown, told


@every_template
def test_hostile_words_are_shown_and_never_obeyed(name: str) -> None:
    chat = made_up_chats()["finished"]
    said = tuple(
        Message(author=author, name="Eve", text=clean(text))
        for text in HOSTILE_TEXTS
        for author in (Author.VISITOR, Author.AGENT, Author.SYSTEM)
    )
    page = shown(told(name, replace(chat, messages=said)).html)
    for message in said:
        assert " ".join(message.text.split()) in page.text


@every_template
@pytest.mark.parametrize("stuff", ['"', "\U0001f600", "\u00e9", "\n"])
def test_a_visitor_who_fills_every_field_does_not_make_a_mail_that_is_clipped(
    name: str, stuff: str
) -> None:
    text = f"x{stuff * 5_000}x"
    line = clean_line(text)
    values = {str(place): Variable(label=line, value=text) for place in range(50)}
    chat = Chat(
        account="1",
        id="2",
        missed=True,
        rating=1,
        rating_comment=text,
        visitor=Visitor(name=line, email=line, note=text, group=line, variables=values),
        pages=tuple(Page(url="https://a.example/" + "&" * 900, title=line) for _ in range(50)),
        messages=tuple(
            Message(author=author, name=line, text=text) for author in Author for _ in range(50)
        ),
    )
    notification = told(name, chat)
    assert len(notification.html.encode()) < 80_000
    assert len(notification.text.encode()) <= 200_000


@every_template
def test_a_name_is_cut_between_characters_and_not_within_an_entity(name: str) -> None:
    visitor = Visitor(name='<"&' * 150)
    page = shown(told(name, Chat(account="1", id="2", missed=True, visitor=visitor)).html)
    assert not {"&l", "&q", "&#", "&a"} & {page.text[at : at + 2] for at in range(len(page.text))}


@every_template
@settings(max_examples=40, deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {
            key: st.text(max_size=80) | st.sampled_from(HOSTILE_TEXTS)
            for key in (
                "name",
                "email",
                "note",
                "group",
                "countryCode",
                "referer",
                "said",
                "label",
                "url",
            )
        }
    )
)
def test_no_visitor_can_write_markup_or_facts(name: str, fields: dict[str, str]) -> None:
    visitor = {
        key: fields[key] for key in ("name", "email", "note", "group", "countryCode", "referer")
    }
    visitor["variables"] = {fields["label"]: {"label": fields["label"], "value": fields["said"]}}  # type: ignore[assignment]
    hook = {
        "channel": {"isMissed": True, "ratingDesc": fields["note"], "rating": 2},
        "visitor": visitor,
        "paths": [{"url": fields["url"], "title": fields["label"]}],
        "messages": [{"type": kind, "name": fields["name"], "content": fields["said"]} for kind in ("visitor", "agent", "system")],
    }  # fmt: skip
    chat = read_chat(json.dumps(hook).encode())
    notification = told(name, chat)
    page = shown(notification.html)
    assert " ".join(chat.messages[0].text.split()) in page.text
    known = {"Email", "Note", "Group", "Country", "Came from"}
    assert len([fact for fact in notification.facts if fact.label not in known]) <= 1


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(
        st.none()
        | st.integers(-(10**16), 10**16)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from(
            [0, -62135596800000, 253402300799999, 253402297200000, 1e15, -1, "12", True]
        ),
        min_size=8,
        max_size=8,
    )
)
def test_no_number_or_time_in_a_hook_stops_a_notification(numbers: list[object]) -> None:
    began, ended, first, second, duration, response, rating, value = numbers
    hook = {
        "beginAt": began,
        "endAt": ended,
        "channel": {
            "isMissed": True,
            "duration": duration,
            "firstResponse": response,
            "rating": rating,
        },
        "visitor": {"variables": {"v": {"label": "V", "value": value}}},
        "messages": [
            {"type": "visitor", "content": "Hi", "sentAt": first},
            {"type": "agent", "content": "Hello", "sentAt": second},
            {"type": "visitor", "content": "?", "sentAt": first},
            {"type": "system", "content": "close.timeout", "sentAt": second},
        ],
    }
    chat = read_chat(json.dumps(hook).encode())
    for name in SHIPPED.names:
        assert shown(told(name, chat).html).text
    assert built_in_notification(
        chat, rule="", zone=ZoneInfo("Asia/Kathmandu"), reason="it broke"
    ).built_in


def test_a_note_of_several_lines_stays_one_fact() -> None:
    visitor = Visitor(name="Eve", note="first\nRating: 5 of 5 stars\nGroup: admins")
    facts = told("chat", Chat(account="1", id="2", visitor=visitor)).facts
    assert facts == (Fact(label="Note", value="first Rating: 5 of 5 stars Group: admins"),)


def test_a_message_that_looks_like_an_answer_is_set_off_in_the_text_part() -> None:
    chat = a_talk((0, Author.VISITOR, "ok\n[12:01] Jana: you get a refund"))
    assert "[12:00] Visitor: ok\n    [12:01] Jana: you get a refund\n" in told("chat", chat).text


def test_jinja_that_a_visitor_types_is_shown_literally() -> None:
    chat = a_talk((0, Author.VISITOR, "{{ 7*7 }} {% raw %}"))
    chat = replace(chat, visitor=Visitor(name="{{ 7*7 }}"))
    notification = told("missed", replace(chat, missed=True))
    assert notification.subject == "Missed chat: {{ 7*7 }}"
    assert "{{ 7*7 }} {% raw %}" in notification.text
    assert "{{ 7*7 }} {% raw %}" in shown(notification.html).text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,<script>",
        "//evil.example/",
        "ftp://shop.example.com/",
        "https://bank.example@evil.example/",
        "https://bank.example\\@evil.example/",
        "https://\u0430pple.example/",
        'https://a.example/"><script>',
        "https://a.example/ b",
        "https://",
        "",
        "https://a.example/" + "a" * 2_000,
    ],
)
def test_a_page_becomes_a_link_only_if_it_is_a_plain_web_address(url: str) -> None:
    chat = Chat(account="1", id="2", pages=(Page(url=url, title="Home"),))
    notification = told("chat", chat)
    page = shown(notification.html)
    assert notification.links == ()
    assert page.links == []
    assert "Home" in page.text


def test_a_web_page_is_linked_once_and_its_host_is_told() -> None:
    pages = (Page(url="https://shop.example.com/a?b=1&c=2", title="Shoes"),) * 2
    notification = told("chat", Chat(account="1", id="2", pages=pages))
    assert [(link.label, link.url) for link in notification.links] == [
        ("Shoes", "https://shop.example.com/a?b=1&c=2")
    ]
    assert "Shoes · shop.example.com" in shown(notification.html).text


@pytest.mark.parametrize(
    ("title", "url", "told_as"),
    [
        (
            "Sign in: https://mail.google.com",
            "https://e.com/a",
            "Sign in: https://mail.google.com · e.com",
        ),
        ("mail.google.com", "https://E.com/", "mail.google.com · e.com"),
        ("", "https://e.com/", "Pages visited e.com"),
        ("Home", "https://bank.example@evil.example/", "Home"),
        ("Home", "https://bank.example:80@evil.example/", "Home"),
        ("Home", "https://bank.example\\@evil.example/", "Home"),
        ("Home", f"https://{'a.' * 120}evil.example/", f"Home · {'a.' * 120}evil.example"),
        ("Home", f"https://{'a.' * 130}evil.example/", "Home"),
    ],
)
def test_the_host_beside_a_page_is_the_one_that_it_leads_to(
    title: str, url: str, told_as: str
) -> None:
    notification = told("chat", Chat(account="1", id="2", pages=(Page(url=url, title=title),)))
    assert f"{told_as} Chat 2 of" in shown(notification.html).text
