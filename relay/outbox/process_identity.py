"""Identifies a relay's process, so that another can tell whether it has ended and its last COMMIT was made.

Each relay keeps the number of its last commit in a row of its own, in case the answer to a COMMIT is lost. The
server's `txid_status` is not reliable for that: a server that crashes early gives the same transaction id to another
transaction.
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg
import sqlalchemy as sa
from psycopg import errors

from relay.clock import pause
from relay.outbox.delivery_types import from_ms
from relay.outbox.schema import relays
from relay.outbox.statements import Query, Statements, bound, inserted, text
from relay.outbox.writer import Cursor

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Process(msgspec.Struct, frozen=True):
    """A relay's process. A field that the system does not tell is empty; such a process never counts as ended."""

    token: str
    """Random; identifies the process, and marks its claims."""
    boot: str = ""
    """The boot id of the machine, new at each start of the system."""
    namespace: str = ""
    """The namespace of process ids; each container has its own."""
    pid: int = 0
    started: str = ""
    """When the process started, in the system's clock ticks, as process ids are used again."""
    host: str = ""
    listens: str = ""
    """The address and port at which only this process can listen on `host`."""

    @classmethod
    def own(cls, listens: str = "") -> Self:
        """The current process. `listens`: host and port of its address, empty where the system chooses the port."""
        token = secrets.token_hex(8)
        try:
            boot = _BOOT.read_text("ascii").strip()
            namespace = str(Path("/proc/self/ns/pid").readlink())
        except (OSError, ValueError):
            return cls(token)
        pid = os.getpid()
        _, started = _state(pid)
        host = "".join(socket.gethostname().split())
        return cls(token, boot, namespace, pid, started, host, listens)

    @classmethod
    def named(cls, name: str) -> Self:
        """The process that a `name` describes. Where an older relay wrote the name, only the token is known."""
        match name.split(" "):
            case [token, boot, namespace, pid, started, host, listens] if pid.isdecimal():
                return cls(token, boot, namespace, int(pid), started, host, listens)
            case _:
                return cls(name)

    @property
    def name(self) -> str:
        """The process as one line of text, which `named` parses."""
        parts = (self.boot, self.namespace, str(self.pid), self.started, self.host, self.listens)
        return " ".join((self.token, *parts))

    def anywhere(self) -> Self:
        """A copy without the address, for servers where nobody can tell whether the process is still connected."""
        return msgspec.structs.replace(self, listens="")

    def has_ended(self, seen_from: "Process", is_connected: Callable[[], bool]) -> bool:
        """Whether the process has surely ended. A process that is suspended or disconnected has not.

        In the same container the system knows. In another container of the machine it has ended if `seen_from` has
        taken its address and it has no connection. Of other machines nobody knows.
        """
        if not self.boot or self.boot != seen_from.boot:
            return False
        if self.namespace == seen_from.namespace:
            return not self._lives()
        is_replaced = self.listens and self.listens == seen_from.listens
        return bool(is_replaced) and self.host == seen_from.host and not is_connected()

    def _lives(self) -> bool:
        """Whether the process runs; it must be in this process' namespace."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is another user's
        state, started = _state(self.pid)
        return not started or (started == self.started and state not in {"Z", "X"})


def _state(pid: int) -> tuple[str, str]:
    """The letter of a process' state and the time of its start in ticks; both empty where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = stat.rpartition(")")[2].split()  # a program may be called ") R 1"
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


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
_KNOWN_RELAYS = Query(
    sa.select(relays.c.name, relays.c.wrote_at).order_by(relays.c.wrote_at.desc())
)
END_COMMITS = Query(sa.delete(relays).where(_ours))
_FORGET_COMMITS = Query(sa.delete(relays).where(relays.c.wrote_at < bound("before")))


def known_relays(sql: Statements, cursor: Cursor) -> list[tuple[Process, datetime]]:
    """The relays that share the database, each with the time of its last write; some may have been killed."""
    rows = sql[_KNOWN_RELAYS].run(cursor).fetchall()
    return [(Process.named(name), from_ms(at)) for name, at in rows]


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
        self._write = sql[_WRITE_COMMIT] if _tells_writing(connection) else sql[_WRITE_ANY_COMMIT]

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
        found = {name: Process.named(name) for (name,) in others}
        return {
            other.token: name
            for name, other in found.items()
            if other.has_ended(self._process, partial(self._stays, cursor, other))
        }

    def _stays(self, cursor: Cursor, other: Process) -> bool:
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


def _tells_writing(connection: Connection) -> bool:
    """Whether the database tells if a transaction has changed anything, which not every one with this protocol does."""
    try:
        connection.execute("SELECT txid_current_if_assigned()")
    except errors.ProgrammingError:
        return False
    return True
