"""What the relay does for its database: old chats are forgotten without a trace, others' writing is noticed."""

import asyncio
import signal
import sqlite3
import subprocess
import zlib
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.crash_points import CrashPoint
from relay.outbox.retention import CHATS_AT_ONCE
from tests.builders import a_hook
from tests.forks import ForkedRelay
from tests.journeys.receiving_servers import ReceivingServers
from tests.running import ClockAt, MovableClock, RunningRelay, rows, running_relay, settings

pytestmark = pytest.mark.long

CHATS = "SELECT CAST(chat AS INTEGER) FROM chats ORDER BY 1"
COUNT = "SELECT count(*) FROM chats"
LEFT = """
    SELECT (SELECT count(*) FROM chats), (SELECT count(*) FROM hooks), (SELECT count(*) FROM hook_bodies),
        (SELECT count(*) FROM deliveries), (SELECT count(*) FROM attempts), (SELECT count(*) FROM set_aside)
"""
VISITOR = {"name": "Ottokar Wunderlich", "email": "ottokar@example.net", "note": "VIP"}
TRACES = (
    b"Ottokar",
    b"Wunderlich",
    b"ottokar@example.net",
    b"who goes there",
    b"answered the reci",
)


async def erased(relay: RunningRelay) -> int:
    """How many chats were, once a round is over."""
    while not ((erasing := (await relay.ready())["erasing"])["last"] or erasing["waits"]):
        pass
    return int(erasing["chats"])


async def run_at(folder: Path, clock: MovableClock, **more: Any) -> None:
    """A relay that runs until it has looked at the clock."""
    async with running_relay(folder, clock=clock, **more) as relay:
        assert await erased(relay) == 0


def bytes_of(folder: Path) -> bytes:
    """All that stands in the files. By `cat`: a process that closes them loses its own locks on them."""
    files = [str(path) for path in folder.glob("relay.db*")]
    return subprocess.run(["cat", *files], capture_output=True, check=True).stdout


async def a_settled_chat(relay: RunningRelay) -> bytes:
    """Chat 7 of our visitor, told of in the room and refused by the desk; and a hook that is none."""
    body = a_hook(7, missed=True, visitor=VISITOR)
    await relay.post(body)
    await relay.post(b"who goes there?")
    await relay.until("SELECT state FROM deliveries ORDER BY id", ("failed",), ("delivered",))
    return zlib.compress(body, 1)


async def test_of_a_chat_that_was_erased_nothing_stands_in_any_file(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, **ends.settings) as relay:
            compressed = await a_settled_chat(relay)
            stored = bytes_of(tmp_path)
            assert all(trace in stored for trace in (*TRACES[:2], TRACES[4], compressed[20:60]))
        # A year and a day later; the relay runs on, and so do its files.
        await run_at(tmp_path, MovableClock(days=364), **ends.settings)
        async with running_relay(tmp_path, clock=MovableClock(days=366), **ends.settings) as relay:
            assert await erased(relay) == 1
            left = bytes_of(tmp_path)
            assert [trace for trace in (*TRACES, compressed[20:60]) if trace in left] == []
            assert relay.rows(LEFT) == [(0,) * 6]
            assert (await relay.post(a_hook(8))).status == 202


@pytest.mark.usefixtures("each_store_at_length")
async def test_a_chat_is_kept_for_as_long_as_was_asked_for(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(a_hook(7))
        kept: dict[str, Any] = {"RELAY_RETENTION_DAYS": "30"}
        clock = MovableClock(days=29)
        async with running_relay(tmp_path, clock=clock, **kept, **ends.settings) as relay:
            assert await erased(relay) == 0
            assert relay.rows(CHATS) == [(7,)]
            # A rating that comes later is a hook too: the chat counts from then.
            await relay.post(a_hook(7, rating=5))
            await relay.post(a_hook(8))
        clock.forward(days=29)
        async with running_relay(tmp_path, clock=clock, **kept, **ends.settings) as relay:
            assert await erased(relay) == 0
        clock.forward(days=2)
        async with running_relay(tmp_path, clock=clock, **kept, **ends.settings) as relay:
            assert await erased(relay) == 2


@pytest.mark.usefixtures("each_store_at_length")
async def test_for_ever_is_for_ever(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7))
    forever: dict[str, Any] = {"RELAY_RETENTION_DAYS": "forever"}
    async with running_relay(tmp_path, clock=MovableClock(days=36500), **forever) as relay:
        await relay.post(a_hook(8))
        assert (await relay.ready())["erasing"]["last"] is None
        assert relay.rows(CHATS) == [(7,), (8,)]


@pytest.mark.usefixtures("each_store_at_length")
async def test_by_a_clock_that_was_set_ahead_nothing_is_erased(tmp_path: Path) -> None:
    """C17."""
    clock = MovableClock()
    async with running_relay(tmp_path, clock=clock) as relay:
        await asyncio.gather(*(relay.post(a_hook(number)) for number in range(20)))
        await relay.post(b"who goes there?")
        assert await erased(relay) == 0
    clock.forward(days=400)
    for _ in range(2):  # nor after the next start, nor by hooks that come meanwhile
        async with running_relay(tmp_path, clock=clock) as relay:
            await relay.post(a_hook(20))
            assert await erased(relay) == 0
            erasing = (await relay.ready())["erasing"]
            assert erasing["waits"].startswith("the clock went 400 days ahead")
            assert erasing["last"] is None
            assert relay.rows(LEFT)[0][0::5] == (21, 1)
        clock.forward(hours=10)
    clock.forward(days=-400)
    async with running_relay(tmp_path, clock=clock) as relay:
        assert (await erased(relay), (await relay.ready())["erasing"]["waits"]) == (0, None)
    clock.forward(days=402)  # set ahead again: the first time does not count
    await run_at(tmp_path, clock)
    clock.forward(days=2)
    async with running_relay(tmp_path, clock=clock) as relay:
        assert await erased(relay) == 20
        assert relay.rows(CHATS) == [(20,)]
        assert relay.rows("SELECT count(*) FROM set_aside") == [(0,)]


@pytest.mark.usefixtures("each_store_at_length")
async def test_the_first_look_erases_the_chats_of_one_day(tmp_path: Path) -> None:
    clock = MovableClock()
    for day in range(5):
        async with running_relay(tmp_path, clock=clock) as relay:
            await asyncio.gather(*(relay.post(a_hook(10 * day + n)) for n in range(3)))
            await relay.post(b"day %d" % day)
            await erased(relay)
        clock.forward(days=2)
    few: dict[str, Any] = {"RELAY_RETENTION_DAYS": "1"}
    for left in (4, 3, 2):
        async with running_relay(tmp_path, clock=clock, **few) as relay:
            assert await erased(relay) == 3
            assert relay.rows(LEFT)[0][0::5] == (3 * left, left)


@pytest.mark.usefixtures("each_store_at_length")
async def test_what_is_still_queued_is_never_forgotten(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("data", "451 4.3.0 come back later", times=None)
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(a_hook(7, missed=True))
            await relay.post(a_hook(8))
            await relay.until(
                "SELECT destination, failures FROM deliveries WHERE state = 'queued'", ("desk", 1)
            )
        await run_at(tmp_path, MovableClock(days=364), **ends.settings)
        async with running_relay(tmp_path, clock=MovableClock(days=366), **ends.settings) as relay:
            assert await erased(relay) == 1
            assert relay.rows(CHATS) == [(7,)]


async def test_many_old_chats_go_batch_by_batch_while_hooks_are_taken(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        many = range(CHATS_AT_ONCE * 4 + 3)
        await asyncio.gather(*(relay.post(a_hook(number)) for number in many))
    size = (tmp_path / "relay.db").stat().st_size
    assert size > 200_000
    await run_at(tmp_path, MovableClock(days=364))
    async with running_relay(tmp_path, clock=MovableClock(days=366)) as relay:
        new = await asyncio.gather(*(relay.post(a_hook(1000 + n)) for n in range(20)))
        assert {answer.status for answer in new} == {202}
        assert await erased(relay) == len(many)
        assert relay.rows(CHATS) == [(1000 + n,) for n in range(20)]
        assert (tmp_path / "relay.db").stat().st_size < size * 2 / 3
        assert relay.rows("PRAGMA freelist_count") == [(0,)]
        assert b"relay_erased_chats_total 203.0" in await metrics(relay)


async def metrics(relay: RunningRelay) -> bytes:
    async with relay.client.get(f"{relay.url}/metrics") as answer:
        return await answer.read()


@pytest.mark.parametrize("kills", [3])
async def test_a_kill_while_erasing_leaves_the_rest_for_the_next_start(
    tmp_path: Path, kills: int
) -> None:
    """CR-12: killed when some chats are gone, again and again; at the end all are gone."""
    many = CHATS_AT_ONCE * (kills + 2)
    async with running_relay(tmp_path) as relay:
        await asyncio.gather(
            *(relay.post(a_hook(number, visitor=VISITOR)) for number in range(many))
        )
    database = tmp_path / "relay.db"
    ago = round(timedelta(days=400) / timedelta(milliseconds=1))
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(
            "UPDATE chats SET first_seen = first_seen - ?, last_seen = last_seen - ?", (ago, ago)
        )
    connection.close()
    for _ in range(kills):
        killed = ForkedRelay(settings(tmp_path), CrashPoint.ERASED)
        try:
            assert await killed.end() == -signal.SIGKILL
        finally:
            killed.close()
    assert rows(database, COUNT) == [(many - CHATS_AT_ONCE * kills,)]
    async with running_relay(tmp_path) as relay:
        await erased(relay)
        assert relay.rows("SELECT count(*) FROM hooks") == [(0,)]
        assert b"Ottokar" not in bytes_of(tmp_path)
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]


WEEKLY = """\
destinations:
  desk: {email: {to: desk@example.com}, send: mon 08:00}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk}
"""
FOR_A_DAY: dict[str, Any] = {"rules": WEEKLY, "RELAY_RETENTION_DAYS": "1"}
TODAY = datetime.now(UTC).date()
"""The same for a whole test, whenever midnight comes."""


def ahead_until(weekday: int, hour: int, *, weeks: int = 1) -> ClockAt:
    """At that hour of some week to come, in UTC; weekday 0 is Monday."""
    day = TODAY + timedelta(days=7 * weeks - TODAY.weekday() + weekday)
    return ClockAt(datetime.combine(day, time(hour), UTC))


@pytest.mark.usefixtures("each_store")
async def test_chats_are_kept_until_the_digest_that_they_are_in_is_sent(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        async with running_relay(
            tmp_path, clock=ahead_until(1, 9), **FOR_A_DAY, **ends.settings
        ) as relay:
            for chat in (1, 2):
                await relay.post(a_hook(chat, missed=True))
        monday = ahead_until(0, 9, weeks=2)
        ends.mail.at("rcpt", "451 4.3.0 not now")
        async with running_relay(tmp_path, clock=monday, **FOR_A_DAY, **ends.settings) as relay:
            await relay.until(
                "SELECT state, failures FROM deliveries WHERE rule = 'digest'", ("queued", 1)
            )
        async with running_relay(tmp_path, clock=monday, **FOR_A_DAY, **ends.settings) as relay:
            assert await erased(relay) == 0
            assert relay.rows("SELECT count(*) FROM digests") == [(1,)]
        monday.forward(hours=1)
        async with running_relay(tmp_path, clock=monday, **FOR_A_DAY, **ends.settings) as relay:
            (mail,) = await ends.mail.received(1)
            assert str(mail.message["Subject"]).startswith("2 missed chats")
            await relay.until("SELECT state FROM deliveries WHERE rule = 'digest'", ("delivered",))
        async with running_relay(tmp_path, clock=monday, **FOR_A_DAY, **ends.settings) as relay:
            assert await erased(relay) == 2


@pytest.mark.usefixtures("each_store")
async def test_what_fell_due_while_the_relay_was_off_is_sent_however_old_it_is(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        async with running_relay(
            tmp_path, clock=ahead_until(6, 9), **FOR_A_DAY, **ends.settings
        ) as relay:
            await relay.post(a_hook(1, missed=True))
        thursday = ahead_until(3, 9, weeks=2)
        async with running_relay(tmp_path, clock=thursday, **FOR_A_DAY, **ends.settings) as relay:
            assert await erased(relay) == 0
            await ends.mail.received(1)
