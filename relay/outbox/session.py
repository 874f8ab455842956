"""The outbox as a command sees it: a cursor inside a transaction, opened beside relays that may be running, without the lock that they hold.

A command reads by a session that can't write, or writes in one short transaction; running relays notice that
somebody else has written and look at what is queued. A relay may do so in its own process, too.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import Dialect

from relay.outbox import migrations
from relay.outbox.rows import StorageRefused, StorageUnavailable
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.settling import Operations
from relay.outbox.sqlite import sqlite_file
from relay.outbox.sqlite.sqlite_store import is_held_here
from relay.outbox.statements import Insert, Statement, Statements
from relay.settings.database import Database, PostgresServer, why_no_connection


@dataclass(frozen=True)
class Session:
    """A cursor inside a transaction, and how to put a question to it."""

    cursor: Any
    """Any DB-API cursor."""
    dialect: Dialect
    insert: Insert
    """The dialect's own."""

    @cached_property
    def operations(self) -> Operations:
        """The outbox's own acts, on the same cursor."""
        return Operations(Statements(self.dialect, self.insert))

    def ask(self, construct: sa.sql.expression.ClauseElement, **parameters: Any) -> Any:  # noqa: ANN401
        """Run a statement of SQLAlchemy's; returns the cursor."""
        return Statement(construct, self.dialect).run(self.cursor, **parameters)


def refuse_other_schemas(name: object, version: str) -> None:
    """`version`: what the database says, empty where it says nothing. Raises StorageRefused."""
    if version == SCHEMA_VERSION:
        return
    if version in migrations.KNOWN:
        raise StorageRefused(
            f"{name} was last used by an older relay (schema {version}); start this one once, "
            "and it is brought up to date"
        )
    raise StorageRefused(
        f"{name} was written by a newer relay, or by another program (schema {version or 'unknown'}; "
        f"this relay knows {SCHEMA_VERSION})"
    )


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
        try:
            yield partial(_transaction, database, connection, "BEGIN IMMEDIATE")
        finally:
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
    if is_held_here(path):
        return
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


@contextlib.contextmanager
def _on_server(server: PostgresServer, begin: str) -> Iterator[Session]:
    """One transaction, begun by those words. Raises StorageRefused and StorageUnavailable."""
    # psycopg takes 0.1 s to import, and most installations live in a file.
    import psycopg  # noqa: PLC0415
    from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
    from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect  # noqa: PLC0415

    from relay.outbox.postgres.postgres_store import connect, conninfo  # noqa: PLC0415

    parameters = conninfo(server)
    connection: Any = None
    try:
        connection = connect(parameters)
        refuse_other_schemas(server, _version_on_server(connection))
        cursor = connection.cursor()
        cursor.execute(begin)
        dialect = psycopg_dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        yield Session(cursor, dialect, insert)
        cursor.execute("COMMIT")
    except psycopg.Error as error:
        raise StorageUnavailable(
            f"{server} can't be used right now: {why_no_connection(error)}"
        ) from None
    finally:
        if connection is not None:
            connection.close()  # what was not committed is undone


def _version_on_server(connection: Any) -> str:  # noqa: ANN401 - of psycopg, which is not imported yet
    from psycopg import errors  # noqa: PLC0415 - see above

    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except errors.UndefinedTable:
        return ""
    return str(row[0]) if row else ""
