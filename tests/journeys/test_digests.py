"""Digests by the front door: chats come in, the clock goes on, and a mail server and Slack get what they get."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import OFTEN, MovableClock, RunningRelay, running_relay
from tests.servers import HttpAnswer

pytestmark = pytest.mark.long

RULES = """\
timezone: Europe/Prague
destinations:
  desk: {{email: {{to: desk@example.com}}, send: {send}}}
  room: {{slack: {{webhook: $ROOM_WEBHOOK}}, send: {send}}}
rules:
  - {{name: Missed chats, when: {{missed: true}}, send_to: {to}, template: missed}}
  - {{name: Bad ratings, when: {{rating: {{at_most: 2}}}}, send_to: {to}, template: low_rating}}
  - {{name: VIP, when: {{visitor.name: Anna}}, send_to: {to}, urgent: true}}
"""


class Clock(MovableClock):
    """The system's time, as if it had been some moment when the test began."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self.to(moment)

    def to(self, moment: str) -> None:
        """In UTC, such as `2026-11-30 07:00`."""
        there = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.forward(seconds=(there - self()).total_seconds())

    def up_to_the_systems(self) -> None:
        """Unless it is ahead of it."""
        self._ahead = max(self._ahead, timedelta())


@pytest.fixture
async def ends() -> AsyncIterator[ReceivingServers]:
    async with ReceivingServers() as found:
        yield found


def rules(send: str = "every 30m", to: str = "desk") -> str:
    return RULES.format(send=send, to=to)


@asynccontextmanager
async def a_relay(
    folder: Path, ends: ReceivingServers, clock: Clock, written: str, **more: Any
) -> AsyncIterator[RunningRelay]:
    async with running_relay(
        folder, rules=written, clock=clock, between_looks=OFTEN, **ends.settings, **more
    ) as relay:
        yield relay


async def mails(ends: ReceivingServers, count: int) -> list[EmailMessage]:
    await ends.mail.until(lambda: len(ends.mail.mails) >= count)
    return [mail.message for mail in ends.mail.mails]


def subjects(found: list[EmailMessage]) -> list[str]:
    return [str(mail["Subject"]) for mail in found]


STATES = "SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state"


async def test_every_half_hour_counts_from_the_first_chat_that_waits(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00:00")
    async with a_relay(tmp_path, ends, clock, rules()) as relay:
        for chat, moment in enumerate(("09:00:01", "09:10", "09:28"), 1):
            clock.to(f"2026-11-30 {moment}")
            assert (await relay.post(a_hook(chat, missed=True))).json["deliveries"] == 1
        assert ends.mail.mails == []
        clock.to("2026-11-30 09:30:02")
        (mail,) = await mails(ends, 1)
        assert mail["Subject"] == "3 missed chats"
        for chat in (4, 5):
            await relay.post(a_hook(chat, missed=True))
        await relay.until(STATES, ("delivered", 1), ("in digest", 3), ("scheduled", 2))
        clock.to("2026-11-30 10:01")
        assert subjects(await mails(ends, 2)) == ["3 missed chats", "2 missed chats"]


async def test_one_chat_is_sent_as_itself_and_none_is_not_sent(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00")
    async with a_relay(tmp_path, ends, clock, rules()) as relay:
        await relay.post(a_hook(1, missed=True, visitor={"name": "Marta Nowak"}))
        clock.to("2026-11-30 09:31")
        (mail,) = await mails(ends, 1)
        assert mail["Subject"].startswith("Missed chat: Marta Nowak")
        await relay.until("SELECT count(*) FROM digests", (0,))


@pytest.mark.parametrize(
    ("came", "before", "due"),
    [
        # Fri 09:00 CET; Mon 08:00 CEST is 62 hours after Fri 17:00.
        ("2027-03-26 08:00", "2027-03-29 05:59", "2027-03-29 06:00:01"),
        ("2026-10-23 07:00", "2026-10-26 06:59", "2026-10-26 07:00:01"),
    ],
)
async def test_a_time_of_day_is_that_of_the_clock_on_the_wall(
    tmp_path: Path, ends: ReceivingServers, came: str, before: str, due: str
) -> None:
    clock = Clock("2026-10-01 00:00")
    clock.to(came)
    # A mark of when the clock was right, so that no jump of it is doubted.
    async with a_relay(tmp_path, ends, clock, rules("mon-fri 09:00")) as relay:
        await relay.post(a_hook(1, missed=True))
    async with a_relay(tmp_path, ends, clock, rules("mon-fri 08:00")) as relay:
        await relay.post(a_hook(2, missed=True))
        clock.to(before)
        await relay.until(STATES, ("scheduled", 2))
        clock.to(due)
        assert subjects(await mails(ends, 1)) == ["2 missed chats"]


async def test_the_same_chat_by_two_rules_and_rated_later_is_one_line(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00")
    async with a_relay(tmp_path, ends, clock, rules()) as relay:
        await relay.post(a_hook(1, missed=True, visitor={"name": "Marta Nowak"}))
        await relay.post(a_hook(1, missed=True, rating=1, visitor={"name": "Marta Nowak"}))
        clock.to("2026-11-30 09:31")
        (mail,) = await mails(ends, 1)
        text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert mail["Subject"] == "1 missed chat"
        assert len(re.findall("Marta Nowak", text)) == 1
        assert "Rated 1 of 5 stars" in text
        assert "Also: Bad ratings" in text


async def test_slots_that_passed_while_the_relay_was_off_are_one_digest(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-26 06:00")
    async with a_relay(tmp_path, ends, clock, rules("08:00")) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True))
    clock.to("2026-11-30 08:00")
    async with a_relay(tmp_path, ends, clock, rules("08:00")) as relay:
        (mail,) = await mails(ends, 1)
        assert mail["Subject"] == "2 missed chats, due since Thu 08:00"
        await relay.until("SELECT count(*) FROM digests", (1,))


@pytest.mark.parametrize("changed", ["mon-fri 09:00", "at once"])
async def test_what_waits_follows_the_rules_as_they_are_saved(
    tmp_path: Path, ends: ReceivingServers, changed: str
) -> None:
    clock = Clock("2026-11-30 06:50")
    async with a_relay(tmp_path, ends, clock, rules("08:00")) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True))
        (tmp_path / "rules.yaml").write_text(rules(changed), encoding="utf-8")
        if changed == "at once":
            assert len(await mails(ends, 1)) >= 1
            return
        due = "SELECT DISTINCT due_at / 1000 FROM deliveries"
        nine = datetime(2026, 11, 30, 8, tzinfo=UTC)
        await relay.until(due, (int(nine.timestamp()),))
        clock.to("2026-11-30 07:30")
        assert ends.mail.mails == []
        clock.to("2026-11-30 08:00:01")
        assert subjects(await mails(ends, 1)) == ["2 missed chats"]


async def test_a_broken_place_gets_each_digest_once_it_works_again(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 06:00")
    ends.at(ROOM, HttpAnswer(status=500, body="internal_error"))
    async with a_relay(tmp_path, ends, clock, rules("08:00", "room")) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True))
        clock.to("2026-11-30 07:00:01")
        await relay.until(
            "SELECT attempts, state FROM deliveries WHERE attempts > 0", (1, "queued")
        )
        for chat in (3, 4, 5):
            await relay.post(a_hook(chat, missed=True))
        clock.to("2026-11-30 10:00")
        # As a command does: what another process has written wakes what rests.
        relay.change("UPDATE deliveries SET due_at = 0 WHERE state = 'queued'")
        await relay.until(STATES, ("delivered", 1), ("in digest", 2), ("scheduled", 3))
        clock.to("2026-12-01 07:00:01")
        _, first, second = await ends.posted(ROOM, 3)
        assert "2 missed chats" in first
        assert "3 missed chats" in second


async def test_an_urgent_rule_passes_the_digest_by(tmp_path: Path, ends: ReceivingServers) -> None:
    clock = Clock("2026-11-30 09:00")
    async with a_relay(tmp_path, ends, clock, rules()) as relay:
        anna = {"name": "Anna"}
        await relay.post(a_hook(1, missed=True, visitor=anna))
        (mail,) = await mails(ends, 1)
        assert "Anna" in mail["Subject"]
        # The other rule that is told of it does not say so again.
        await relay.until("SELECT why FROM deliveries WHERE state = 'left out'", ("urgent",))
        for chat in (2, 3):
            await relay.post(a_hook(chat, missed=True))
        clock.to("2026-11-30 09:31")
        assert subjects(await mails(ends, 2))[1] == "2 missed chats"


async def test_what_an_urgent_rule_told_before_is_no_reason_to_leave_out_what_is_new(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00")
    async with a_relay(tmp_path, ends, clock, rules()) as relay:
        anna = {"name": "Anna"}
        await relay.post(a_hook(1, visitor=anna))
        await mails(ends, 1)
        await relay.post(a_hook(1, rating=1, visitor=anna))
        rated = "SELECT state, why FROM deliveries WHERE rule = 'Bad ratings'"
        await relay.until(rated, ("scheduled", "send"))


async def test_a_digest_that_is_refused_goes_to_the_fallback_as_a_digest(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00")
    ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
    written = rules().replace(
        "send: every 30m}\n  room", "send: every 30m, fallback: room}\n  room"
    )
    async with a_relay(tmp_path, ends, clock, written) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True))
        clock.to("2026-11-30 09:31")
        (post,) = await ends.posted(ROOM, 1)
        assert "2 missed chats (instead of desk)" in post
        await relay.until(STATES, ("delivered", 1), ("failed", 1), ("in digest", 2))


async def test_each_recipient_whom_the_chats_choose_gets_a_digest_of_their_own(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = Clock("2026-11-30 09:00")
    to = '"{{ visitor.variables.owner }}"'
    written = "recipient_domains: [example.com]\n" + rules().replace("desk@example.com", to)
    async with a_relay(tmp_path, ends, clock, written) as relay:
        for chat in range(1, 6):
            owner = {
                "owner": {
                    "label": "Owner",
                    "value": f"{'anna' if chat < 4 else 'petr'}@example.com",
                }
            }
            await relay.post(a_hook(chat, missed=True, visitor={"variables": owner}))
        clock.to("2026-11-30 09:31")
        found = {str(mail["To"]): str(mail["Subject"]) for mail in await mails(ends, 2)}
        assert found == {"anna@example.com": "3 missed chats", "petr@example.com": "2 missed chats"}


@pytest.mark.parametrize("line", ["{{ nothing }}", "{% for _ in range(9999) %}" * 4])
async def test_a_template_that_fails_does_not_hold_up_the_digest(
    tmp_path: Path, ends: ReceivingServers, line: str
) -> None:
    """Neither one that is broken nor one that computes without an end."""
    own = tmp_path / "mytemplates" / "digest"
    own.mkdir(parents=True)
    (own / "line.txt").write_text(line + "x{% endfor %}" * line.count("for"), encoding="utf-8")
    clock = Clock("2026-11-30 09:00")
    mine = {"RELAY_TEMPLATES": str(own.parent)}
    async with a_relay(tmp_path, ends, clock, rules(), **mine) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True, visitor={"name": "Marta Nowak"}))
        clock.to("2026-11-30 09:31")
        (mail,) = await mails(ends, 1)
        text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert text.count("Missed chat: Marta Nowak") == 2
        assert "The template “digest” is broken" in text
