"""The embedded store: what is peculiar to a file."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.outbox import Outbox, StorageRefused
from relay.outbox.sqlite import sqlite_file
from tests.builders import NOON, later
from tests.outbox.hooks import a_new_hook, claim_one
from tests.running import DEADLINE, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[Outbox]:
    opened = await Outbox.open(path, now=NOON)
    yield opened
    await opened.close()


async def test_the_log_is_not_emptied_while_something_is_written(
    path: Path, outbox: Outbox
) -> None:
    """SQLite up to 3.51.2 may damage the file by that; Debian 12 has 3.40.1."""
    begun, goes_on = threading.Event(), threading.Event()

    def work(cursor: sqlite3.Cursor) -> None:
        cursor.execute("UPDATE hooks SET received_at = received_at + 1")
        begun.set()
        goes_on.wait()

    await outbox.accept(a_new_hook())
    task = asyncio.create_task(outbox.run(work))
    await asyncio.to_thread(begun.wait)
    # Longer than it would wait for somebody else who writes.
    asyncio.get_running_loop().call_later(0.5, goes_on.set)
    assert await asyncio.to_thread(outbox._store.forget)
    await task
    assert path.with_name("relay.db-wal").stat().st_size == 0


def test_a_command_leaves_the_log_to_the_relay(path: Path) -> None:
    sqlite3.connect(path).close()
    connection = sqlite_file.reopen(path, "rw", timeout=1)
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    connection.close()


async def test_a_new_process_takes_up_what_a_dead_one_had_claimed(path: Path) -> None:
    first = await Outbox.open(path, now=NOON)
    await first.accept(a_new_hook())
    await claim_one(first)
    await first.close()
    second = await Outbox.open(path, now=later(seconds=5))
    assert (await claim_one(second, at=5)).attempt == 2
    await second.close()
    assert rows(path, "SELECT number, ending FROM attempts ORDER BY number") == [
        (1, "lost"),
        (2, None),
    ]


@pytest.mark.parametrize("linked", [False, True])
async def test_a_lock_that_somebody_deletes_lets_no_second_relay_in(
    path: Path, tmp_path: Path, *, linked: bool
) -> None:
    """It would take up what the first is sending. By a second name of the file it finds no lock either."""
    first = await Outbox.open(path, now=NOON)
    path.with_name("relay.db.lock").unlink()
    name = tmp_path / "second.db" if linked else path
    if linked:
        name.hardlink_to(path)
    with pytest.raises(
        StorageRefused, match=r"in use by another relay, whose \S+\.lock was deleted"
    ):
        await Outbox.open(name, now=NOON)
    await first.close()
    await (await Outbox.open(path, now=NOON)).close()


async def test_a_file_is_one_file_by_whichever_link_it_is_named(path: Path, tmp_path: Path) -> None:
    """SQLite keeps its log beside the file itself; so must the lock be."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "relay.db"
    link.symlink_to(path)
    by_link = await Outbox.open(link, now=NOON)
    await by_link.accept(a_new_hook())
    assert link.is_symlink()
    with pytest.raises(StorageRefused, match="in use by another relay"):
        await Outbox.open(path, now=NOON)
    path.with_name("relay.db-wal").rename(tmp_path / "elsewhere")
    assert not by_link.is_in_place()
    await by_link.close()


async def test_a_relay_that_can_not_write_any_more_for_a_fault_of_its_own_ends(path: Path) -> None:
    """As without memory: it would take hooks and never answer them."""
    failing = f"""
import asyncio, datetime, logging, pathlib
from relay.outbox import Outbox

def fail(cursor):
    raise SystemExit("as if")

async def main():
    outbox = await Outbox.open(pathlib.Path({str(path)!r}), now=datetime.datetime.now(datetime.UTC))
    await outbox.run(fail)

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", failing], capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 70
    assert "the thread that writes has failed; the relay ends at once" in ended.stderr


async def test_what_can_not_be_opened_is_not_called_damaged(path: Path) -> None:
    """Whoever believed it would put an old backup in its place."""
    await (await Outbox.open(path, now=NOON)).close()
    path.with_name("relay.db-wal").mkdir()
    with pytest.raises(
        StorageRefused, match=r"can't be opened.*relay\.db-wal and relay\.db-shm must"
    ):
        await Outbox.open(path, now=NOON)


async def test_a_second_relay_on_the_same_file_is_refused(outbox: Outbox, path: Path) -> None:
    opening = f"import asyncio, datetime, pathlib; from relay.outbox import Outbox; asyncio.run(Outbox.open(pathlib.Path({str(path)!r}), now=datetime.datetime.now(datetime.UTC)))"
    second = subprocess.run(
        [sys.executable, "-c", opening], capture_output=True, text=True, timeout=DEADLINE
    )
    assert second.returncode != 0
    assert "is in use by another relay (process " in second.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Put the right file back from a backup"),
        (b"hello" * 100, "is not an SQLite database"),
        (b"SQLite format 3\x00" + b"\x00" * 4080, "is an SQLite database, but not a relay's"),
    ],
)
async def test_a_foreign_file_is_refused_and_left_alone(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageRefused, match=words):
        await Outbox.open(path, now=NOON)
    assert path.read_bytes() == content


async def test_a_damaged_file_is_refused_with_a_way_out(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    for chat in range(200):
        await outbox.accept(a_new_hook(chat))
    await outbox.close()
    content = bytearray(path.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at : at + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(StorageRefused, match=r"is damaged .*restore a backup"):
        await Outbox.open(path, now=NOON)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    await outbox.close()
    with sqlite3.connect(path) as writer:
        writer.execute("UPDATE alembic_version SET version_num = '9999'")
    writer.close()
    with pytest.raises(StorageRefused, match=r"written by a newer relay .schema 9999"):
        await Outbox.open(path, now=NOON)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused, match=r"can't write in the folder .*/nowhere as user"):
        await Outbox.open(tmp_path / "nowhere" / "relay.db", now=NOON)


async def test_a_file_moved_away_under_a_running_relay_is_noticed(
    outbox: Outbox, path: Path
) -> None:
    assert outbox.is_in_place()
    path.rename(path.with_name("elsewhere.db"))
    assert not outbox.is_in_place()


async def test_the_file_is_for_its_owner_only_and_durable(outbox: Outbox, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE alembic_version", "has lost the version of its tables; restore a backup"),
        ("DELETE FROM alembic_version", "has lost the version of its tables; restore a backup"),
        ("DROP TABLE attempts", "can't be used: the table attempts is missing"),
        (
            "UPDATE alembic_version SET version_num = '0001'",
            "has tables that are not those of their version 0001: table paces already exists; rest",
        ),
    ],
)
async def test_a_start_with_half_a_schema_says_what_is_wrong(
    path: Path, change: str, words: str
) -> None:
    await (await Outbox.open(path, now=NOON)).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as by_hand:
        by_hand.execute(change)
    with pytest.raises(StorageRefused, match=words):
        await Outbox.open(path, now=NOON)


async def test_a_relay_does_not_take_its_own_emptying_of_the_log_for_somebody_elses_writing(
    outbox: Outbox,
) -> None:
    await outbox.accept(a_new_hook())
    await outbox.others_wrote()
    seen = []
    for _ in range(4):
        assert await outbox.give_back()
        seen.append(await outbox.others_wrote())
    assert seen[1:] == [False] * 3
