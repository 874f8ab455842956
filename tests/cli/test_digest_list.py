"""`relay digests`, and how the commands about deliveries tell of them."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ReceivingServers
from tests.journeys.test_digests import Clock, mails, rules
from tests.running import RunningRelay, running_relay, settings

pytestmark = pytest.mark.long


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-11-30 09:00")


@pytest.fixture
async def relay(tmp_path: Path, clock: Clock) -> AsyncIterator[RunningRelay]:
    """It has sent a digest of two chats, and two more wait for the next."""
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=rules(), clock=clock, **ends.settings) as running,
    ):
        for chat in (1, 2):
            await running.post(a_hook(chat, missed=True))
        clock.to("2026-11-30 09:31")
        await mails(ends, 1)
        for chat in (3, 4):
            await running.post(a_hook(chat, missed=True))
        await running.until(
            "SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state",
            *(("delivered", 1), ("in digest", 2), ("scheduled", 2)),
        )
        yield running


async def test_what_waits_and_what_was_closed_is_listed(relay: RunningRelay) -> None:
    said = await command(settings(relay.folder, rules=rules()), "digests", "--utc")
    waiting, closed = said.out.split("Past")
    assert "2026-11-30 10:01" in waiting
    assert "desk, desk@example.com: 2 chats (send)" in waiting
    assert re.search(
        r"2026-11-30 09:31:\d\d  desk, desk@example.com: 2 chats \(send\), delivery 3: delivered",
        closed,
    )
    assert (said.status, said.err) == (0, "")


async def test_programs_get_the_same(relay: RunningRelay) -> None:
    said = await command(settings(relay.folder, rules=rules()), "digests", "--json")
    found = json.loads(said.out)
    (waiting,), (past,) = found["waiting"], found["past"]
    assert (waiting["chats"], waiting["why"]) == (2, {"send": 2})
    assert (past["chats"], past["erased"], past["delivery"]) == (2, 0, 3)
    assert past["state"] == "delivered"


async def test_of_another_destination_there_is_nothing(relay: RunningRelay) -> None:
    arguments = ("digests", "--destination", "room")
    said = await command(settings(relay.folder, rules=rules()), *arguments)
    assert "Nothing waits for a digest." in said.out
    assert "There has been no digest yet." in said.out


async def test_the_newest_of_a_destination_are_its_own(relay: RunningRelay) -> None:
    relay.change(
        "INSERT INTO digests (destination, recipient, since, closed_at, counts) "
        "SELECT 'room', 'room', since, closed_at, counts FROM digests"
    )
    arguments = ("digests", "--destination", "desk", "--limit", "1", "--json")
    said = await command(settings(relay.folder, rules=rules()), *arguments)
    assert [each["destination"] for each in json.loads(said.out)["past"]] == ["desk"]


async def test_a_delivery_says_which_digest_its_chat_is_in(relay: RunningRelay) -> None:
    variables = settings(relay.folder, rules=rules())
    listed = await command(variables, "deliveries", "--state", "in-digest", "--utc")
    assert len(re.findall(r"in the digest of 2026-11-30 09:31:\d\d, delivery 3", listed.out)) == 2
    of_digest = await command(variables, "deliveries", "3")
    assert "digest:1 (relay digests)" in of_digest.out
    sent = json.loads((await command(variables, "deliveries", "1", "--json")).out)
    assert "in digest" in json.dumps(sent)
    assert '"digest": 3' in json.dumps(sent)


async def test_a_digest_is_sent_once_more(relay: RunningRelay, clock: Clock) -> None:
    said = await command(settings(relay.folder, rules=rules()), "resend", "3")
    assert said.status == 0
    clock.up_to_the_systems()  # by which the command is due
    await relay.until("SELECT generation, state FROM deliveries WHERE id = 3", (2, "delivered"))
