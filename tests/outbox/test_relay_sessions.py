"""Pages of the relay itself: they read and write in its process, and hold up neither hooks nor upkeep."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from relay.outbox import Outbox, StorageRefused, StorageUnavailable
from relay.outbox.database_session import Session
from relay.outbox.history import Wanted, find
from relay.outbox.past_chats import WantedChats
from relay.outbox.schema import deliveries, hooks
from relay.services.find_chats import search_chats
from relay.services.find_deliveries import list_deliveries
from relay.services.personal_data import Person, erase, find_personal_data
from relay.services.resend import resend
from tests.builders import NOON, a_hook, later
from tests.outbox.conftest import Ask, Place
from tests.outbox.hooks import DELIVERED, LEASE, a_new_hook
from tests.running import DEADLINE, settings

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
SHARED_BY_READERS = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""
"""Takes the bytes that every connection to an SQLite file holds a lock on; fails while one does."""
READERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE application_name = 'smartsupp-relay' AND datname = current_database()"
)


@pytest.fixture
async def outbox(outbox: Outbox) -> Outbox:
    outbox.sessions.longest_read = 60  # on a busy machine nothing is to be late by itself
    return outbox


def count_hooks(session: Session) -> int:
    return int(session.ask(sa.select(sa.func.count()).select_from(hooks)).fetchone()[0])


async def test_pages_read_while_hooks_are_written(outbox: Outbox) -> None:
    done = asyncio.Event()

    async def write() -> None:
        for first in range(0, 200, 10):  # ten share a commit: a busy disk takes long for each
            posted = (a_new_hook(number) for number in range(first, first + 10))
            await asyncio.gather(*map(outbox.accept, posted))
        done.set()

    async def read() -> list[int]:
        seen = [await outbox.read(count_hooks)]
        while not done.is_set():
            seen.append(await outbox.read(count_hooks))
        return seen

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        pages = [group.create_task(read()) for _ in range(3)]
    for page in pages:
        seen = page.result()
        assert seen == sorted(seen)
    assert await outbox.read(count_hooks) == 200


async def test_another_relay_is_still_refused_and_sqlite_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    outbox = await Outbox.open(path, now=NOON)
    try:
        await outbox.accept(a_new_hook(1))
        assert await outbox.read(count_hooks) == 1
        assert len((await list_deliveries(outbox.sessions, Wanted(), limit=9)).deliveries) == 1
        done = await resend(outbox.sessions, [1], by="Anna", now=later(minutes=5))
        assert len(done.queued) == 1
        assert outbox.sessions.empty_log() is None
        taken = await _run(sys.executable, "-c", SHARED_BY_READERS, str(path))
        assert "BlockingIOError" in taken
        second = await _run(sys.executable, "-m", "relay", "serve", **settings(tmp_path))
        assert f"relay.db is in use by another relay (process {os.getpid()})" in second
    finally:
        await outbox.close()
    assert not path.with_name("relay.db-wal").exists()  # the writer was the last to close it


async def _run(*command: str, **variables: str) -> str:
    ended = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return str(ended.stderr)


async def test_hooks_do_not_wait_for_a_page_that_reads(outbox: Outbox) -> None:
    """Nor does the page see what came in after it had begun."""
    begun, go_on = threading.Event(), threading.Event()

    def work(session: Session) -> tuple[int, int]:
        before = count_hooks(session)
        begun.set()
        go_on.wait()
        return before, count_hooks(session)

    page = asyncio.create_task(outbox.read(work))
    await asyncio.to_thread(begun.wait)
    accepted = await outbox.accept(a_new_hook(1))
    claim = await outbox.claim("desk", now=NOON, lease=LEASE, limit=1)
    await outbox.settle(claim.deliveries[0], DELIVERED)
    go_on.set()
    assert [*accepted.waiting] == ["desk"]
    assert await page == (0, 0)
    assert await outbox.read(count_hooks) == 1


async def test_a_page_can_write_nothing(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook(1))
    with pytest.raises((StorageRefused, StorageUnavailable)):
        await outbox.read(lambda session: session.ask(sa.delete(deliveries)))
    assert ask("SELECT count(*) FROM deliveries") == [(1,)]
    assert await outbox.read(count_hooks) == 1


async def test_what_reads_for_too_long_is_ended_with_a_sentence(outbox: Outbox) -> None:
    outbox.sessions.longest_read = 0.2
    with pytest.raises(StorageUnavailable, match=r"ended after 0\.2 seconds of reading; ask for"):
        await outbox.read(lambda session: session.cursor.execute(ENDLESS).fetchone())
    outbox.sessions.longest_read = 60
    assert await outbox.read(count_hooks) == 0


async def test_a_page_that_waits_for_others_hears_so(outbox: Outbox) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_: Session) -> None:
        begun.set()
        go_on.wait()

    page = asyncio.create_task(outbox.read(work))
    await asyncio.to_thread(begun.wait)
    outbox.sessions.longest_read = 0.01
    with pytest.raises(StorageUnavailable, match="others keep the database busy"):
        await list_deliveries(outbox.sessions, Wanted(), limit=1)
    go_on.set()
    await page


async def test_what_the_work_raises_is_raised(outbox: Outbox) -> None:
    def work(_: Session) -> None:
        raise ValueError("no such page")

    with pytest.raises(ValueError, match="no such page"):
        await outbox.read(work)
    assert await outbox.read(count_hooks) == 0


async def test_a_read_that_runs_does_not_hold_up_the_end(place: Place) -> None:
    outbox = await Outbox.open(place.database, now=NOON)
    begun = threading.Event()

    def work(session: Session) -> None:
        begun.set()
        session.cursor.execute(ENDLESS).fetchone()

    page = asyncio.create_task(outbox.read(work))
    await asyncio.to_thread(begun.wait)
    await outbox.close()
    with pytest.raises(StorageUnavailable):
        await page
    with pytest.raises(StorageUnavailable, match="closed"):
        await outbox.read(count_hooks)


async def test_what_was_erased_is_gone_though_pages_read(outbox: Outbox) -> None:
    """The connection that reads stays open; a page that reads just now is waited for."""
    await outbox.accept(a_new_hook(1))
    begun, go_on = threading.Event(), threading.Event()

    def work(session: Session) -> None:
        count_hooks(session)
        begun.set()
        go_on.wait()

    page = asyncio.create_task(outbox.read(work))
    await asyncio.to_thread(begun.wait)
    giving_back = asyncio.create_task(outbox.give_back())
    await outbox.accept(a_new_hook(2))
    go_on.set()
    await page
    assert await giving_back
    assert await outbox.read(count_hooks) == 2
    assert await outbox.give_back()


async def test_services_work_by_the_relays_own_sessions(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook(1))
    await outbox.others_wrote()
    resent = await resend(outbox.sessions, [1, 9], by="Anna", now=later(minutes=5))
    assert (len(resent.queued), resent.missing) == (1, [9])
    assert outbox.is_shared or await outbox.others_wrote()
    found = await search_chats(outbox.sessions, "marta", WantedChats(), limit=9)
    assert [each.name for each in found.chats] == ["208/1"]
    (record,) = await outbox.read(lambda session: find(session, Wanted(), limit=9))
    assert record.due_at == later(minutes=5)
    theirs = await find_personal_data(outbox.sessions, Person.named(chat=("208", "1")))
    erased = await erase(outbox.sessions, theirs, by="Anna", now=NOON)
    assert (len(erased.chats), erased.left_in, erased.trouble) == (1, None, "")
    assert ask("SELECT count(*) FROM chats") == [(0,)]


async def test_of_what_was_erased_by_the_relays_own_sessions_no_byte_is_left(
    tmp_path: Path,
) -> None:
    outbox = await Outbox.open(tmp_path / "relay.db", now=NOON)
    try:
        await outbox.accept(a_new_hook(1))
        assert await outbox.read(count_hooks) == 1
        theirs = await find_personal_data(outbox.sessions, Person.named(chat=("208", "1")))
        await erase(outbox.sessions, theirs, by="Anna", now=NOON)
        assert b"Marta" in a_hook(1)
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"Marta Nowak" not in kept
        assert await outbox.read(count_hooks) == 0
    finally:
        await outbox.close()


async def test_a_file_that_was_moved_is_not_read_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    outbox = await Outbox.open(path, now=NOON)
    try:
        await outbox.accept(a_new_hook(1))
        assert await outbox.read(count_hooks) == 1
        path.rename(tmp_path / "elsewhere")
        with pytest.raises(StorageUnavailable, match="moved, deleted or replaced"):
            await outbox.read(count_hooks)
        with pytest.raises(StorageUnavailable, match="moved, deleted or replaced"):
            await resend(outbox.sessions, [1], by="Anna", now=NOON)
        other = await Outbox.open(tmp_path / "other.db", now=NOON)
        await other.close()
        (tmp_path / "other.db").rename(path)
        with pytest.raises(StorageUnavailable, match="moved, deleted or replaced"):
            await outbox.read(count_hooks)
        (tmp_path / "elsewhere").rename(path)
        assert await outbox.read(count_hooks) == 1
    finally:
        await outbox.close()


@pytest.mark.parametrize(
    "place", [pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
async def test_a_lost_connection_is_made_again(outbox: Outbox, ask: Ask) -> None:
    assert ask(READERS) == [(0,)]  # nobody has read yet
    assert await outbox.read(count_hooks) == 0
    assert ask(READERS) == [(1,)]
    ask(READERS.replace("count(*)", "pg_terminate_backend(pid)"))
    async with asyncio.timeout(DEADLINE):
        while ask(READERS) != [(0,)]:
            await outbox.summary()
    assert await outbox.read(count_hooks) == 0
