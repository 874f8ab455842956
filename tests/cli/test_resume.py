"""`relay resume`: a broken destination that somebody has fixed is tried at once, not in five minutes."""

from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RULES, RunningRelay, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = [pytest.mark.usefixtures("each_store_at_length"), pytest.mark.long]

ONE_ROOM = RULES.replace("send_to: [desk, room]", "send_to: room")
STATES = "SELECT state, count(*) FROM deliveries GROUP BY state"
REVOKED = HttpAnswer(status=404, body="no_service")


async def broken_with_two_queued(relay: RunningRelay, ends: ReceivingServers) -> None:
    ends.at(ROOM, REVOKED)
    await relay.post(a_hook(7, missed=True))
    await relay.until("SELECT count(*) FROM gates WHERE broken_since IS NOT NULL", (1,))
    await relay.post(a_hook(8, missed=True))
    await relay.until(STATES, ("queued", 2))


async def test_a_running_relay_asks_at_once_and_all_that_waits_goes_out(tmp_path: Path) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=ONE_ROOM, **ends.settings) as relay,
    ):
        await broken_with_two_queued(relay, ends)
        said = await command(settings(tmp_path, rules=ONE_ROOM), "resume", "room")
        assert (said.status, said.out) == (0, "room is tried at once\n")
        await relay.until(STATES, ("delivered", 2))
        await relay.until("SELECT count(*) FROM gates", (0,))


async def test_one_that_is_still_broken_goes_on_waiting(tmp_path: Path) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=ONE_ROOM, **ends.settings) as relay,
    ):
        await broken_with_two_queued(relay, ends)
        ends.at(ROOM, REVOKED, REVOKED)
        since = relay.rows("SELECT broken_since FROM gates")
        await command(settings(tmp_path, rules=ONE_ROOM), "resume", "room")
        await relay.until("SELECT sum(attempts), count(*) FROM deliveries", (2, 2))
        await relay.until(STATES, ("queued", 2))
        assert len(ends.posts(ROOM)) == 2
        assert relay.rows("SELECT broken_since FROM gates") == since


async def test_one_that_asks_for_a_pause_when_it_is_looked_at_is_mended_by_the_next_success(
    tmp_path: Path,
) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=ONE_ROOM, **ends.settings) as relay,
    ):
        await broken_with_two_queued(relay, ends)
        ends.at(ROOM, HttpAnswer(status=429, body="", headers={"Retry-After": "1"}))
        await command(settings(tmp_path, rules=ONE_ROOM), "resume", "room")
        await relay.until(STATES, ("delivered", 2))
        await relay.until("SELECT count(*) FROM gates", (0,))


async def test_without_a_name_it_lists_what_waits_and_why(tmp_path: Path) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=ONE_ROOM, **ends.settings) as relay,
    ):
        await relay.post(a_hook(6, missed=True))
        await relay.until(STATES, ("delivered", 1))
        said = await command(settings(tmp_path, rules=ONE_ROOM), "resume")
        assert (said.status, said.out) == (0, "No destination has to wait.\n")
        ends.at(ROOM, REVOKED)
        await relay.post(a_hook(7, missed=True))
        await relay.until("SELECT count(*) FROM gates", (1,))
        said = await command(settings(tmp_path, rules=ONE_ROOM), "resume")
        assert said.status == 1
        assert said.out.startswith("room  broken since ")
        assert "deliveries that wait: 1\n" in said.out
        assert "no_service" in said.out


async def test_a_name_that_is_not_of_a_broken_destination_is_told(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        ends.at(ROOM, HttpAnswer(status=429, body="", headers={"Retry-After": "600"}))
        await relay.post(a_hook(7, missed=True))
        await relay.until("SELECT count(*) FROM gates", (1,))
        said = await command(settings(tmp_path), "resume", "room", "rom")
    assert said.status == 1
    assert said.err == (
        "room is neither paused nor broken: its server has asked the relay to wait; it is retried after that\n"
        "rom is neither paused nor broken: there is no destination “rom”; did you mean room?\n"
    )
