"""The outbox as a command sees it: opened beside relays that may be running, without the lock that they hold.

A command reads by a session that can't write, or writes in one short transaction; running relays notice that
somebody else has written and look at what is queued.

Only for a process of its own: the header of an SQLite file is looked at by opening and closing it, and a process
that closes a file loses all its locks on it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sqlalchemy.dialects import sqlite as sqlite_dialect

from relay.outbox import migrations
from relay.outbox.rows import StorageRefused, StorageUnavailable
from relay.outbox.session import Session, refuse_other_schemas
from relay.outbox.sqlite import sqlite_file
from relay.settings.database import Database, PostgresServer

_NOT_ALLOWED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
"""To look at it, too, takes the right to make its log."""

PATIENCE = 10.0
"""Seconds to wait for a relay that writes just now."""


def reading(database: Database) -> AbstractContextManager[Session]:
    """One consistent look, which disturbs nobody. Raises StorageRefused and StorageUnavailable."""
    if isinstance(database, PostgresServer):
        return _on_server(database, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return _in_file(database, "ro", "BEGIN")


def writing(database: Database) -> AbstractContextManager[Session]:
    """One transaction, durable at the end of the block; an exception in it leaves all as it was.

    Raises StorageRefused and StorageUnavailable.
    """
    if isinstance(database, PostgresServer):
        return _on_server(database, "BEGIN")
    return _in_file(database, "rw", "BEGIN IMMEDIATE")


@contextlib.contextmanager
def writing_often(database: Database) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
    """What begins one short transaction after another; all of them are durable at the end of the block.

    A file's lock is held only while its pages are changed, not while a disk writes them: hooks wait less for it.
    Raises StorageRefused and StorageUnavailable, as the transactions do.
    """
    if isinstance(database, PostgresServer):
        yield partial(writing, database)
        return
    with _opened(database, "rw") as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        yield partial(_transaction, database, connection, "BEGIN IMMEDIATE")
        _sync_log(database)


def _sync_log(path: Path) -> None:
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as log:
            os.fsync(log)
    except OSError as error:
        raise StorageUnavailable(f"{path}-wal can't be written: {error.strerror}") from None


@contextlib.contextmanager
def _in_file(path: Path, mode: str, begin: str) -> Iterator[Session]:
    with _opened(path, mode) as connection, _transaction(path, connection, begin) as session:
        yield session


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    _refuse_other_files(path)
    with _translated(path):
        connection = sqlite_file.beside(path, mode, timeout=PATIENCE)
    try:
        with _translated(path):
            refuse_other_schemas(path, migrations.version(connection))
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _transaction(path: Path, connection: sqlite3.Connection, begin: str) -> Iterator[Session]:
    with _translated(path):
        cursor = connection.cursor()
        cursor.execute(begin)
        try:
            yield Session(cursor, sqlite_dialect.dialect(paramstyle="named"), sqlite_dialect.insert)
            cursor.execute("COMMIT")
        finally:
            if connection.in_transaction:
                cursor.execute("ROLLBACK")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as StorageRefused and StorageUnavailable."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_ALLOWED:
            raise StorageRefused(
                f"{path} can't be used as user {os.getuid()}: {error}; may this user write in its folder, and is "
                "the disk not mounted read-only?"
            ) from None
        raise StorageUnavailable(f"{path} can't be used right now: {error}") from None


def empty_log(path: Path) -> bool:
    """Write what SQLite's log holds into the file, as a relay that runs does by itself when it notices our writing.

    Returns False while another program reads it. Only one process may ever do this: see `SqliteStore`.
    """
    path = path.resolve()
    try:
        lock = sqlite_file.lock(path)
    except StorageRefused:
        return True
    with lock:
        return sqlite_file.empty_wal(path)


def _refuse_other_files(path: Path) -> None:
    try:
        sqlite_file.look_at_header(path)
    except FileNotFoundError:
        sqlite_file.refuse_if_moved(path)
        raise StorageRefused(
            f"there is no {path}; `relay serve` makes it at its first start, and RELAY_DATABASE says where it is"
        ) from None
    except OSError as error:
        raise StorageRefused(
            f"{path} can't be read as user {os.getuid()}: {error.strerror}"
        ) from None


def _on_server(server: PostgresServer, begin: str) -> AbstractContextManager[Session]:
    # psycopg takes 0.1 s to import, and most installations live in a file.
    from relay.outbox.postgres.postgres_session import on_server  # noqa: PLC0415

    return on_server(server, begin)
