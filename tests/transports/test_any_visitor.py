"""From the hook to the wire: whatever stands in a visitor's fields, each medium gets a message that is ours."""

import json
import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.chat import Chat
from relay.files import shipped
from relay.intake import message_id
from relay.notification import Notification
from relay.rendering.templates import Templates
from relay.smartsupp import read_chat
from relay.text import clean, clean_line
from relay.transports.email import mime
from relay.transports.slack import pack as slack
from relay.transports.teams import pack as teams
from tests.builders import a_wire_chat
from tests.templates.reading import shown
from tests.transports import test_mime, test_slack_pack, test_teams_pack
from tests.transports.examples import HOSTILE, IDENTITY, TEXTS

TEMPLATES = Templates(shipped("templates"))
NAMES = ("chat", "missed", "low_rating", "offline", "vip")


def hook(text: Mapping[str, str]) -> bytes:
    """A chat with these texts in every place where a visitor, an agent or a page can put one."""
    kinds = ("visitor", "agent", "system", text["said"][:20])
    said = [
        {"type": kind, "name": text["name"], "content": text["said"], "sentAt": 1763800000000 + at}
        for at, kind in enumerate(kinds)
    ]
    said += [
        {"type": "system", "name": "", "content": f"{text['code']}.{text['code']}"},
        {"type": "system", "name": text["agent"], "content": f"close.{text['code']}"},
        {"type": "agent", "name": text["agent"], "content": text["said"], "from": text["code"]},
        {
            "type": "agent",
            "name": text["agent"],
            "content": text["said"],
            "triggeredBy": text["trigger"],
        },
    ]
    visitor = {
        "id": text["code"],
        "name": text["name"],
        "email": text["email"],
        "note": text["note"],
        "group": text["group"],
        "city": text["group"],
        "country": text["note"],
        "countryCode": text["code"],
        "platform": text["code"],
        "userAgent": text["note"],
        "referer": text["url"],
        "ipAddress": text["code"],
        "variables": {
            text["key"]: {"label": text["label"], "value": text["said"]},
            f"{text['key']}.": {"label": "", "value": text["note"]},
        },
    }
    wire = a_wire_chat(
        missed=True,
        offline=True,
        rating=1,
        rating_comment=text["note"],
        visitor=visitor,
        paths=[
            {"url": text["url"], "title": text["title"]},
            {"url": f"https://shop.example.com/{text['url']}", "title": text["title"]},
            {"url": f"https://{text['title']}/", "title": ""},
        ],
        messages=said,
    )
    wire["accountId"] = text["code"]
    wire["channel"]["id"] = text["key"]
    return json.dumps(wire).encode()


def told(name: str, language: str, text: Mapping[str, str]) -> Notification:
    return TEMPLATES.render(
        name,
        read_chat(hook(text)),
        rule=clean_line(text["rule"], 100),  # others are refused when the rules are read
        language=language,
        zone=ZoneInfo("Europe/Prague"),
        public_url="https://relay.example.com",
        bodies=True,
    )


def check_all(notification: Notification) -> None:
    for form in (notification, notification.short()):
        test_mime.check(form, mime.pack(form, test_mime.ENVELOPE, IDENTITY))
        test_teams_pack.check(teams.pack(form))
    if notification.html:
        shown(notification.html)
    test_slack_pack.check(slack.pack(notification, mention="here"), "<!here>")
    test_slack_pack.check_plain(slack.pack(notification.short()))
    thread = slack.pack_thread(notification)
    test_slack_pack.check(thread.lead)
    for reply in thread.replies:
        test_slack_pack.check(reply)


PLACES = (
    "name", "email", "note", "said", "url", "agent", "code", "trigger", "group", "key", "label", "title", "rule",
)  # fmt: skip
"""The rule's name is not a visitor's, but as hard to foresee."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_every_field_makes_messages_that_are_ours(name: str, text: str) -> None:
    check_all(told(name, "en", dict.fromkeys(PLACES, text)))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(NAMES),
    st.sampled_from(("en", "es", "cs", "de")),
    st.fixed_dictionaries(dict.fromkeys(PLACES, TEXTS)),
)
def test_any_text_in_every_field_makes_messages_that_are_ours(
    name: str, language: str, text: dict[str, Any]
) -> None:
    check_all(told(name, language, text))


@settings(max_examples=200, deadline=None)
@given(
    TEXTS.map(clean),
    TEXTS.map(clean),
    TEXTS.map(clean),
    st.integers(1, 10**6),
    st.sampled_from(("b.cz", f"{'b' * 60}.{'c' * 60}.cz")),
)
def test_the_identity_of_a_mail_fits_into_a_header_whatever_it_is_made_of(
    chat: str, rule: str, recipient: str, generation: int, domain: str
) -> None:
    def made(generation: int) -> str:
        return message_id(
            Chat(account=chat, id=chat),
            rule=rule,
            destination=rule,
            recipient=recipient,
            domain=domain,
            generation=generation,
        )

    identity = made(generation)
    assert re.fullmatch(r"[0-9a-f]{24}@[a-z.]+", identity)
    assert len(identity) <= 65
    assert identity == made(generation) != made(generation + 1)
