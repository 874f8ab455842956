"""Which process a relay is, so that another can tell whether it has surely ended."""

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Process(msgspec.Struct, frozen=True):
    """A relay's process. What the system does not tell is empty, and then nobody takes it for ended."""

    token: str
    """Tells it from every other, and is what its claims are known by."""
    boot: str = ""
    """The machine, since it was switched on."""
    namespace: str = ""
    """Where process ids count: each container has its own."""
    pid: int = 0
    started: str = ""
    """When, in the system's ticks: a process id is used again."""
    host: str = ""
    listens: str = ""
    """The address and port at which it alone can listen on `host`."""

    @classmethod
    def own(cls, listens: str = "") -> Self:
        """This process. `listens`: host and port of its address, empty where the system chooses the port."""
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
        """The process whose `name` it is; one that is not known where an older relay wrote it."""
        match name.split(" "):
            case [token, boot, namespace, pid, started, host, listens] if pid.isdecimal():
                return cls(token, boot, namespace, int(pid), started, host, listens)
            case _:
                return cls(name)

    @property
    def name(self) -> str:
        """For `named`."""
        parts = (self.boot, self.namespace, str(self.pid), self.started, self.host, self.listens)
        return " ".join((self.token, *parts))

    def anywhere(self) -> Self:
        """Without the address: where nobody can tell whether it still has a connection."""
        return msgspec.structs.replace(self, listens="")

    def has_ended(self, seen_from: "Process", is_connected: Callable[[], bool]) -> bool:
        """Whether it surely has. A process that stands still, or has lost its connection, has not.

        On one machine the system knows. In another container there it has, if what looks took its address and it has
        no connection. Of another machine nobody knows.
        """
        if not self.boot or self.boot != seen_from.boot:
            return False
        if self.namespace == seen_from.namespace:
            return not self._lives()
        is_replaced = self.listens and self.listens == seen_from.listens
        return bool(is_replaced) and self.host == seen_from.host and not is_connected()

    def _lives(self) -> bool:
        """For a process of this namespace."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is another user's
        state, started = _state(self.pid)
        return not started or (started == self.started and state not in {"Z", "X"})


def _state(pid: int) -> tuple[str, str]:
    """The letter for its state, and when it started; both empty where that is not told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return "", ""
    fields = stat.rpartition(")")[2].split()  # a program may be called ") R 1"
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")
