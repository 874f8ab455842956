"""Identifies a relay's process, so that another can tell whether it has ended."""

import os
import secrets
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec
import sqlalchemy as sa

from relay.outbox.delivery_types import from_ms
from relay.outbox.schema import relays
from relay.outbox.statements import Query, Statements, bound
from relay.outbox.writer import Cursor

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Process(msgspec.Struct, frozen=True):
    """A relay's process. A field that the system does not provide is empty; such a process never counts as ended."""

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
            return not self._is_running()
        is_replaced = self.listens and self.listens == seen_from.listens
        return bool(is_replaced) and self.host == seen_from.host and not is_connected()

    def _is_running(self) -> bool:
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
    """The letter of a process' state and the time of its start in ticks; both empty where the system does not provide them."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = stat.rpartition(")")[2].split()  # a program may be called ") R 1"
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


_KNOWN_RELAYS = Query(
    sa.select(relays.c.name, relays.c.wrote_at).order_by(relays.c.wrote_at.desc())
)
END_COMMITS = Query(sa.delete(relays).where(relays.c.name == bound("of_relay")))
"""Deletes the row of a relay that has ended."""


def known_relays(sql: Statements, cursor: Cursor) -> list[tuple[Process, datetime]]:
    """The relays that share the database, each with the time of its last write; some may have been killed."""
    rows = sql[_KNOWN_RELAYS].run(cursor).fetchall()
    return [(Process.named(name), from_ms(at)) for name, at in rows]
