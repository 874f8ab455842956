"""What became of a COMMIT whose answer was lost: each relay keeps the number of its last one in a row of its own.

The server's own answer (txid_status) can't be relied upon. One that crashes before it has written anything of a
transaction gives that transaction's number to another, whose fate it then tells.
"""

import contextlib
import time
from functools import partial
from typing import Any

import psycopg
from psycopg import errors

from relay.clock import pause
from relay.outbox.process import Process
from relay.outbox.statements import Statements
from relay.outbox.store import Cursor

Connection = psycopg.Connection[Any]

LOOKS, BETWEEN_LOOKS = 20, 0.1
"""How often, and how many seconds apart, it is asked whether a relay that was killed is still connected."""
KEPT_FOR = 7 * 24 * 3600
"""Seconds, for rows of relays that were killed."""


class Commits:
    """One relay's row."""

    def __init__(self, sql: Statements, connection: Connection, process: Process) -> None:
        """Makes the row. Raises psycopg.Error."""
        self._sql = sql
        self._is_pooled = connection.prepare_threshold is None
        self._process = process.anywhere() if self._is_pooled else process
        self._name = self._process.name
        self._number = 0
        cursor = connection.cursor()
        sql.begin_commits.run(cursor, name=self._name, wrote_at=_now())
        sql.forget_commits.run(cursor, before=_now() - KEPT_FOR * 1000)
        self._write = sql.write_commit if _tells_writing(connection) else sql.write_any_commit

    def write(self, cursor: Cursor) -> int | None:
        """As the last thing in a transaction: its number. None where it changes nothing, and is no matter."""
        self._number += 1
        written = self._write.run(
            cursor,
            of_relay=self._name,
            number=self._number,
            written_at=_now(),
        )
        return self._number if written.rowcount == 1 else None

    def was_made(self, cursor: Cursor, number: int) -> bool:
        """Whether that transaction was committed, asked by another connection.

        While the server does not know yet that the first has ended, the row is locked, and this waits.
        """
        row = self._sql.read_commit.run(cursor, of_relay=self._name).fetchone()
        return row is not None and row[0] == number

    def ended(self, connection: Connection) -> dict[str, str]:
        """The tokens of relays that have surely ended, with their names. Waits a little for their connections to end."""
        cursor = connection.cursor()
        others = self._sql.other_relays.run(cursor, of_relay=self._name).fetchall()
        found = {name: Process.named(name) for (name,) in others}
        return {
            other.token: name
            for name, other in found.items()
            if other.has_ended(self._process, partial(self._stays, cursor, other))
        }

    def _stays(self, cursor: Cursor, other: Process) -> bool:
        """Whether it is connected, or that can't be told."""
        ours = f"%{other.token}"
        try:
            for _ in range(LOOKS):
                if self._sql.connected.run(cursor, ends_with=ours).fetchone() is None:
                    return False
                pause(BETWEEN_LOOKS)
        except errors.DatabaseError:
            pass  # not every database that speaks the protocol tells it
        return True

    def end(self, connection: Connection) -> None:
        """The row goes, unless the server is away."""
        with contextlib.suppress(psycopg.Error):
            self._sql.end_commits.run(connection.cursor(), of_relay=self._name)


def _now() -> int:
    return round(time.time() * 1000)


def _tells_writing(connection: Connection) -> bool:
    """Not every database that speaks the protocol tells whether a transaction has changed anything."""
    try:
        connection.execute("SELECT txid_current_if_assigned()")
    except errors.ProgrammingError:
        return False
    return True
