"""Tells whether a COMMIT whose answer was lost was made on the server.

Each relay keeps the number of its last commit in a row of its own, in case the answer to a COMMIT is lost. The
server's `txid_status` is not reliable for that: a server that crashes early gives the same transaction id to another
transaction.
"""

import contextlib
import time
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors

from relay.clock import pause
from relay.outbox.process_identity import END_COMMITS, Process
from relay.outbox.schema import relays
from relay.outbox.statements import Query, Statements, bound, inserted, text
from relay.outbox.writer import Cursor

Connection = psycopg.Connection[Any]

LOOKS, BETWEEN_LOOKS = 20, 0.1
"""How often, and how many seconds apart, the database is asked whether a killed relay is still connected."""
KEPT_FOR = 7 * 24 * 3600
"""Seconds after which rows of killed relays are deleted."""

_ours = relays.c.name == bound("of_relay")
_write = (
    sa.update(relays).where(_ours).values(last_commit=bound("number"), wrote_at=bound("written_at"))
)
_BEGIN_COMMITS = Query(
    lambda insert: inserted(insert, relays, "name", "wrote_at").values(last_commit=0)
)
_OTHER_RELAYS = Query(sa.select(relays.c.name).where(relays.c.name != bound("of_relay")))
_CONNECTED = Query(
    sa.select(sa.literal_column("1"))
    .select_from(sa.table("pg_stat_activity"))
    .where(sa.column("application_name").like(text("ends_with")))
)
# A transaction that only reads must not wait for a disk.
_WRITE_COMMIT = Query(_write.where(sa.func.txid_current_if_assigned().is_not(None)))
_WRITE_ANY_COMMIT = Query(_write)
_READ_COMMIT = Query(sa.select(relays.c.last_commit).where(_ours).with_for_update())
_FORGET_COMMITS = Query(sa.delete(relays).where(relays.c.wrote_at < bound("before")))


class Commits:
    """The row of one relay in `relays`, by which it knows which of its transactions were committed."""

    def __init__(self, sql: Statements, connection: Connection, process: Process) -> None:
        """Insert the row. Raises psycopg.Error."""
        self._sql = sql
        self._is_pooled = connection.prepare_threshold is None
        self._process = process.anywhere() if self._is_pooled else process
        self._name = self._process.name
        self._number = 0
        cursor = connection.cursor()
        sql[_BEGIN_COMMITS].run(cursor, name=self._name, wrote_at=_now())
        sql[_FORGET_COMMITS].run(cursor, before=_now() - KEPT_FOR * 1000)
        self._write = sql[_WRITE_COMMIT] if _reports_writes(connection) else sql[_WRITE_ANY_COMMIT]

    def write(self, cursor: Cursor) -> int | None:
        """Store the transaction's number as its last statement, and return it; None where the transaction changes nothing."""
        self._number += 1
        written = self._write.run(
            cursor,
            of_relay=self._name,
            number=self._number,
            written_at=_now(),
        )
        return self._number if written.rowcount == 1 else None

    def was_made(self, cursor: Cursor, number: int) -> bool:
        """Whether the transaction with this number was committed, asked over another connection.

        Waits for the row's lock while the server has not noticed yet that the first connection has ended.
        """
        row = self._sql[_READ_COMMIT].run(cursor, of_relay=self._name).fetchone()
        return row is not None and row[0] == number

    def ended(self, connection: Connection) -> dict[str, str]:
        """The tokens of relays that have surely ended, with their names. Waits up to 2 seconds for their connections to end."""
        cursor = connection.cursor()
        others = self._sql[_OTHER_RELAYS].run(cursor, of_relay=self._name).fetchall()
        processes = {name: Process.named(name) for (name,) in others}
        return {
            other.token: name
            for name, other in processes.items()
            if other.has_ended(self._process, partial(self._is_connected, cursor, other))
        }

    def _is_connected(self, cursor: Cursor, other: Process) -> bool:
        """Whether another relay is connected, or that can't be told."""
        ours = f"%{other.token}"
        try:
            for _ in range(LOOKS):
                if self._sql[_CONNECTED].run(cursor, ends_with=ours).fetchone() is None:
                    return False
                pause(BETWEEN_LOOKS)
        except errors.DatabaseError:
            pass  # not every database with this protocol tells it
        return True

    def end(self, connection: Connection) -> None:
        """Delete the relay's row in `relays`, unless the server is away."""
        with contextlib.suppress(psycopg.Error):
            self._sql[END_COMMITS].run(connection.cursor(), of_relay=self._name)


def _now() -> int:
    return round(time.time() * 1000)


def _reports_writes(connection: Connection) -> bool:
    """Whether the database tells if a transaction has changed anything, which not every one with this protocol does."""
    try:
        connection.execute("SELECT txid_current_if_assigned()")
    except errors.ProgrammingError:
        return False
    return True
