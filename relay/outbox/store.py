"""What the outbox needs of a database, whichever it is."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from sqlalchemy.engine import Dialect

from relay.outbox.statements import Statements

Cursor = Any
"""Any DB-API cursor: they share no type."""
Work = Callable[[Cursor], Any]


class Store(Protocol):
    """One connection that writes. `run` and `close` are called in the writer's thread alone."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def statements(self) -> Statements: ...

    @property
    def holder(self) -> str:
        """What this relay's claims are known by; empty in a file, which one relay uses at a time."""

    @property
    def ended(self) -> Mapping[str, str]:
        """Holders that had surely ended when the store was opened, with their names in `relays`."""

    @property
    def has_written(self) -> bool:
        """Whether the last `run` changed anything."""

    def run(self, works: Sequence[Work]) -> list[Any]:
        """Do all of it in one transaction, which is durable when this returns; or none of it.

        Raises StorageUnavailable where any other work would fail as well, else what a piece raised.
        """

    def translated(self, error: Exception) -> Exception:
        """StorageUnavailable where `error` says that the database can't work just now; else `error`."""

    def close(self) -> None: ...

    def cut(self) -> None:
        """From any thread: let `run` fail that has waited for too long."""

    def has_room(self) -> bool:
        """Whether the disk has room for more hooks, as far as can be seen from here."""

    @property
    def found_lost(self) -> str:
        """What the database had lost when it was opened, as a sentence; empty for nothing that can be told."""

    def is_in_place(self) -> bool:
        """False when the database was moved, deleted or replaced: writing on would go to nowhere."""

    def version(self, cursor: Cursor) -> int | None:
        """Another number whenever another process has written; None where others tell it themselves."""

    def free_some(self, cursor: Cursor) -> bool:
        """Give some erased room back to the disk; returns whether there is more."""

    def forget(self) -> bool:
        """Let nothing of what was erased stand anywhere; False: not all yet. From any thread."""


@runtime_checkable
class SharedStore(Store, Protocol):
    """One that other relays use at the same time."""

    def is_steady(self) -> bool:
        """False shortly after an outage: others may not have come to renew their leases yet."""

    def listen(self) -> AsyncIterator[str]:
        """What relays tell, this one too; empty when something may have been missed. Ends where it can't be had."""
