"""How services read and write the database: a session is a cursor inside a transaction.

`CommandSessions` is for a process beside relays that may be running. `RelaySessions`, in `relay_database_session`, is for the process
of a relay itself.
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

from relay.files import sync
from relay.outbox import migrations
from relay.outbox.delivery_types import StorageRefused, StorageUnavailable
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.settling import Operations
from relay.outbox.sqlite import sqlite_file
from relay.outbox.sqlite.file_loss import inodes
from relay.outbox.sqlite.sqlite_store import is_held_here
from relay.outbox.statements import Query, Statement, Statements
from relay.settings.database import Database, PostgresServer, connection_problem


@dataclass(frozen=True)
class Session:
    """A cursor inside a transaction, with the dialect of its database."""

    cursor: Any
    """A DB-API cursor."""
    statements: Statements
    """The statements of the database's dialect; each is compiled once for its connection."""
    before_each: Callable[[], None] = lambda: None
    """Called before each statement of `ask`."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of the database."""
        return self.statements.dialect

    @cached_property
    def operations(self) -> Operations:
        """The outbox's operations, to be called with the session's cursor."""
        return Operations(self.statements)

    def ask(self, question: Query | sa.sql.expression.ClauseElement, **parameters: Any) -> Any:  # noqa: ANN401
        """Run a statement built with SQLAlchemy, a Query without compiling it again; returns the cursor."""
        self.before_each()
        if isinstance(question, Query):
            return self.statements[question].run(self.cursor, **parameters)
        return Statement(question, self.dialect).run(self.cursor, **parameters)


class Sessions(Protocol):
    """Opens sessions for services. Blocks: call it in a thread. Each transaction raises StorageRefused and StorageUnavailable."""

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads and sees one moment; it holds up no writer."""

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction, durable at the end of the block; an exception in the block undoes all of it."""

    def writing_often(
        self,
    ) -> AbstractContextManager[Callable[[], AbstractContextManager[Session]]]:
        """A function that begins one short transaction after another; all are durable at the end of the block.

        A file is locked only while its pages are changed, not while the disk writes them, so that hooks wait less.
        """

    def empty_log(self) -> Path | None:
        """Write the contents of SQLite's log into the file, so that the log holds no erased rows.

        Returns the path of the log if that can't be done because another program reads it, else None.
        """


PATIENCE = 10.0
"""Seconds to wait for a relay that is writing."""


@dataclass(frozen=True)
class CommandSessions:
    """Sessions of a command. Each opens the database, beside relays that may be running."""

    database: Database
    patience: float = PATIENCE
    """Seconds to wait for a relay that is writing to the file."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads, in a connection of its own."""
        with (
            closing(open_database(self.database, writes=False)) as opened,
            opened.transaction() as session,
        ):
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in a transaction of its own: committed at the end, rolled back on an exception."""
        with (
            closing(open_database(self.database, writes=True, patience=self.patience)) as opened,
            opened.transaction() as session,
        ):
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        """A function that opens short writing sessions one after the other, in one connection."""
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
        """Write the contents of SQLite's log into the file, unless a relay runs, which does so by itself.

        See `SqliteStore`. Only one process may do this. Returns the path of the log if another program reads it, else
        None.
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
    """The path of SQLite's write-ahead log, which holds what is not in the database file yet."""
    return path.with_name(f"{path.name}-wal")


def _sync_log(path: Path) -> None:
    try:
        sync(log_of(path))
    except OSError as error:
        raise StorageUnavailable(f"{path}-wal can't be written: {error.strerror}") from None


# -- one connection -----------------------------------------------------------------------------------------


class OpenDatabase(Protocol):
    """A connection beside that of a relay's writer. Only one thread at a time may use it."""

    def transaction(self) -> AbstractContextManager[Session]:
        """One transaction; an exception in its block undoes it. Raises StorageRefused and StorageUnavailable."""

    def is_usable(self) -> bool:
        """Whether the connection still works. False once it is lost, or the file was moved or replaced."""

    def cut(self) -> None:
        """Interrupt the statement that runs now, from any thread."""

    def close(self) -> None:
        """Close the connection."""


def open_database(
    database: Database,
    *,
    writes: bool,
    longest: float | None = None,
    patience: float = PATIENCE,
) -> OpenDatabase:
    """Open a database that a relay has created. Raises StorageRefused and StorageUnavailable.

    `longest`: seconds after which a server ends a statement; 30 by default. `patience`: see `CommandSessions`.
    """
    if isinstance(database, PostgresServer):
        return _Server(database, writes=writes, longest=longest)
    return _File(database, writes=writes, patience=patience)


def refuse_other_schemas(name: object, version: str) -> None:
    """Raise StorageRefused unless `version`, the database's schema, is this relay's; empty: the database has none."""
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
"""SQLite's error codes for missing rights. Reading also needs the right to create the log."""


class _File:
    """An SQLite file, opened by SQLite alone: closing any other descriptor of it would drop this process' locks."""

    def __init__(self, path: Path, *, writes: bool, patience: float) -> None:
        """Connect to the server. Raises StorageRefused and StorageUnavailable."""
        self._path, self._begin = path, "BEGIN IMMEDIATE" if writes else "BEGIN"
        self._statements = Statements(sqlite_dialect.dialect(paramstyle="named"))
        _refuse_other_files(path)
        self._inodes = inodes(str(path))
        with _translated(path):
            self.connection = sqlite_file.reopen(path, "rw" if writes else "ro", timeout=patience)
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
                yield Session(cursor, self._statements)
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
    """Raise SQLite's errors as StorageRefused and StorageUnavailable."""
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
        """Connect to the server. Raises StorageRefused and StorageUnavailable."""
        # psycopg takes 0.1 s to import, and most installations live in a file.
        import psycopg  # noqa: PLC0415
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
        from sqlalchemy.dialects.postgresql.psycopg import dialect  # noqa: PLC0415

        from relay.outbox.postgres import postgres_store  # noqa: PLC0415

        self._server, self._psycopg, self._cut = server, psycopg, postgres_store.cut
        self._statements = Statements(dialect(paramstyle="pyformat"), insert)  # type: ignore[no-untyped-call]
        self._begin = "BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        with self._translated():
            self._connection: Any = postgres_store.connect(postgres_store.conninfo(server))
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
                yield Session(cursor, self._statements)
                cursor.execute("COMMIT")
            except BaseException:
                if not self._connection.closed:
                    self._connection.rollback()
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the driver's errors as StorageUnavailable."""
        try:
            yield
        except self._psycopg.Error as error:
            raise StorageUnavailable(
                f"{self._server} can't be used right now: {connection_problem(error)}"
            ) from None

    def is_usable(self) -> bool:
        return not self._connection.closed

    def cut(self) -> None:
        self._cut(self._connection)

    def close(self) -> None:
        self._connection.close()
