"""Opens and creates the SQLite file of a relay safely, for one relay at a time."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from relay.crash_points import CrashPoint, reach
from relay.files import create_private, open_private, sync
from relay.outbox import migrations
from relay.outbox.delivery_types import StorageRefused
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.sqlite.file_loss import inode, last_written, refuse_a_log_alone, write_number

APPLICATION_ID = 0x52454C59
"""'RELY': distinguishes a relay's file from any other SQLite file."""

CHECKED_SIZE = 64 * 2**20
"""Bytes up to which a file is checked at the start, which takes a fifth of a second; a larger one would delay it."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_WITHOUT_LOG = 1
"""The format of a file without a log beside it, such as a backup; see sqlite.org/fileformat2.html, 1.3.3."""

PAGES_AT_ONCE = 256
"""Pages (1 MiB) given back to the disk per transaction, so that hooks need not wait for all of it."""

_PRAGMAS = (
    "journal_mode = WAL",
    # NORMAL would answer 202 before the bytes are on disk.
    "synchronous = FULL",
    # Erased personal data must not stay in free pages; not every SQLite build has it on.
    "secure_delete = ON",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "busy_timeout = 5000",
    "wal_autocheckpoint = 1000",
    "journal_size_limit = 67108864",
    "temp_store = MEMORY",
)


def lock(path: Path) -> IO[str]:
    """Hold the file's lock as long as the returned file is open. Raises StorageRefused.

    Two relays on one file would each take the other's leases for those of a dead process. What the previous relay
    wrote there stays, see `last_written`, as this one may be killed before it writes anything.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        handle = open_private(lock_path)
    except OSError as error:
        raise StorageRefused(
            f"{path}: can't write in the folder {path.parent.resolve()} as user {os.getuid()}: "
            f"{error.strerror}"
        ) from None
    try:
        _take_lock(handle, path, lock_path)
    except BaseException:
        handle.close()
        raise
    return handle


def _take_lock(handle: IO[str], path: Path, lock_path: Path) -> None:
    """Lock the open lock file, and write what is known of the database into it. Raises StorageRefused."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        owner = handle.readline().strip() or "unknown"
        raise StorageRefused(
            f"{path} is in use by another relay (process {owner}); stop that one first"
        ) from None
    except OSError as error:
        raise StorageRefused(
            f"{lock_path} can't be locked: {error.strerror}; the database needs a disk that keeps locks, a network "
            "drive may keep none"
        ) from None
    try:
        write_number(handle, last_written(path))
    except OSError as error:
        raise StorageRefused(
            f"{lock_path} can't be written: {error.strerror}; is the disk full?"
        ) from None


def find_or_make(path: Path) -> IO[bytes]:
    """Open the file, created if there is none, and lock it as long as the returned file is open. Raises StorageRefused.

    The caller holds the lock file, too: people delete lock files that seem left over, but they work on network drives.
    """
    with _refusing(path):
        if not path.exists():
            refuse_if_moved(path)
            refuse_a_log_alone(path)
            _create(path)
        look_at_header(path)
        file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StorageRefused(
            f"{path} is in use by another relay, whose {path.name}.lock was deleted; stop that one first"
        ) from None
    except OSError:
        pass  # this file system has no such locks
    return file


def aside(path: Path) -> Path:
    """The path at which `relay move` keeps a file that it has moved to a server."""
    return path.with_name(f"{path.name}.moved")


def refuse_if_moved(path: Path) -> None:
    """Raise StorageRefused where the file that the settings name was moved to a server."""
    if aside(path).exists():
        raise StorageRefused(
            f"{path} was moved to a database server; set RELAY_DATABASE to that server. To begin with an empty file, "
            f"take {aside(path)} away"
        )


def open_file(path: Path) -> sqlite3.Connection:
    """Open the connection that writes, in autocommit mode, with the schema brought up to date. Raises StorageRefused.

    The caller holds the locks and releases them after closing it: closing any descriptor of the file drops SQLite's
    own locks.
    """
    with _refusing(path):
        is_whole = _is_whole(path)
        connection = connect(path)
        try:
            if not is_whole:
                _read_through(path, connection)
            _bring_up_to_date(path, connection)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageRefused(_not_opened(path, error)) from None
    except OSError as error:
        raise StorageRefused(f"{path} can't be opened: {error.strerror}") from None


def connect(path: Path) -> sqlite3.Connection:
    # check_same_thread: opened at start-up, then used by the writer's thread alone.
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def data_version(cursor: sqlite3.Cursor) -> int:
    """A number that changes whenever another connection has written."""
    return int(cursor.execute("PRAGMA data_version").fetchone()[0])


def vacuum_some(cursor: sqlite3.Cursor) -> bool:
    """Give some free pages back to the disk; returns whether there are more to give back."""
    before = _free_pages(cursor)
    cursor.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
    return 0 < _free_pages(cursor) < before


def _free_pages(cursor: sqlite3.Cursor) -> int:
    return int(cursor.execute("PRAGMA freelist_count").fetchone()[0])


def empty_wal(path: Path) -> bool:
    """Write the log's changes into the file and truncate the log; False while another connection reads or writes.

    The log holds earlier contents of pages, so an erased chat is gone only when it is empty. An empty log is left
    alone, as truncating it looks to other connections like a write.
    """
    with contextlib.suppress(OSError):
        if not Path(f"{path}-wal").stat().st_size:
            return True
    try:
        # A short wait, because writers wait meanwhile.
        connection = reopen(path, "rw", timeout=0.2)
    except sqlite3.Error:
        return False
    try:
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error:
        return False
    finally:
        connection.close()


def reopen(path: Path, mode: str, *, timeout: float) -> sqlite3.Connection:
    """A second connection to an existing file, in autocommit mode; `mode` is `ro` or `rw`.

    Leaves the log to the relay, see `SqliteStore`. `timeout`: seconds to wait for other writers. Raises
    sqlite3.Error.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    # check_same_thread: a relay's own reads come from several threads, one at a time.
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=timeout, check_same_thread=False
    )
    for pragma in ("synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def _create(path: Path) -> None:
    """Create the file under another name and rename it when it is complete, so that a kill leaves no half-made file."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        _make(draft)
        reach(CrashPoint.DRAFTED)
        draft.rename(path)
        reach(CrashPoint.IN_PLACE)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def _make(draft: Path) -> None:
    create_private(draft).close()
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        # Before the first table, so that pages of erased rows can be given back.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrations.create(connection)
    finally:
        connection.close()
    sync(draft)


def look_at_header(path: Path) -> None:
    """Refuse a file that is no relay's database; SQLite would take an empty file for a new database.

    Raises StorageRefused and OSError.
    """
    if path.exists() and not path.is_file():
        raise StorageRefused(f"{path} is not an ordinary file; name another")
    with path.open("rb") as file:
        header = file.read(100)
    if header[:16] != b"SQLite format 3\x00":
        problem = "is empty" if not header else "is not an SQLite database"
        raise StorageRefused(
            f"{path} {problem}. Put the right file back from a backup; to start with an empty one, move it away first"
        )
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StorageRefused(f"{path} is an SQLite database, but not a relay's; name another file")
    if header[18] == _WITHOUT_LOG and inode(f"{path}-wal", least=1):
        raise StorageRefused(
            f"{path} is a copy that was put in another file's place, and the log of that one still lies beside it: "
            f"SQLite would write it into the copy. Move {path.name}-wal and {path.name}-shm away"
        )


def _is_whole(path: Path) -> bool:
    """Whether the file passes SQLite's check, read without changing it or its log.

    False where that can't be told, as after a kill during an upgrade. Raises StorageRefused, and sqlite3.Error for a
    damaged file.
    """
    try:
        with contextlib.closing(reopen(path, "ro", timeout=5)) as connection:
            _read_through(path, connection)
    except sqlite3.Error as error:
        if _kind(error) in _DAMAGE:
            raise
        return False
    return True


def _read_through(path: Path, connection: sqlite3.Connection) -> None:
    if path.stat().st_size <= CHECKED_SIZE:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StorageRefused(_damaged(path, problem))


def _bring_up_to_date(path: Path, connection: sqlite3.Connection) -> None:
    version = migrations.version(connection)
    if version == SCHEMA_VERSION:
        return
    if not version:
        raise StorageRefused(f"{path} has lost the version of its tables; restore a backup")
    if version not in migrations.KNOWN:
        raise StorageRefused(
            f"{path} was written by a newer relay (schema {version}; this one knows "
            f"{SCHEMA_VERSION}); start that version, or restore a backup"
        )
    try:
        migrations.upgrade(connection)
    except sqlite3.OperationalError as error:
        if _kind(error) != sqlite3.SQLITE_ERROR:
            raise
        raise StorageRefused(
            f"{path} has tables that are not those of their version {version}: {error}; restore a backup"
        ) from None


def _not_opened(path: Path, error: sqlite3.Error) -> str:
    """The message for a file that can't be opened.

    Only what SQLite calls damaged is called so: restoring a backup for another reason would lose chats.
    """
    if _kind(error) in _DAMAGE:
        return _damaged(path, str(error))
    match _kind(error):
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            hint = "; is the disk full?"
        case sqlite3.SQLITE_CANTOPEN:
            hint = (
                f"; {path.name}-wal and {path.name}-shm must be made beside it: is a file of another user in the way, "
                "has the disk free inodes (df -i), may so many files be open (ulimit -n)?"
            )
        case sqlite3.SQLITE_BUSY:
            hint = "; another program holds it, end that one first"
        case _:
            hint = ""
    return f"{path} can't be opened: {error}{hint}"


def _kind(error: sqlite3.Error) -> int:
    """SQLite's primary error code, the lowest byte; 0 for an error that Python itself raised."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _damaged(path: Path, message: str) -> str:
    return (
        f"{path} is damaged ({' '.join(message.split())}). Nothing was changed; restore a backup, or keep the file and "
        f"try `sqlite3 {path} .recover`"
    )
