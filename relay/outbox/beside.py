"""The outbox as a command sees it: opened beside relays that may be running, without the lock that they hold.

A command reads by a session that can't write, or writes in one short transaction; running relays notice that
somebody else has written and look at what is owed.

Only for a process of its own: the header of an SQLite file is looked at by opening and closing it, and a process
that closes a file loses all its locks on it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy.dialects import sqlite as sqlite_dialect

from relay.database import Database, PostgresServer
from relay.outbox import migrations, sqlite
from relay.outbox.session import Session, refuse_other_schemas
from relay.outbox.values import StorageRefused, StorageUnavailable

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
def _in_file(path: Path, mode: str, begin: str) -> Iterator[Session]:
    _refuse_other_files(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite.beside(path, mode, timeout=PATIENCE)
        refuse_other_schemas(path, migrations.version(connection))
        cursor = connection.cursor()
        cursor.execute(begin)
        yield Session(cursor, sqlite_dialect.dialect(paramstyle="named"), sqlite_dialect.insert)
        cursor.execute("COMMIT")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_ALLOWED:
            raise StorageRefused(
                f"{path} can't be used as user {os.getuid()}: {error}; may this user write in its folder, and is "
                "the disk not mounted read-only?"
            ) from None
        raise StorageUnavailable(f"{path} can't be used right now: {error}") from None
    finally:
        if connection is not None:
            connection.close()  # what was not committed is undone


def empty_log(path: Path) -> bool:
    """Write what SQLite's log holds into the file, as a relay that runs does by itself when it notices our writing.

    Returns False while another program reads it. Only one process may ever do this: see `SqliteStore`.
    """
    path = path.resolve()
    try:
        lock = sqlite.lock(path)
    except StorageRefused:
        return True
    with lock:
        return sqlite.empty_wal(path)


def _refuse_other_files(path: Path) -> None:
    try:
        sqlite.look_at_header(path)
    except FileNotFoundError:
        sqlite.refuse_if_moved(path)
        raise StorageRefused(
            f"there is no {path}; RELAY_DATABASE says where the relay keeps what it knows"
        ) from None
    except OSError as error:
        raise StorageRefused(
            f"{path} can't be read as user {os.getuid()}: {error.strerror}"
        ) from None


def _on_server(server: PostgresServer, begin: str) -> AbstractContextManager[Session]:
    # psycopg takes 0.1 s to import, and most installations live in a file.
    from relay.outbox.beside_postgres import on_server  # noqa: PLC0415

    return on_server(server, begin)
