"""The store that several relays may share: a PostgreSQL server, by psycopg 3.

Not asyncpg: psycopg's cursors are DB-API cursors, so that the same statements serve both databases, and it is libpq,
which supports every way to name and secure a server (several hosts, services, TLS, password files).
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
from relay.outbox.delivery_types import StorageRefused, StorageUnavailable
from relay.outbox.other_relays import TOPIC
from relay.outbox.postgres.lost_commits import Commits
from relay.outbox.process_identity import Process
from relay.outbox.statements import Statements
from relay.outbox.writer import Cursor, Work
from relay.settings.database import PostgresServer

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECTING = {
    "application_name": "smartsupp-relay",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    # A server that vanished is noticed in some 20 s, idle or not.
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""Defaults of the connection string; the URL's own parameters override them."""
_SESSION = (
    "SET statement_timeout = '30s'",
    # A long lock of somebody else must end in a 503, not in an endless queue.
    "SET lock_timeout = '5s'",
    # A suspended relay must not hold its rows for ever.
    "SET idle_in_transaction_session_timeout = '60s'",
)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
"""Errors of two transactions that conflicted; both are tried again."""
MOST_TRIES = 6
FIRST_REST = 0.05
"""Seconds to wait after the first conflict; each further wait is twice as long."""
PATIENCE = 8.0
"""Seconds for which hooks wait for a server that restarts, before they are answered 503.

A stored hook counts even where the sender has given up; a refused one may never be posted again.
"""
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0
"""Seconds between two tries to connect, at first and at most."""
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_MISSING = (psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Errors of missing rights or tables.

They stop only the work that needs them, but like an outage they count as StorageUnavailable.
"""
_CANT_WORK = (*_AWAY, *_MISSING)
_OTHER_SERVER = (errors.ReadOnlySqlTransaction, errors.AdminShutdown, errors.CrashShutdown)
"""Errors after which a new connection may reach a server that can write, as after a failover."""

_NO_LISTEN = (errors.FeatureNotSupported, errors.SyntaxError)
STEADY_AFTER = 10.0
"""Seconds after a reconnection until leases may be expired: two beats of every relay."""

log = logging.getLogger(__name__)


def conninfo(server: PostgresServer) -> str:
    """The connection string for libpq. Raises StorageRefused."""
    try:
        parsed = conninfo_to_dict(server.url.reveal())
    except psycopg.Error:
        # libpq's own words may quote the password.
        raise StorageRefused(
            "RELAY_DATABASE: this is not a PostgreSQL URL; write postgresql://user:password@host/name, "
            "in a password / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
        ) from None
    if "," in str(parsed.get("host", "")):
        parsed.setdefault("target_session_attrs", "read-write")
    if server.ca_file and str(parsed.get("sslmode", "")).startswith("verify-"):
        parsed.setdefault("sslrootcert", str(server.ca_file))
    return make_conninfo(**{**_CONNECTING, **{name: str(value) for name, value in parsed.items()}})


def connect(parameters: str) -> Connection:
    """A new connection in autocommit mode. Raises psycopg.Error."""
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
    """Whether the connection leads to the server itself, not to a pool.

    A pool may give each transaction another session, in which prepared statements are missing, or are another relay's
    under the same name.
    """
    try:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
    except psycopg.ProgrammingError:
        return False
    return row is not None and row[0] == connection.info.backend_pid


def cut(connection: Connection) -> None:
    """Shut down a connection's socket, from any thread, so that whatever waits for the server fails."""
    # On a copy of the descriptor, so that psycopg still owns and closes its own.
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)


class PostgresStore:
    """One connection to the server, opened again when it is lost."""

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
        """Use `open_postgres` instead. `process`: see `Outbox.open`. Raises psycopg.Error."""
        self.server = server
        self.has_written = False
        self.data_loss = ""
        self._reconnected_at: float | None = None
        process = process or Process.own()
        # Shows other relays whether this one is connected.
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
        """Run works in one transaction; after a lost connection, repeat them unless they were committed.

        Where that can't be known, repeating is harmless: a stored hook is recognized by its hash, an unknown claim is
        given back when its lease ends, and an outcome stays the same.
        """
        for attempt in range(1, MOST_TRIES + 1):
            connection = self._connected()
            try:
                results, self.has_written = _in_transaction(connection, works, self._commits)
            except _UnsureError as unsure:
                self._lose(_message(unsure.reason))
                if self._was_committed(unsure.number):
                    self.has_written = True
                    return unsure.results
            except _AGAIN as error:
                if attempt == MOST_TRIES:
                    raise StorageUnavailable(_message(error)) from None
                # Without random waits both would conflict again; a distributed database asks for waits that grow.
                self._sleep(FIRST_REST * 2 ** (attempt - 1) * (0.5 + self._random() / 2))
            except _CANT_WORK as error:
                if len(works) > 1 and isinstance(error, _MISSING) and not connection.closed:
                    raise  # the writer then tries one by one, as only some may need what is missing
                if not (connection.closed or isinstance(error, _OTHER_SERVER)):
                    raise StorageUnavailable(_message(error)) from None
                self._lose(_message(error))
            else:
                return results
        raise StorageUnavailable(f"the connection is lost again and again: {self._why}")

    def _was_committed(self, number: int) -> bool:
        """Whether a transaction was committed, asked over a new connection. Raises StorageUnavailable."""
        for _ in range(MOST_TRIES):
            try:
                return self._commits.was_made(self._connected().cursor(), number)
            except _CANT_WORK as error:
                self._lose(_message(error))
        raise StorageUnavailable(f"whether it was committed can't be told: {self._why}")

    def translated(self, error: Exception) -> Exception:
        """Return the exception as callers get it; `run` has translated it already."""
        return error  # `run` has translated it

    def close(self) -> None:
        """Close the connection, after noting that this relay ends."""
        if self._connection is not None:
            self._commits.end(self._connection)
            self._connection.close()

    def cut(self) -> None:
        """Make a `run` that hangs fail, from any thread."""
        if self._connection is not None:
            cut(self._connection)

    def has_room(self) -> bool:
        """Whether there is room to write: always true, as the server itself refuses writes without room."""
        return True  # the server says when its disk is full, which ends in the same 503

    def is_in_place(self) -> bool:
        """Whether the database is still where it was opened: always true for a server."""
        return True

    def version(self, cursor: Cursor) -> None:
        """Return None: relays of a server notify each other, so no version is compared."""

    def free_some(self, cursor: Cursor) -> bool:  # noqa: ARG002 - autovacuum does it
        """Return False: nothing to do, as autovacuum frees pages."""
        return False

    def forget(self) -> bool:
        """Return True: nothing to do, as a server has no log file of ours."""
        return True

    def is_steady(self) -> bool:
        """Whether the connection has lasted for a while since it was last lost."""
        since = self._reconnected_at
        return since is None or self._monotonic() - since > STEADY_AFTER

    async def listen(self) -> AsyncIterator[str]:
        """Yield each notification of another relay. Connects again where the connection is lost."""
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
                log.info("listening for other relays is interrupted: %s", _message(error))
            await asyncio.sleep(LONGEST_WAIT)

    # -- the connection ----------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        """The connection, waiting at most PATIENCE seconds for a server that is away. Raises StorageUnavailable."""
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
            self._why = _message(error)
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
    """The answer to a COMMIT was lost. `results` are valid if the transaction with this `number` was committed."""

    def __init__(self, number: int, results: list[Any], reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.number = number
        self.results = results
        self.reason = reason


def _in_transaction(
    connection: Connection, works: Sequence[Work], commits: Commits
) -> tuple[list[Any], bool]:
    """The results of the works, and whether they changed anything."""
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


def _message(error: psycopg.Error) -> str:
    """The server's error message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
