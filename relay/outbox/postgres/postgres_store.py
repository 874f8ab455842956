"""The store that many relays share: a PostgreSQL server, by psycopg 3.

psycopg rather than asyncpg: its cursors are DB-API ones, so that `operations.py` serves both databases, and
it is libpq, which knows every way to name and guard a server (several hosts, services, TLS, password files).
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from random import random
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect

from relay.clock import pause
from relay.outbox.neighbours import TOPIC
from relay.outbox.process import Commits, Process
from relay.outbox.rows import StorageRefused, StorageUnavailable
from relay.outbox.statements import Statements
from relay.outbox.writer import Cursor, Work
from relay.settings.database import PostgresServer

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECTING = {
    "application_name": "smartsupp-relay",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    # A server that vanished without a word is noticed in some 20 s, idle or not.
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""For libpq; what the URL says holds instead."""
_SESSION = (
    "SET statement_timeout = '30s'",
    # Somebody's long lock must end in a 503, not in a queue without end.
    "SET lock_timeout = '5s'",
    # A relay that was stopped in the middle must not hold its rows for ever.
    "SET idle_in_transaction_session_timeout = '60s'",
)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
"""Two transactions were in each other's way: nothing is wrong with either."""
MOST_TRIES = 6
FIRST_REST = 0.05
"""Seconds after such a collision; then twice as long, and so on."""
PATIENCE = 8.0
"""Seconds for which hooks wait for a server that restarts, before they are answered 503: what is kept then is kept, even
where the sender has gone by that time, and a refused hook may never be posted again."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0
"""Seconds between two tries to connect."""
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_OF_ONE = (psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Rights and tables that somebody took away: a matter of the database, as is its being away, for those who need them."""
_CANT_WORK = (*_AWAY, *_OF_ONE)
_OTHER_SERVER = (errors.ReadOnlySqlTransaction, errors.AdminShutdown, errors.CrashShutdown)
"""Errors after which another connection may reach a server that can write, as after a failover."""

_NO_LISTEN = (errors.FeatureNotSupported, errors.SyntaxError)
STEADY_AFTER = 10.0
"""Seconds: two beats of every neighbour."""

log = logging.getLogger(__name__)


def conninfo(server: PostgresServer) -> str:
    """The connection string for libpq. Raises StorageRefused."""
    try:
        given = conninfo_to_dict(server.url.reveal())
    except psycopg.Error:
        # libpq's own words may quote the password.
        raise StorageRefused(
            "RELAY_DATABASE: this is not a PostgreSQL URL; write postgresql://user:password@host/name, "
            "in a password / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
        ) from None
    if "," in str(given.get("host", "")):
        given.setdefault("target_session_attrs", "read-write")
    if server.ca_file and str(given.get("sslmode", "")).startswith("verify-"):
        given.setdefault("sslrootcert", str(server.ca_file))
    return make_conninfo(**{**_CONNECTING, **{name: str(value) for name, value in given.items()}})


def connect(parameters: str) -> Connection:
    """A connection in autocommit mode: whoever begins a transaction says so. Raises psycopg.Error."""
    connection: Connection = psycopg.connect(parameters, autocommit=True)
    try:
        for setting in _SESSION:
            connection.execute(setting)
        if not _is_the_servers_own(connection):
            connection.prepare_threshold = None
    except BaseException:
        connection.close()
        raise
    return connection


def _is_the_servers_own(connection: Connection) -> bool:
    """Whether no pool stands in between, which may give each transaction another session of the server.

    What was prepared in one is not there in the next, or is another relay's statement under the same name.
    """
    try:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
    except psycopg.ProgrammingError:
        return False
    return row is not None and row[0] == connection.info.backend_pid


def cut(connection: Connection) -> None:
    """End a connection's stream, from any thread, so that what waits for the server fails."""
    # By a copy of the descriptor: psycopg's stays its own, and finds the stream ended.
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)


class PostgresStore:
    """One connection to the server, made again when it is lost."""

    def __init__(
        self,
        server: PostgresServer,
        connection: Connection,
        *,
        process: Process | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = pause,
        random: Callable[[], float] = random,
    ) -> None:
        """Use `open_postgres`. `process`: see `Outbox.open`. Raises psycopg.Error."""
        self.server = server
        self.has_written = False
        self.found_lost = ""
        self._reconnected_at: float | None = None
        process = process or Process.own()
        # By it others see whether this relay has a connection.
        application = f"{_CONNECTING['application_name']} {process.token}"
        self._conninfo = make_conninfo(conninfo(server), application_name=application)
        connection.execute("SELECT set_config('application_name', %s, false)", [application])
        self._connection: Connection | None = connection
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random
        self._lost_at: float | None = None
        self._wait = FIRST_WAIT
        self._next_try = 0.0
        self._why = ""
        self.dialect = psycopg_dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        self.statements = Statements(self.dialect, insert)
        self._commits = Commits(self.statements, connection, process)
        self.holder = process.token
        self.ended = self._commits.ended(connection)

    def run(self, works: Sequence[Work]) -> list[Any]:
        """A lost connection is made again, and the work done again unless it was committed.

        Where that can't be told, doing it again is harmless: a hook kept twice is known by its digest, what was
        claimed and not told comes back when its lease ends, an outcome stays the same.
        """
        for attempt in range(1, MOST_TRIES + 1):
            connection = self._connected()
            try:
                results, self.has_written = _in_one_transaction(connection, works, self._commits)
            except _UnsureError as unsure:
                self._lose(_said(unsure.reason))
                if self._was_committed(unsure.number):
                    self.has_written = True
                    return unsure.results
            except _AGAIN as error:
                if attempt == MOST_TRIES:
                    raise StorageUnavailable(_said(error)) from None
                # Both at once would be in each other's way again; a distributed database asks for waits that grow.
                self._sleep(FIRST_REST * 2 ** (attempt - 1) * (0.5 + self._random() / 2))
            except _CANT_WORK as error:
                if len(works) > 1 and isinstance(error, _OF_ONE) and not connection.closed:
                    raise  # the writer tries one by one: a table that only some need may be lost
                if not (connection.closed or isinstance(error, _OTHER_SERVER)):
                    raise StorageUnavailable(_said(error)) from None
                self._lose(_said(error))
            else:
                return results
        raise StorageUnavailable(f"the connection is lost again and again: {self._why}")

    def _was_committed(self, number: int) -> bool:
        """Asks by a new connection. Raises StorageUnavailable."""
        for _ in range(MOST_TRIES):
            try:
                return self._commits.was_made(self._connected().cursor(), number)
            except _CANT_WORK as error:
                self._lose(_said(error))
        raise StorageUnavailable(f"whether it was committed can't be told: {self._why}")

    def translated(self, error: Exception) -> Exception:
        return error  # `run` has done it

    def close(self) -> None:
        if self._connection is not None:
            self._commits.end(self._connection)
            self._connection.close()

    def cut(self) -> None:
        if self._connection is not None:
            cut(self._connection)

    def has_room(self) -> bool:
        return True  # the server says when its disk is full, which ends in the same 503

    def is_in_place(self) -> bool:
        return True

    def version(self, cursor: Cursor) -> None:  # noqa: ARG002 - others tell what they queue
        return None

    def free_some(self, cursor: Cursor) -> bool:  # noqa: ARG002 - autovacuum does it
        return False

    def forget(self) -> bool:
        return True

    def is_steady(self) -> bool:
        since = self._reconnected_at
        return since is None or self._monotonic() - since > STEADY_AFTER

    async def listen(self) -> AsyncIterator[str]:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {TOPIC}")
                    yield ""
                    async for notice in connection.notifies():
                        yield notice.payload
            except _NO_LISTEN:
                return
            except psycopg.Error as error:
                log.info("listening for other relays is interrupted: %s", _said(error))
            await asyncio.sleep(LONGEST_WAIT)

    # -- the connection ----------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        """Waits a little for a server that is away; raises StorageUnavailable."""
        while self._connection is None:
            now = self._monotonic()
            if self._lost_at is None:
                self._lost_at = now
            patient = now - self._lost_at < PATIENCE
            if now >= self._next_try:
                self._try_to_connect()
            elif patient:
                self._sleep(min(self._next_try - now, LONGEST_WAIT))
            else:
                raise StorageUnavailable(self._why)
        return self._connection

    def _try_to_connect(self) -> None:
        try:
            self._connection = connect(self._conninfo)
        except psycopg.Error as error:
            self._why = _said(error)
            self._next_try = self._monotonic() + self._wait
            self._wait = min(self._wait * 2, LONGEST_WAIT)
        else:
            log.warning("the database is back")
            self._lost_at, self._wait = None, FIRST_WAIT
            self._reconnected_at = self._monotonic()

    def _lose(self, why: str) -> None:
        log.warning("the connection to the database is lost, and made again: %s", why)
        if self._connection is not None:
            self._connection.close()
        self._connection, self._why = None, why


class _UnsureError(Exception):
    """The answer to COMMIT was lost. `number` is ours of it, `results` hold if it was committed."""

    def __init__(self, number: int, results: list[Any], reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.number = number
        self.results = results
        self.reason = reason


def _in_one_transaction(
    connection: Connection, works: Sequence[Work], commits: Commits
) -> tuple[list[Any], bool]:
    """The results, and whether anything was changed."""
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    number = None
    try:
        results = [work(cursor) for work in works]
        number = commits.write(cursor)
        cursor.execute("COMMIT")
    except BaseException as error:
        if not connection.closed:
            connection.rollback()
        elif number is not None and isinstance(error, psycopg.Error):
            raise _UnsureError(number, results, error) from None
        raise
    return results, number is not None


def _said(error: psycopg.Error) -> str:
    """The server's words, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
