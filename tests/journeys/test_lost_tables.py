"""A table, a column, a right or the whole database is lost while the relay runs: it is not ready, and somebody is told without it."""

import asyncio
import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from relay.outbox import Outbox, StorageRefused
from relay.outbox.database_session import CommandSessions
from relay.outbox.sqlite import sqlite_file
from relay.outbox.sqlite.file_loss import last_written
from tests.builders import NOON, a_hook
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.outbox.hooks import a_new_hook
from tests.running import RelayProcess, RunningRelay, relay_process, rows, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = pytest.mark.long

OFTEN = timedelta(milliseconds=20)
WAIT = 1
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, fallback: desk}
alerts_to: room
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
LOST = "The relay can't use its database"
BACK = "The relay can use its database again"


async def until_not_ready(relay: RunningRelay) -> list[str]:
    while True:
        state = await relay.ready()
        if not state["ready"]:
            reasons: list[str] = state["reasons"]
            return reasons


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize(
    ("lose", "restore", "reason"),
    [
        (
            "ALTER TABLE attempts RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO attempts",
            "the table attempts is missing",
        ),
        (
            "ALTER TABLE gates RENAME COLUMN reason TO why",
            "ALTER TABLE gates RENAME COLUMN why TO reason",
            "a column of the table gates is missing",
        ),
        (
            "ALTER TABLE hook_bodies RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO hook_bodies",
            "the table hook_bodies is missing",
        ),
    ],
)
async def test_what_is_lost_makes_it_not_ready_and_is_told_without_the_database(
    tmp_path: Path, lose: str, restore: str, reason: str
) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        relay.change(lose)
        assert await until_not_ready(relay) == [f"the database can't be used: {reason}"]
        (post,) = await ends.web.received(1)
        assert LOST in post.body.decode()
        assert reason in post.body.decode()
        relay.change(restore)
        assert BACK in (await ends.web.received(2))[1].body.decode()
        assert (await relay.ready())["reasons"] == []
        assert (await relay.post(a_hook(1, missed=True))).status == 202
        await ends.mail.received(1)


@pytest.mark.usefixtures("each_store")
async def test_where_the_alert_is_refused_the_fallback_is_told_and_nobody_twice(
    tmp_path: Path,
) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
        relay.change("ALTER TABLE attempts RENAME TO elsewhere")
        (mail,) = await ends.mail.received(1)
        assert str(mail.message["Subject"]) == LOST
        for _ in range(20):
            await until_not_ready(relay)
        relay.change("ALTER TABLE elsewhere RENAME TO attempts")
        assert [str(one.message["Subject"]) for one in await ends.mail.received(2)] == [LOST, BACK]


async def test_a_file_that_is_gone_is_told_of(tmp_path: Path) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        (tmp_path / "relay.db").rename(tmp_path / "elsewhere")
        (post,) = await ends.web.received(1)
        assert "the database file was moved, deleted or replaced" in post.body.decode()
        (tmp_path / "elsewhere").rename(tmp_path / "relay.db")
        assert BACK in (await ends.web.received(2))[1].body.decode()
        assert (await relay.ready())["ready"]


async def test_a_database_without_a_table_is_not_started_with(tmp_path: Path) -> None:
    async with running_relay(tmp_path, rules=RULES) as relay:
        relay.change("DROP TABLE attempts")
    with pytest.raises(StorageRefused, match="can't be used: the table attempts is missing"):
        async with running_relay(tmp_path, rules=RULES):
            pass


# -- noticed at a start --------------------------------------------------------------------------------


async def kill_with_something_to_lose(relay: RelayProcess, database: Path) -> None:
    """Post hooks to a relay that runs, and kill it while only its log holds the last mark: its upkeep may empty it."""
    for number in itertools.count(1):
        assert (await relay.post(a_hook(number))).status == 202
        await asyncio.to_thread(relay.kill)
        in_file = int.from_bytes(database.read_bytes()[60:64], "big")  # user_version
        if in_file < last_written(database):
            return
        await asyncio.to_thread(relay.start)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (["relay.db-wal"], "is older than what was last written to it: its log relay.db-wal was"),
        (["relay.db", "relay.db-wal"], "was gone, and an empty database was begun in its place"),
    ],
)
async def test_what_was_lost_after_a_kill_is_said_and_told_once(
    tmp_path: Path, lost: list[str], words: str
) -> None:
    async with ReceivingServers() as ends:
        variables = settings(tmp_path, rules=RULES, **ends.settings)
        with relay_process(variables, is_forked=True) as relay:
            await kill_with_something_to_lose(relay, tmp_path / "relay.db")
            for name in (*lost, "relay.db-shm"):
                (tmp_path / name).unlink()
            await asyncio.to_thread(relay.start)
            (post,) = await ends.web.received(1)
            assert "Chats may be lost" in post.body.decode()
            assert words in post.body.decode()
            assert (await relay.post(a_hook(1, missed=True))).status == 202
            await ends.mail.received(1)
            await asyncio.to_thread(relay.kill)  # what is there now is all that was written
            await asyncio.to_thread(relay.start)
            assert await asyncio.to_thread(relay.stop) == 0
        assert len(ends.web.requests) == 1


async def test_a_log_without_its_file_is_left_as_it_is(tmp_path: Path) -> None:
    variables = settings(tmp_path, rules=RULES)
    with relay_process(variables, is_forked=True) as relay:
        await kill_with_something_to_lose(relay, tmp_path / "relay.db")
    (tmp_path / "relay.db").rename(tmp_path / "elsewhere")
    kept = (tmp_path / "relay.db-wal").read_bytes()
    with pytest.raises(
        StorageRefused, match=r"is not there, but its log relay\.db-wal is: put the"
    ):
        await Outbox.open(tmp_path / "relay.db", now=NOON)
    assert (tmp_path / "relay.db-wal").read_bytes() == kept
    (tmp_path / "elsewhere").rename(tmp_path / "relay.db")
    with relay_process(variables, is_forked=True):
        assert ("1",) in rows(tmp_path / "relay.db", "SELECT chat FROM chats")


async def test_a_refused_start_forgets_nothing_of_what_was_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "relay.db"
    with relay_process(settings(tmp_path, rules=RULES), is_forked=True) as relay:
        await kill_with_something_to_lose(relay, database)
    database.with_name("relay.db-wal").unlink()
    database.rename(tmp_path / "elsewhere")
    database.mkdir()
    with pytest.raises(StorageRefused, match="is not an ordinary file"):
        await Outbox.open(database, now=NOON)
    database.rmdir()
    (tmp_path / "elsewhere").rename(database)
    await (await Outbox.open(database, now=NOON)).close()
    assert "is older than what was last written to it" in caplog.text


@pytest.mark.parametrize(
    "between",
    [
        lambda path: sqlite_file.lock(
            path
        ).close(),  # a relay that was killed before it wrote anything
        lambda path: CommandSessions(path).empty_log(),  # `relay erase`, while no relay runs
    ],
)
async def test_who_comes_before_the_next_relay_hides_no_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, between: Callable[[Path], object]
) -> None:
    database = tmp_path / "relay.db"
    with relay_process(settings(tmp_path, rules=RULES), is_forked=True) as relay:
        assert (await relay.post(a_hook(1))).status == 202
        relay.kill()
    between(database)
    for file in tmp_path.glob("relay.db*"):
        if file.suffix != ".lock":
            file.unlink()
    await (await Outbox.open(database, now=NOON)).close()
    assert "was gone, and an empty database was begun in its place" in caplog.text


async def test_an_orderly_end_and_a_kill_alone_lose_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "relay.db"
    variables = settings(tmp_path, rules=RULES)
    with relay_process(variables, is_forked=True) as relay:
        assert (await relay.post(a_hook(1))).status == 202
        relay.kill()
        relay.start()
        assert relay.stop() == 0
    with contextlib.closing(sqlite3.connect(database)) as by_hand:  # empties the log at its end
        by_hand.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await (await Outbox.open(database, now=NOON)).close()
    assert "relay.outbox" not in caplog.text


# -- noticed while it runs -----------------------------------------------------------------------------


async def test_a_file_that_is_cut_short_takes_no_hooks_and_is_told_of(tmp_path: Path) -> None:
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        for number in range(3):
            assert (await relay.post(a_hook(number))).status == 202
        with contextlib.closing(sqlite3.connect(tmp_path / "relay.db")) as by_hand:
            by_hand.execute("PRAGMA wal_checkpoint")
        assert (await relay.post(a_hook(4))).status == 202
        os.truncate(tmp_path / "relay.db", 3 * 4096)
        assert (await relay.post(a_hook(5))).status == 503
        (post,) = await ends.web.received(1)
        assert "the database file was cut short" in post.body.decode()
        assert (await relay.ready())["reasons"] == [
            "the database can't be used: the database file was cut short"
        ]


async def test_a_file_that_gives_room_back_is_not_taken_for_one_that_was_cut(
    tmp_path: Path,
) -> None:
    outbox = await Outbox.open(tmp_path / "relay.db", now=NOON)
    await outbox.run(lambda cursor: cursor.execute("CREATE TABLE filler (words TEXT)"))
    for _ in range(3):
        await outbox.run(
            lambda cursor: cursor.execute("INSERT INTO filler VALUES (hex(zeroblob(4000000)))")
        )
        await outbox.make_room()
        before = (tmp_path / "relay.db").stat().st_size
        await outbox.run(lambda cursor: cursor.execute("DELETE FROM filler"))
        assert await outbox.give_back()
        assert (tmp_path / "relay.db").stat().st_size < before
    await outbox.accept(a_new_hook(1))
    await outbox.close()
