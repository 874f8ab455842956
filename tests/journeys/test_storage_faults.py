"""The disk and the file in trouble: refused in clear words, nothing lost, and over by itself."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from relay.outbox.sqlite.sqlite_store import LEAST_FREE
from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.console.visiting import PASSWORD, signed_in
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import (
    DEADLINE,
    RelayProcess,
    let_files_grow_to,
    new_client,
    relay_process,
    rows,
    running_relay,
    settings,
)

pytestmark = pytest.mark.long

CHATS = "SELECT CAST(chat AS INTEGER) FROM chats ORDER BY 1"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user can reach; pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Caller:
    """Posts chats to a relay in a process of its own."""

    def __init__(self, relay: RelayProcess, client: aiohttp.ClientSession) -> None:
        self._relay = relay
        self._client = client
        self.answered: set[int] = set()
        self._number = 0

    async def post(self) -> tuple[int, str]:
        """A new chat; the status, and the error or the chat's name."""
        self._number += 1
        body = a_hook(self._number, missed=True, visitor={"note": "x" * 500})
        async with self._client.post(self._relay.hook_url, data=body) as answer:
            said = await answer.json()
            if answer.status == 202:
                self.answered.add(self._number)
            else:
                assert int(answer.headers["retry-after"]) > 0
            return answer.status, said.get("error") or said["chat"]

    async def until(self, status: int) -> str:
        """Posts until one is answered so; returns what was said."""
        while True:
            found, words = await self.post()
            if found == status:
                return words

    async def ready(self) -> tuple[int, list[str]]:
        async with self._client.get(f"{self._relay.url}/readyz") as answer:
            return answer.status, (await answer.json())["reasons"]


@contextlib.asynccontextmanager
async def calling(relay: RelayProcess) -> AsyncIterator[Caller]:
    async with new_client() as client:
        yield Caller(relay, client)


# -- a disk that fills up -----------------------------------------------------------------------------------


async def test_a_full_disk_is_answered_503_and_all_goes_on_when_there_is_room_again(
    tmp_path: Path,
) -> None:
    """ST-01, ST-02, ST-04: by a limit on the process, which needs no root."""
    async with ReceivingServers() as ends:
        with relay_process(settings(tmp_path, **ends.settings), is_forked=True) as relay:
            async with calling(relay) as caller:
                for _ in range(20):
                    assert (await caller.post())[0] == 202
                let_files_grow_to(relay, (tmp_path / "relay.db-wal").stat().st_size + 8192)
                assert await caller.until(503) == "the database can't be written right now"
                full = len(caller.answered)
                let_files_grow_to(relay, resource.RLIM_INFINITY)
                await caller.until(202)
                assert len(caller.answered) == full + 1
                # What was being sent at that time is told of, once its outcome could be written down.
                answered = len(caller.answered)
                await ends.mail.until(lambda: len(ends.mail.mails) >= answered)
                await ends.web.until(lambda: len(ends.posts(ROOM)) >= answered)
            assert await asyncio.to_thread(relay.stop) == 0
    kept = {number for (number,) in rows(tmp_path / "relay.db", CHATS)}
    assert kept == caller.answered
    assert rows(tmp_path / "relay.db", "PRAGMA integrity_check") == [("ok",)]


@contextlib.contextmanager
def a_small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of that size. Needs root, in a container too; skips where it may not be had."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "relay-test", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_before_the_disk_is_full_hooks_are_refused_and_what_was_kept_is_sent(
    tmp_path: Path,
) -> None:
    """ST-01, ST-02 on a file system of its own: the reserve is for what must still be written down."""
    disk = tmp_path / "disk"
    with a_small_disk(disk, "80m"):
        async with (
            ReceivingServers() as ends,
            running_relay(disk, RELAY_CONSOLE_PASSWORD=PASSWORD, **ends.settings) as relay,
        ):
            anna = await signed_in(relay)
            assert (await relay.post(a_hook(1, missed=True))).status == 202
            with (disk / "filler").open("wb") as filler:
                filler.write(b"\0" * 30 * 2**20)
            # For half a second it relies on its last look.
            while (refused := await relay.post(a_hook(3))).status in {200, 202}:
                pass
            assert (refused.status, refused.json["error"]) == (503, "the disk is nearly full")
            assert refused.headers["retry-after"] == "60"
            ready = await relay.ask("GET", "/readyz")
            assert (ready.status, ready.json["reasons"]) == (503, ["the disk is nearly full"])
            health, chats = await anna.get("/health"), await anna.get("/chats")
            assert (health.status, "the disk is nearly full" in health.text) == (200, True)
            assert (chats.status, "/chats/1" in chats.text) == (200, True)
            await ends.mail.received(1)
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'queued'", (0,))
            (disk / "filler").unlink()
            while (await relay.post(a_hook(4, missed=True))).status == 503:
                pass
            await relay.until(
                "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND chat_id ="
                " (SELECT id FROM chats WHERE chat = '4')",
                (2,),
            )


async def test_while_nothing_can_be_written_it_is_not_ready_though_all_can_be_read(
    tmp_path: Path,
) -> None:
    """A read-only file system, a quota: seen at the first refusal, and that it is over needs no hook to be seen."""
    log = tmp_path / "log"
    with relay_process(settings(tmp_path), log=log, is_forked=True) as relay:
        async with calling(relay) as caller:
            for _ in range(20):
                assert (await caller.post())[0] == 202
            let_files_grow_to(relay, (tmp_path / "relay.db-wal").stat().st_size)
            await caller.until(503)
            for _ in range(3):
                await caller.post()
            assert await caller.ready() == (503, ["the database can't be written: disk I/O error"])
            let_files_grow_to(relay, resource.RLIM_INFINITY)
            assert await caller.ready() == (200, [])
        assert await asyncio.to_thread(relay.stop) == 0
    words = log.read_text(encoding="utf-8")
    assert words.count("the outbox can't write: disk I/O error") == 1
    assert words.count("the outbox can write again") == 1


async def test_a_log_that_somebodys_long_reading_let_grow_is_given_back_when_the_disk_is_nearly_full(
    tmp_path: Path,
) -> None:
    """Nothing is written while hooks are refused, so nothing else would cut it."""
    disk = tmp_path / "disk"
    with a_small_disk(disk, "80m"):
        async with running_relay(disk) as relay:
            reader = sqlite3.connect(disk / "relay.db", isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM chats").fetchone()
            for number in range(100):
                assert (await relay.post(a_hook(number))).status == 202
            grown = (disk / "relay.db-wal").stat().st_size
            assert grown > 2**20
            with (disk / "filler").open("wb") as filler:
                filler.write(b"\0" * (shutil.disk_usage(disk).free - LEAST_FREE + grown // 2))
            assert (await relay.ready())["reasons"] == ["the disk is nearly full"]
            reader.close()
            async with asyncio.timeout(DEADLINE):
                while not (await relay.ready())["ready"]:
                    pass


async def test_a_log_that_can_not_be_written_does_not_stop_a_delivery(tmp_path: Path) -> None:
    """ST-04: stderr on a full disk."""
    async with ReceivingServers() as ends:
        variables = settings(tmp_path, **ends.settings)
        full = ("sh", "-c", 'exec "$@" 2> /dev/full', "sh")
        with relay_process(variables, *full) as relay:
            async with calling(relay) as caller:
                assert (await caller.post())[0] == 202
                await ends.mail.received(1)
            assert await asyncio.to_thread(relay.stop) == 0


# -- starts that must not be -------------------------------------------------------------------------------


def start(tmp_path: Path, *prefix: str) -> tuple[int, str]:
    """The exit status and the words of a relay that can't start."""
    done = subprocess.run(
        [*prefix, sys.executable, "-B", "-m", "relay", "serve"],
        env={**os.environ, **settings(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


async def test_without_a_byte_of_room_the_relay_says_so_and_touches_nothing(tmp_path: Path) -> None:
    """ST-03."""
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7, missed=True))
    before = (tmp_path / "relay.db").read_bytes()
    status, words = await asyncio.to_thread(start, tmp_path, "prlimit", "--fsize=0")
    assert (status, words.splitlines()[-2:]) == (
        2,
        [
            "The relay can't start:",
            f"  {tmp_path}/relay.db.lock can't be written: File too large; is the disk full?",
        ],
    )
    assert (tmp_path / "relay.db").read_bytes() == before
    with relay_process(settings(tmp_path), is_forked=True):
        assert rows(tmp_path / "relay.db", CHATS) == [(7,)]


async def test_without_room_for_a_first_file_none_is_left_half_made(tmp_path: Path) -> None:
    status, words = await asyncio.to_thread(start, tmp_path, "prlimit", "--fsize=20000")
    assert status == 2
    assert f"{tmp_path}/relay.db can't be opened: disk I/O error; is the disk full?" in words
    assert not (tmp_path / "relay.db").exists()
    with relay_process(settings(tmp_path), is_forked=True):
        assert rows(tmp_path / "relay.db", CHATS) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")
async def test_a_folder_of_another_user_is_named_with_who_we_are(open_folder: Path) -> None:
    """ST-12: the wrong owner; a read-only mount looks the same."""
    home = open_folder / "home"
    home.mkdir()
    shutil.copy(__file__, home / "x")
    status, words = await asyncio.to_thread(start, home, *NOBODY)
    assert status == 2
    assert f"{home}/relay.db: can't write in the folder {home} as user 65534" in words


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")
async def test_a_user_who_may_read_the_file_but_not_write_beside_it_is_told_so(
    open_folder: Path,
) -> None:
    """SQLite makes its log even to read."""
    async with running_relay(open_folder) as relay:
        await relay.post(a_hook(7))
    (open_folder / "relay.db").chmod(0o644)
    read = await command(settings(open_folder), "deliveries", prefix=NOBODY)
    assert read.status == 2
    assert "can't be used as user 65534: " in read.err
    assert "may this user write in its folder" in read.err


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")
async def test_a_file_of_another_user_is_named(open_folder: Path) -> None:
    """ST-12: started once as root, and then as somebody else."""
    open_folder.chmod(0o777)
    async with running_relay(open_folder) as relay:
        await relay.post(a_hook(7))
    (open_folder / "relay.db.lock").unlink()
    status, words = await asyncio.to_thread(start, open_folder, *NOBODY)
    assert status == 2
    assert f"{open_folder}/relay.db can't be " in words
    read = await command(settings(open_folder), "deliveries", prefix=NOBODY)
    assert (read.status, read.err) == (
        2,
        f"{open_folder}/relay.db can't be read as user 65534: Permission denied\n",
    )


# -- while it runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["relay.db", "relay.db-wal"])
@pytest.mark.parametrize("fate", ["deleted", "replaced"])
async def test_a_file_that_is_gone_is_noticed_and_no_hook_is_written_into_nowhere(
    tmp_path: Path, what: str, fate: str
) -> None:
    """ST-10: SQLite itself goes on writing into a file that has no name any more."""
    with relay_process(settings(tmp_path), is_forked=True) as relay:
        async with calling(relay) as caller:
            await caller.until(202)
            (tmp_path / what).rename(tmp_path / "elsewhere")
            if fate == "replaced":
                shutil.copy(tmp_path / "elsewhere", tmp_path / what)
            missing = "the database file was moved, deleted or replaced"
            # Not a single yes, though the disk was looked at a moment ago.
            assert (await caller.post())[0] == 503
            while (said := await caller.post()) != (503, missing):
                assert said == (503, "the database can't be written right now")
            assert await caller.ready() == (503, [missing])


async def test_a_database_that_was_moved_away_makes_it_not_ready(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        (tmp_path / "relay.db").rename(tmp_path / "elsewhere.db")
        answer = await relay.ask("GET", "/readyz")
        assert answer.status == 503
        assert answer.json["ready"] is False
        assert answer.json["reasons"] == ["the database file was moved, deleted or replaced"]
        (tmp_path / "elsewhere.db").rename(tmp_path / "relay.db")
        assert (await relay.ask("GET", "/readyz")).status == 200


async def test_somebodys_long_lock_is_waited_for_and_then_answered_503(tmp_path: Path) -> None:
    """ST-05: nothing is lost, and no restart is needed."""
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(1, missed=True))
        locker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "db.execute('BEGIN EXCLUSIVE')\n"
            "print('locked', flush=True)\n"
            "sys.stdin.read()",
            str(tmp_path / "relay.db"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert locker.stdin is not None
        assert locker.stdout is not None
        await locker.stdout.readline()
        # Both at once, for each may wait for 5 seconds.
        refused, ready = await asyncio.gather(relay.post(a_hook(2)), relay.ask("GET", "/readyz"))
        assert (refused.status, refused.json["error"]) == (
            503,
            "the database can't be written right now",
        )
        assert refused.headers["retry-after"] == "30"
        assert ready.json["reasons"] == ["the database can't be used: database is locked"]
        locker.stdin.close()
        await locker.wait()
        assert (await relay.post(a_hook(2))).status == 202
        assert relay.rows(CHATS) == [(1,), (2,)]


async def test_a_page_that_goes_bad_while_the_relay_runs_is_said_and_not_written_over(
    tmp_path: Path,
) -> None:
    """ST-08: 503 and the reason, not 500; what can still be read is left as it is."""
    database = tmp_path / "relay.db"
    with relay_process(settings(tmp_path), is_forked=True) as relay:
        async with calling(relay) as caller:
            for _ in range(50):
                await caller.post()
            spoil(database)
            assert await caller.until(503) == "the database can't be written right now"
            status, reasons = await caller.ready()
            assert status == 503
            assert reasons == ["the database can't be used: database disk image is malformed"]
        relay.kill()
    status, words = await asyncio.to_thread(start, tmp_path)
    assert status == 2
    assert f"{database} is damaged (" in words
    assert "restore a backup" in words


def spoil(database: Path) -> None:
    """All pages but the first, as a failing disk would; then a change, so that none is read from memory."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        for page in range(4096, database.stat().st_size, 4096):
            file.seek(page)
            file.write(b"\xff" * 512)
    connection.close()


async def test_a_copy_put_in_place_beside_a_newer_log_is_not_spoilt_by_it(tmp_path: Path) -> None:
    """After a kill the log is there; who restores a backup may not think of it."""
    copy, log = tmp_path / "copy.db", tmp_path / "relay.db-wal"
    with relay_process(settings(tmp_path), is_forked=True) as relay:
        assert (await relay.post(a_hook(1))).status == 202
        assert (await command(settings(tmp_path), "backup", copy)).status == 0
        assert (await relay.post(a_hook(2))).status == 202
        relay.kill()
    was = copy.read_bytes()
    copy.rename(tmp_path / "relay.db")
    status, words = await asyncio.to_thread(start, tmp_path)
    assert status == 2
    assert "Move relay.db-wal and relay.db-shm away" in words
    read = await command(settings(tmp_path), "deliveries")
    assert (read.status, "Move relay.db-wal" in read.err) == (2, True)
    assert (tmp_path / "relay.db").read_bytes() == was
    log.unlink()
    with relay_process(settings(tmp_path), is_forked=True):
        assert rows(tmp_path / "relay.db", CHATS) == [(1,)]


async def test_what_is_refused_as_damaged_is_left_as_it_is(tmp_path: Path) -> None:
    """A log that does not belong to the file, as beside a copy that SQLite made: it is not written into it."""
    database, copy = tmp_path / "relay.db", tmp_path / "copy.db"
    with relay_process(settings(tmp_path), is_forked=True) as relay:
        for number in range(30):
            assert (await relay.post(a_hook(number, missed=True))).status == 202
        with contextlib.closing(sqlite3.connect(database)) as beside:
            beside.execute("PRAGMA wal_checkpoint(RESTART)")
        shutil.copy(database, copy)
        for number in range(30, 60):
            assert (await relay.post(a_hook(number, missed=True))).status == 202
        relay.kill()
    with copy.open("r+b") as file:
        for page in range(2 * 4096, copy.stat().st_size, 2 * 4096):
            file.seek(page)
            file.write(b"\xff" * 512)
    copy.rename(database)
    was = database.read_bytes(), (tmp_path / "relay.db-wal").read_bytes()
    status, words = await asyncio.to_thread(start, tmp_path)
    assert (status, "is damaged" in words) == (2, True)
    assert (database.read_bytes(), (tmp_path / "relay.db-wal").read_bytes()) == was


async def test_a_deleted_file_can_be_put_back_from_a_backup(tmp_path: Path) -> None:
    """ST-11: what the copy holds is there again, and nothing that was told of is told of twice."""
    copy = tmp_path / "copy.db"
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (2,))
            assert (await command(settings(tmp_path), "backup", copy)).status == 0
        for path in tmp_path.glob("relay.db*"):
            path.unlink()
        copy.rename(tmp_path / "relay.db")
        async with running_relay(tmp_path, **ends.settings) as relay:
            assert (await relay.post(a_hook(1, missed=True))).status == 200
            assert (await relay.post(a_hook(2, missed=True))).status == 202
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (4,))
        assert len(ends.mail.mails) == len(ends.posts(ROOM)) == 2
