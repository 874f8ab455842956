"""A destination gets so many notifications in an hour and no more, whoever posts how many chats; somebody is told."""

import asyncio
from pathlib import Path

import pytest

from relay.alerts.problem_detection import FEWEST
from tests.builders import a_hook
from tests.cli.commands import relay as cli
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.journeys.test_alerts import (
    OFTEN,
    a_relay,
    how_often,
    subjects,
    until_known,
    until_ready,
    until_watched,
)
from tests.running import DEADLINE, MovableClock, RunningRelay, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = [pytest.mark.usefixtures("each_store"), pytest.mark.long]

RULES = """\
destinations:
  desk: {email: {to: desk@example.com}, most_per_hour: 5}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
alerts_to: [desk, room]
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
CEILING = "More notifications for desk than it gets in an hour"
AGAIN = "Notifications to desk are sent at once again"
AGAIN_QUEUED = """
    SELECT count(*) FROM deliveries JOIN chats ON chats.id = chat_id
    WHERE account = '' AND state = 'queued' AND attempts = 1
"""
FLOOD = "Far more chats than usual come in"


def chats(ends: ReceivingServers) -> int:
    return sum("Missed chat" in subject for subject in subjects(ends))


async def forward(relay: RunningRelay, *, queued: int = 0, **time: float) -> None:
    """And write as a command does: lanes look at the clock again then, and by themselves only once a minute."""
    await relay.forward(queued=queued, **time)
    relay.change("UPDATE chats SET chat = chat")


async def test_what_is_over_the_ceiling_waits_and_is_told_of_once(tmp_path: Path) -> None:
    clock = MovableClock()
    async with ReceivingServers() as ends:
        async with a_relay(tmp_path, ends, clock, RULES) as relay:
            for number in range(12):
                assert (await relay.post(a_hook(number, missed=True))).status == 202
            # The alert goes to the full destination too: no ceiling holds for it.
            await ends.mail.received(6)
            await ends.posted(ROOM, 1)
            async with asyncio.timeout(DEADLINE):  # the lane learns of it when it would send more
                while (state := await until_ready(relay, "destinations"))["desk"][
                    "state"
                ] == "works":
                    pass
            assert state["desk"] | {"oldest_queued_seconds": 0} == {
                "state": "ceiling reached",
                "paused_since": None,
                "paused_until": None,
                "queued": 7,
                "scheduled": 0,
                "oldest_queued_seconds": 0,
                "most_per_hour": 5,
            }
            (open_,) = await until_known(relay, "ceiling reached")
            assert (open_["subject"], open_["told"]) == ("desk", ["desk", "room"])
        async with a_relay(tmp_path, ends, clock, RULES) as relay:
            await relay.post(a_hook(12, missed=True))
            await until_ready(relay, "deliveries", queued=8)
            await forward(relay, queued=8, minutes=59)
            await until_ready(relay, "deliveries", queued=8)
            assert (chats(ends), subjects(ends).count(CEILING)) == (5, 1)
            await forward(relay, queued=8, minutes=2)
            await until_ready(relay, "deliveries", queued=3, sending=0)
            await forward(relay, queued=3, minutes=62)
            await until_ready(relay, "deliveries", queued=0, sending=0)
            await forward(relay, minutes=62)
            while subjects(ends).count(AGAIN) == 0 or how_often(ends, AGAIN) == 0:
                await relay.forward(minutes=1)
                await relay.ready()
    assert (chats(ends), subjects(ends).count(CEILING), how_often(ends, CEILING)) == (13, 1, 1)


async def test_an_alert_that_is_tried_again_waits_for_no_ceiling(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), RULES) as relay:
        for number in range(5):
            await relay.post(a_hook(number, missed=True))
        await ends.mail.received(5)
        await until_ready(relay, "deliveries", queued=0, sending=0)
        ends.mail.at("rcpt", "451 4.7.1 greylisted")
        for number in range(5, 7):
            await relay.post(a_hook(number, missed=True))
        await ends.posted(ROOM, 1)
        await relay.until(AGAIN_QUEUED, (1,))
        await relay.forward(queued=3, minutes=10)
        await relay.post(a_hook(7, missed=True))
        await ends.mail.received(6)
    assert (chats(ends), subjects(ends).count(CEILING)) == (5, 1)


async def test_an_alert_for_the_fallback_of_another_destination_waits_for_no_ceiling(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("$ROOM_WEBHOOK}", "$ROOM_WEBHOOK}, fallback: desk")
    rules = rules.replace("[desk, room]", "room")
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), rules) as relay:
        ends.at(ROOM, *[HttpAnswer(status=400, body="invalid_payload")] * 2)
        for number in range(7):
            await relay.post(a_hook(number, missed=True))
        await ends.mail.received(6)
    assert (chats(ends), sum(CEILING in subject for subject in subjects(ends))) == (5, 1)


async def test_a_clock_that_is_set_back_closes_nothing(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), RULES) as relay:
        for number in range(7):
            await relay.post(a_hook(number, missed=True))
        await until_ready(relay, "deliveries", queued=2, sending=0)
        await relay.forward(queued=2, hours=-24)
        await relay.post(a_hook(7, missed=True))
        await until_ready(relay, "deliveries", queued=0, sending=0)
    assert chats(ends) == 8


async def test_what_a_ceiling_held_back_is_not_late_when_it_may_be_sent(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), RULES) as relay:
        for number in range(6):
            await relay.post(a_hook(number, missed=True))
        await until_known(relay, "ceiling reached")
        await forward(relay, queued=1, minutes=61)
        ends.mail.at("data", "451 4.3.0 come back later")
        while not relay.rows("SELECT 1 FROM troubles WHERE gone_at IS NOT NULL"):
            await relay.ready()
        assert relay.rows("SELECT kind FROM troubles") == [("ceiling reached",)]


async def test_an_edited_ceiling_holds_at_once(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), RULES) as relay:
        for number in range(9):
            await relay.post(a_hook(number, missed=True))
        await until_ready(relay, "destinations")
        await until_ready(relay, "deliveries", queued=4, sending=0)
        edited = RULES.replace("most_per_hour: 5", "most_per_hour: unlimited")
        (tmp_path / "rules.yaml").write_text(edited, encoding="utf-8")
        await until_ready(relay, "deliveries", queued=0, sending=0)
    assert chats(ends) == 9


async def test_the_settings_name_a_ceiling_for_mail_that_rules_say_nothing_of(
    tmp_path: Path,
) -> None:
    rules = RULES.replace(", most_per_hour: 5", "")
    async with (
        ReceivingServers() as ends,
        running_relay(
            tmp_path, rules=rules, between_looks=OFTEN, RELAY_MAIL_PER_HOUR="3", **ends.settings
        ) as relay,
    ):
        for number in range(5):
            await relay.post(a_hook(number, missed=True))
        await until_ready(relay, "deliveries", queued=2, sending=0)
        state = await until_ready(relay, "destinations")
        assert state["desk"]["most_per_hour"] == 3
        assert state["room"]["most_per_hour"] is None


async def test_far_more_chats_than_usual_are_told_of_once(tmp_path: Path) -> None:
    clock = MovableClock()
    clock.forward(minutes=65 - clock().minute)  # all within one hour of the clock
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, clock, RULES) as relay:
        await until_watched(relay)
        for number in range(FEWEST + 10):
            await relay.post(a_hook(number))
        (open_,) = await until_known(relay, "too many chats")
        await ends.posted(ROOM, 1)
        assert how_often(ends, FLOOD) == 1
        assert how_often(ends, "relay hook-url --new") == 1
        await forward(relay, hours=2)
        await relay.until("SELECT count(*) FROM deliveries", (4,))  # the end of it, to both
        assert open_["told"] == ["desk", "room"]
    assert how_often(ends, FLOOD) == 1


async def test_relay_deliveries_says_why_they_wait_and_until_when(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), RULES) as relay:
        for number in range(7):
            await relay.post(a_hook(number, missed=True))
        await until_ready(relay, "deliveries", queued=2, sending=0)
        variables = settings(tmp_path, rules=RULES)
        listed = await cli(variables, "deliveries", "--destination", "desk")
        (last,) = relay.rows("SELECT max(id) FROM deliveries WHERE state = 'queued'")
        one = await cli(variables, "deliveries", last[0])
    words = r"2 deliveries to desk: waiting, because desk gets 5 an hour; more are sent at 20"
    for ran in (listed, one):
        assert words in ran.out
