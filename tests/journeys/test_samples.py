"""The example rules and the sample chats that come with the relay: who is told what."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from relay.files import shipped
from tests.journeys.receiving_servers import API, ROOM, TEAM, ReceivingServers, texts
from tests.running import Answer, RunningRelay, running_relay

pytestmark = pytest.mark.usefixtures("each_store_at_length")

SAMPLES = files("relay.demo") / "samples"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def changed(name: str, **channel: Any) -> bytes:
    """A later hook of the same chat."""
    chat = json.loads(sample(name))
    chat["channel"] |= channel
    return json.dumps(chat).encode()


@dataclass
class Journey:
    """A relay with the example rules, between its hook and its servers."""

    relay: RunningRelay
    ends: ReceivingServers

    async def post(self, body: bytes) -> Answer:
        return await self.relay.post(body)

    def told(self) -> list[tuple[Any, ...]]:
        return self.relay.rows("SELECT rule, destination, recipient FROM deliveries ORDER BY id")

    def nothing_more(self) -> None:
        """Every delivery that was ever queued has been seen at a server."""
        posts = sum(len(self.ends.posts(path)) for path in (ROOM, TEAM, API))
        assert len(self.ends.mail.mails) + posts == len(self.told())


async def test_an_answer_goes_where_each_destination_says(tmp_path: Path) -> None:
    rules = """\
destinations:
  sales: {email: {to: sales@example.com}}
  desk: {email: {to: desk@example.com}, reply_to: team}
  board: {email: {to: board@example.com}, reply_to: nobody, mark_as_automatic: false}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [sales, desk, board], template: missed}
"""
    said = {
        "sales@example.com": (
            "Marta Nowak <marta.nowak@example.com>",
            "goes to marta.nowak@example.com; delete",
        ),
        "desk@example.com": ("desk@example.com", "goes to desk@example.com"),
        "board@example.com": (None, "does not reach the visitor"),
    }
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=rules, **ends.settings) as relay,
    ):
        await relay.post(sample("missed"))
        mails = await ends.mail.received(3)
    assert {mail.recipients[0] for mail in mails} == said.keys()
    for mail in mails:
        reply_to, words = said[mail.recipients[0]]
        assert mail.message["Reply-To"] == reply_to
        assert (mail.message["Auto-Submitted"] is None) == (reply_to is None)
        assert f"A reply to this email {words}" in mail.part("plain")


@pytest.fixture
async def journey(tmp_path: Path) -> AsyncIterator[Journey]:
    rules = shipped("rules.example.yaml").read_text(encoding="utf-8")
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=rules, **ends.settings) as relay,
    ):
        yield Journey(relay, ends)


async def test_a_missed_chat_is_told_in_the_support_room(journey: Journey) -> None:
    answer = await journey.post(sample("missed"))
    assert (answer.status, answer.json) == (202, {"chat": "208/910001", "deliveries": 1})
    (post,) = await journey.ends.posted(ROOM, 1)
    assert "Missed chat: Marta Nowak waited 4 min" in post
    assert "marta.nowak@example.com" in post
    assert "Anyone there? I'd like to order today" in post
    assert "09:26" in post  # 08:26 UTC, in Prague
    assert journey.told() == [("Missed chats", "support-room", "support-room")]
    journey.nothing_more()


async def test_an_offline_message_is_mailed_to_each_of_sales_who_can_answer_it_straight(
    journey: Journey,
) -> None:
    answer = await journey.post(sample("offline"))
    assert answer.json == {"chat": "208/910002", "deliveries": 2}
    mails = await journey.ends.mail.received(2)
    assert {mail.recipients for mail in mails} == {("sales@example.com",), ("anna@example.com",)}
    for mail in mails:
        message = mail.message
        assert mail.sender == "relay@example.org"
        assert message["From"] == "Relay <relay@example.org>"
        assert message["Reply-To"] == "José Álvarez <jose.alvarez@example.net>"
        assert message["Subject"] == "Offline message from José Álvarez"
        assert message["Auto-Submitted"] == "auto-generated"
        assert "¿me pueden enviar un presupuesto para 40 sillas & 10 mesas?" in mail.part("plain")
        assert "para 40 sillas &amp; 10 mesas?" in mail.part("html")
    journey.nothing_more()


async def test_each_recipients_mail_has_an_identity_of_its_own_in_one_thread(
    journey: Journey,
) -> None:
    await journey.post(sample("offline"))
    first, second = (mail.message for mail in await journey.ends.mail.received(2))

    def of(message: EmailMessage, *names: str) -> list[str]:
        return [message[name] for name in names]

    assert first["Message-ID"] != second["Message-ID"]
    assert first["Message-ID"].endswith("@example.org>")
    assert of(first, "In-Reply-To", "References") == of(second, "In-Reply-To", "References")


async def test_mails_about_one_visitors_chats_stand_in_one_thread_and_others_in_another(
    journey: Journey,
) -> None:
    somebody_else = sample("offline").replace(b'"id": 88121', b'"id": 99999')
    for body in (sample("offline"), changed("offline", id=9100021)):
        await journey.post(body)
    await journey.post(somebody_else.replace(b"910002", b"9100022"))
    mails = [mail.message for mail in await journey.ends.mail.received(6)]
    visitors = [mail["References"].split()[0] for mail in mails]
    chats = {mail["In-Reply-To"]: mail["References"] for mail in mails}
    assert sorted(map(visitors.count, set(visitors))) == [2, 4]
    assert len({mail["Thread-Index"] for mail in mails}) == 2
    assert len(chats) == 3
    assert all(references.split()[1] == chat for chat, references in chats.items())
    assert all(len(name) <= 67 for line in chats.values() for name in line.split())


async def test_a_bad_rating_by_a_vip_is_told_in_three_places(journey: Journey) -> None:
    answer = await journey.post(sample("low_rating_vip"))
    assert answer.json == {"chat": "208/910003", "deliveries": 3}
    (card,) = await journey.ends.posted(TEAM, 1)
    (room,) = await journey.ends.posted(ROOM, 1)
    await journey.ends.posted(API, 1)
    for post in (card, room):
        assert "Rated 1 of 5 stars" in post
        assert "Waited ages and got no answer" in post
        assert "VIP - key account, call Petr" in post

    def in_the_vip_room() -> str:  # a post, and what was said below it
        return "\n".join(text for one in journey.ends.requests(API) for text in texts(one.json()))

    await journey.ends.web.until(lambda: "Where is my order 551?" in in_the_vip_room())
    assert "VIP - key account, call Petr" in in_the_vip_room()
    journey.nothing_more()


async def test_the_vip_room_is_rung_and_the_bots_token_used(journey: Journey) -> None:
    await journey.post(sample("low_rating_vip"))
    await journey.ends.posted(API, 1)
    first = journey.ends.requests(API)[0]
    assert first.headers["authorization"] == "Bearer xoxb-for-tests"
    assert first.json()["channel"] == "C0123456789"
    assert "<!here>" in json.dumps(first.json())


async def test_a_card_for_teams_is_an_adaptive_card_in_a_message(journey: Journey) -> None:
    await journey.post(sample("low_rating_vip"))
    await journey.ends.posted(TEAM, 1)
    (request,) = journey.ends.requests(TEAM)
    assert request.target == f"{TEAM}?sig=abc"
    (attachment,) = request.json()["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"


@pytest.mark.parametrize("name", ["documented", "documented_old_variant"])
async def test_a_chat_that_went_well_is_kept_and_told_nobody(journey: Journey, name: str) -> None:
    answer = await journey.post(sample(name))
    assert (answer.status, answer.json) == (202, {"chat": "208/55039", "deliveries": 0})
    journey.nothing_more()


async def test_a_hook_posted_twice_is_told_once(journey: Journey) -> None:
    for name in ("missed", "offline"):
        first, second = [await journey.post(sample(name)) for _ in range(2)]
        assert (first.status, second.status) == (202, 200)
        assert second.json["deliveries"] == 0
    await journey.ends.mail.received(2)
    await journey.ends.posted(ROOM, 1)
    journey.nothing_more()


async def test_a_later_hook_with_a_rating_is_told_by_the_rules_not_yet_served_only(
    journey: Journey,
) -> None:
    await journey.post(sample("missed"))
    await journey.ends.posted(ROOM, 1)
    later = await journey.post(changed("missed", rating=1, ratingDesc="Nobody there"))
    assert (later.status, later.json) == (202, {"chat": "208/910001", "deliveries": 2})
    (card,) = await journey.ends.posted(TEAM, 1)
    missed, rated = await journey.ends.posted(ROOM, 2)
    assert "Nobody there" in card
    assert "Nobody there" not in missed
    assert "Nobody there" in rated
    assert journey.told() == [
        ("Missed chats", "support-room", "support-room"),
        ("Bad ratings", "managers", "managers"),
        ("Bad ratings", "support-room", "support-room"),
    ]
    journey.nothing_more()


async def test_a_later_hook_that_says_nothing_new_is_kept_and_told_nobody(journey: Journey) -> None:
    await journey.post(sample("missed"))
    later = await journey.post(changed("missed", messagesCount=4))
    assert (later.status, later.json["deliveries"]) == (202, 0)
    await journey.ends.posted(ROOM, 1)
    assert journey.relay.rows("SELECT count(*) FROM hooks") == [(2,)]
    journey.nothing_more()
