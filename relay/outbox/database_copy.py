"""Copies a database: an SQLite file in use into another file, or all of its contents to a PostgreSQL server."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from relay.files import create_private, sync
from relay.outbox.database_session import CommandSessions, Session
from relay.outbox.delivery_types import ITSELF, State, StorageRefused, StorageUnavailable
from relay.outbox.leases import Leases
from relay.outbox.postgres.postgres_opening import open_postgres
from relay.outbox.postgres.postgres_store import Connection, connect, conninfo
from relay.outbox.schema import chats, deliveries, metadata, relays
from relay.outbox.sqlite.sqlite_store import open_sqlite
from relay.settings.database import PostgresServer

PAGES_AT_ONCE = 2048
"""Pages copied (8 MiB) between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Counts of what a copy of a database holds."""

    chats: int
    deliveries: int
    queued: int
    """How many of the deliveries are still queued, scheduled or being sent."""
    size: int
    """The size in bytes."""


def copy_database(source: Path, to: Path, progress: Callable[[int], None]) -> Copied:
    """Copy the database's state at one moment into a new file, which is checked and durable when this returns.

    `progress` gets the percentage done. A running relay can write meanwhile. Raises StorageRefused and
    StorageUnavailable, after which no partial copy is left.
    """
    if to.exists():
        raise StorageRefused(
            f"{to} is there already, and a backup replaces nothing; name another file"
        )
    draft = _draft_of(to)
    try:
        copied = _copy(source, draft, progress)
        _into_place(draft, to)
    except OSError as error:
        raise StorageUnavailable(f"{to} can't be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return copied


def _draft_of(to: Path) -> Path:
    """A new empty file beside `to`, which takes its place when the copy is complete. Raises StorageRefused."""
    draft = to.with_name(f"{to.name}.part")
    try:
        create_private(draft).close()
    except FileExistsError:
        raise StorageRefused(
            f"{draft} is there already: another backup is under way, or one was ended in the middle; remove it then"
        ) from None
    except OSError as error:
        raise StorageRefused(f"{to} can't be written: {error.strerror}") from None
    return draft


def _copy(source: Path, draft: Path, progress: Callable[[int], None]) -> Copied:
    with (
        CommandSessions(source).reading() as session,
        contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as target,
    ):
        try:
            copied = _counts(session)  # the first read fixes the moment that is copied
            session.cursor.connection.backup(
                target,
                pages=PAGES_AT_ONCE,
                progress=lambda _, left, total: progress(100 * (total - left) // max(total, 1)),
            )
            # One file, without a log beside it.
            target.execute("PRAGMA journal_mode = DELETE")
            problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            raise StorageUnavailable(f"the copy failed: {error}") from None
    if problem != "ok":
        raise StorageRefused(
            f"{source} is damaged, and so is its copy ({problem}); nothing was kept"
        )
    return Copied(*copied, draft.stat().st_size)


def _counts(session: Session) -> tuple[int, int, int]:
    live = sa.or_(
        *(deliveries.c.state == state for state in (State.QUEUED, State.SENDING, State.SCHEDULED))
    )
    numbers = (
        session.ask(question).fetchone()[0]
        for question in (
            sa.select(sa.func.count()).select_from(chats).where(chats.c.account != ITSELF),
            sa.select(sa.func.count()).select_from(deliveries),
            sa.select(sa.func.count()).select_from(deliveries).where(live),
        )
    )
    return next(numbers), next(numbers), next(numbers)


def _into_place(draft: Path, to: Path) -> None:
    sync(draft)
    try:
        # A link, unlike a rename, replaces no file that appeared meanwhile.
        os.link(draft, to)
    except FileExistsError:
        raise
    except OSError:
        # Memory sticks and network drives may not support links.
        if to.exists():
            raise
        draft.rename(to)
    sync(to.parent)


ROWS_AT_ONCE = 1000
Progress = Callable[[int], None]
"""Gets the percentage done. A row counts when it is written, and again when it is read back."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The number of rows of a table, and a hash of all their values in the order of their keys."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of `move`: the contents of the new database, by table."""

    tables: dict[str, Contents]
    before: bool
    """Whether an earlier move had copied everything already."""


def move(source: Path, target: PostgresServer, *, now: datetime, progress: Progress) -> Moved:
    """Copy everything that a file holds to a server in one transaction, all or nothing. The file stays as it is.

    `progress` gets the percentage done. Raises StorageRefused where a relay uses the file or the server has other data.
    """
    if not source.exists():
        raise StorageRefused(f"there is no {source} to move")
    store = open_sqlite(source)
    try:
        _give_leases_back(Leases(store.statements), store.run, now)
        open_postgres(target).close()  # makes the tables where there are none
        with _patient_connection(target) as connection:
            with connection.transaction():
                (moved,) = store.run([lambda cursor: _carry(cursor, connection, target, progress)])
            _analyze(connection)
            return moved  # type: ignore[no-any-return]
    except psycopg.Error as error:
        raise StorageRefused(
            f"nothing was moved: {target} says: {' '.join(str(error).split())}"
        ) from None
    finally:
        store.close()


@contextlib.contextmanager
def _patient_connection(target: PostgresServer) -> Iterator[Connection]:
    """A connection without time limits: checking the constraints of a million rows takes its time, as does reading the file."""
    with connect(conninfo(target)) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        yield connection


def _give_leases_back(leases: Leases, run: Callable[..., Any], now: datetime) -> None:
    """Queue again what a relay was sending when it ended; no relay runs on the file now."""
    run([lambda cursor: leases.recover(cursor, {"": ""}, now)])


def _analyze(connection: Connection) -> None:
    """Let the server count the rows now (ANALYZE). It would do so by itself within a minute."""
    with contextlib.suppress(psycopg.Error):
        for table in metadata.sorted_tables:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))


def _carry(
    source: Any,  # noqa: ANN401 - a DB-API cursor
    connection: Connection,
    target: PostgresServer,
    progress: Progress,
) -> Moved:
    tables = [
        table for table in metadata.sorted_tables if table is not relays
    ]  # those of this file have ended
    wanted: dict[str, Contents] = {}
    empty = not any(_has_rows(connection, table) for table in tables)
    counted = _Counted(2 * sum(_count(source, table) for table in tables), progress)
    for table in tables:
        rows = counted.of(_rows_of(source, table))
        wanted[table.name] = _fill(connection, table, rows) if empty else _contents(rows)
    actual = {table.name: _contents(counted.of(_stored(connection, table))) for table in tables}
    if actual != wanted:
        raise StorageRefused(_difference(target, wanted, actual, empty=empty))
    if empty:
        _go_on_counting(connection, tables)
    return Moved(actual, before=not empty)


def _rows_of(cursor: Any, table: sa.Table) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """All rows of a table as PostgreSQL takes them: SQLite stores booleans as 0 and 1."""
    truths = [index for index, c in enumerate(table.columns) if isinstance(c.type, sa.Boolean)]
    cursor.execute(str(_everything(table)))
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        for row in rows:
            values = list(row)
            for index in truths:
                values[index] = None if row[index] is None else bool(row[index])
            yield tuple(values)


def _everything(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(*table.primary_key.columns)


def _fill(connection: Connection, table: sa.Table, rows: Iterable[tuple[Any, ...]]) -> Contents:
    copying = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
    )
    with connection.cursor() as cursor, cursor.copy(copying) as copy:

        def written() -> Iterator[tuple[Any, ...]]:
            for row in rows:
                copy.write_row(row)
                yield row

        return _contents(written())


def _stored(connection: Connection, table: sa.Table) -> Iterator[tuple[Any, ...]]:
    # A named cursor: the rows stay on the server until they are asked for.
    with connection.cursor(name=f"all_{table.name}") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        yield from cursor.execute(str(_everything(table)).encode())


def _contents(rows: Iterable[tuple[Any, ...]]) -> Contents:
    digest, count = hashlib.sha256(), 0
    for row in rows:
        digest.update(repr(row).encode())
        count += 1
    return Contents(count, digest.hexdigest())


class _Counted:
    """Counts rows that pass, and reports the percentage."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._passed = 0

    def of(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            yield row
            self._passed += 1
            if self._passed % ROWS_AT_ONCE == 0:
                self._progress(min(100, 100 * self._passed // self._total))


def _count(cursor: Any, table: sa.Table) -> int:  # noqa: ANN401
    cursor.execute(str(sa.select(sa.func.count()).select_from(table)))
    return int(cursor.fetchone()[0])


def _has_rows(connection: Connection, table: sa.Table) -> bool:
    question = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table.name))
    return connection.execute(question).fetchone() is not None


def _go_on_counting(connection: Connection, tables: Iterable[sa.Table]) -> None:
    """Set the sequences of the tables to the highest number that was copied."""
    for table in tables:
        if table.autoincrement_column is None:
            continue
        connection.execute(
            sql.SQL(
                "SELECT setval(pg_get_serial_sequence({name}, 'id'), max(id)) FROM {table}"
                " HAVING max(id) IS NOT NULL"
            ).format(name=sql.Literal(table.name), table=sql.Identifier(table.name))
        )


def _difference(
    target: PostgresServer, wanted: dict[str, Contents], actual: dict[str, Contents], *, empty: bool
) -> str:
    differ = [
        f"{name}: {wanted[name].rows} rows in the file, {actual[name].rows} there"
        for name in wanted
        if wanted[name] != actual[name]
    ]
    if empty:
        return f"nothing was moved: what {target} gives back is not what it was given ({'; '.join(differ)})"
    return (
        f"nothing was moved: {target} holds other chats already ({'; '.join(differ)}); "
        "move into an empty database"
    )
