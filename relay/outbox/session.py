"""How services read and write the database: a session is a cursor inside a transaction.

`CommandSessions` is for a process beside relays that may be running: it leaves them the lock that they hold, and they
notice that somebody else has written. `RelaySessions`, in `reader`, is for the process of a relay itself.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import Dialect

from relay.outbox import migrations
from relay.outbox.rows import StorageRefused, StorageUnavailable
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.settling import Operations
from relay.outbox.sqlite import sqlite_file
from relay.outbox.sqlite.file_loss import inodes
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
        """The acts of the outbox, to be called with the session's cursor."""
        return Operations(Statements(self.dialect, self.insert))

    def ask(self, construct: sa.sql.expression.ClauseElement, **parameters: Any) -> Any:  # noqa: ANN401
        """Run a statement of SQLAlchemy's; returns the cursor."""
        return Statement(construct, self.dialect).run(self.cursor, **parameters)


class Sessions(Protocol):
    """Where services get their sessions from. Each transaction raises StorageRefused and StorageUnavailable.

    It blocks: call it in a thread.
    """

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that can't write and sees one moment; it holds up nobody who writes."""

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction, durable at the end of the block; an exception in the block undoes all of it."""

    def writing_often(
        self,
    ) -> AbstractContextManager[Callable[[], AbstractContextManager[Session]]]:
        """What begins one short transaction after another; all of them are durable at the end of the block.

        A file's lock is held only while its pages are changed, not while a disk writes them: hooks wait less for it.
        """

    def empty_log(self) -> Path | None:
        """Write what SQLite's log holds into the file, so that nothing of what was erased stands there.

        Returns the log if that can't be, because another program reads it.
        """


PATIENCE = 10.0
"""Seconds to wait for a relay that writes just now."""


@dataclass(frozen=True)
class CommandSessions:
    """Sessions of a command; each opens the database, beside relays that may be running."""

    database: Database
    patience: float = PATIENCE
    """Seconds to wait for a relay that writes to a file just now."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        with (
            closing(open_database(self.database, writes=False)) as opened,
            opened.transaction() as session,
        ):
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        with (
            closing(open_database(self.database, writes=True, patience=self.patience)) as opened,
            opened.transaction() as session,
        ):
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        if isinstance(self.database, PostgresServer):
            yield self.writing
            return
        with closing(_File(self.database, writes=True, patience=self.patience)) as opened:
            opened.connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield opened.transaction
            finally:
                _sync_log(self.database)

    def empty_log(self) -> Path | None:
        """A relay that runs does so by itself when it notices what was written. Only one process may ever do this.

        See `SqliteStore`.
        """
        if isinstance(self.database, PostgresServer):
            return None
        path = self.database.resolve()
        try:
            lock = sqlite_file.lock(path)
        except StorageRefused:
            return None
        with lock:
            return None if sqlite_file.empty_wal(path) else log_of(self.database)


def log_of(path: Path) -> Path:
    """The file in which SQLite keeps what it has not written into the database file yet."""
    return path.with_name(f"{path.name}-wal")


def _sync_log(path: Path) -> None:
    try:
        with log_of(path).open("rb") as log:
            os.fsync(log)
    except OSError as error:
        raise StorageUnavailable(f"{path}-wal can't be written: {error.strerror}") from None


# -- one connection -----------------------------------------------------------------------------------------


class OpenDatabase(Protocol):
    """A connection beside the one that a relay writes by. One thread at a time may use it."""

    def transaction(self) -> AbstractContextManager[Session]:
        """One transaction; an exception in its block undoes it. Raises StorageRefused and StorageUnavailable."""

    def is_usable(self) -> bool:
        """Whether the connection can still be used: not once it is lost, or the file was moved or replaced."""

    def cut(self) -> None:
        """Let the statement that runs now fail, from any thread."""

    def close(self) -> None: ...


def open_database(
    database: Database,
    *,
    writes: bool,
    longest: float | None = None,
    patience: float = PATIENCE,
) -> OpenDatabase:
    """A database that a relay has made. `longest`: seconds after which a server ends a statement, 30 without.

    Raises StorageRefused and StorageUnavailable.
    """
    if isinstance(database, PostgresServer):
        return _Server(database, writes=writes, longest=longest)
    return _File(database, writes=writes, patience=patience)


def refuse_other_schemas(name: object, version: str) -> None:
    """Raise StorageRefused for a database of another schema.

    `version`: what it says of its own, empty where it says nothing.
    """
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


class _File:
    """An SQLite file, opened by SQLite alone: to close any other descriptor of it drops this process' locks on it."""

    def __init__(self, path: Path, *, writes: bool, patience: float) -> None:
        """Raises StorageRefused and StorageUnavailable."""
        self._path, self._begin = path, "BEGIN IMMEDIATE" if writes else "BEGIN"
        _refuse_other_files(path)
        self._inodes = inodes(str(path))
        with _translated(path):
            self.connection = sqlite_file.beside(path, "rw" if writes else "ro", timeout=patience)
        try:
            with _translated(path):
                refuse_other_schemas(path, migrations.version(self.connection))
                if not writes:
                    self.connection.execute("PRAGMA query_only = ON")
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with _translated(self._path):
            cursor = self.connection.cursor()
            cursor.execute(self._begin)
            try:
                yield Session(
                    cursor, sqlite_dialect.dialect(paramstyle="named"), sqlite_dialect.insert
                )
                cursor.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    cursor.execute("ROLLBACK")

    def is_usable(self) -> bool:
        return inodes(str(self._path)) == self._inodes

    def cut(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed meanwhile
            self.connection.interrupt()

    def close(self) -> None:
        self.connection.close()


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


class _Server:
    """A connection to a PostgreSQL server."""

    def __init__(self, server: PostgresServer, *, writes: bool, longest: float | None) -> None:
        """Raises StorageRefused and StorageUnavailable."""
        # psycopg takes 0.1 s to import, and most installations live in a file.
        import psycopg  # noqa: PLC0415
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
        from sqlalchemy.dialects.postgresql.psycopg import dialect  # noqa: PLC0415

        from relay.outbox.postgres import postgres_store  # noqa: PLC0415

        self._server, self._psycopg, self._cut = server, psycopg, postgres_store.cut
        self._dialect: Dialect = dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        self._insert = insert
        self._begin = "BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        parameters = postgres_store.conninfo(server)
        with self._translated():
            self._connection: Any = postgres_store.connect(parameters)
        try:
            with self._translated():
                refuse_other_schemas(server, self._version())
                if longest is not None:
                    self._connection.execute(f"SET statement_timeout = {round(1000 * longest)}")
        except BaseException:
            self.close()
            raise

    def _version(self) -> str:
        try:
            row = self._connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except self._psycopg.errors.UndefinedTable:
            return ""
        return str(row[0]) if row else ""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._translated():
            cursor = self._connection.cursor()
            cursor.execute(self._begin)
            try:
                yield Session(cursor, self._dialect, self._insert)
                cursor.execute("COMMIT")
            except BaseException:
                if not self._connection.closed:
                    self._connection.rollback()
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's errors as StorageUnavailable."""
        try:
            yield
        except self._psycopg.Error as error:
            raise StorageUnavailable(
                f"{self._server} can't be used right now: {why_no_connection(error)}"
            ) from None

    def is_usable(self) -> bool:
        return not self._connection.closed

    def cut(self) -> None:
        self._cut(self._connection)

    def close(self) -> None:
        self._connection.close()
