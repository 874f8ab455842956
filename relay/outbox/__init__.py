"""Everything owed and everything that was: deliveries live here until settled, and their history after."""

import logging
import shutil
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

from sqlalchemy.dialects import sqlite as sqlite_dialect

from relay.outbox import sqlite
from relay.outbox.operations import Operations
from relay.outbox.statements import compile_statements
from relay.outbox.values import (
    Accepted,
    Claim,
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    Settlement,
    State,
    StorageRefused,
    StorageUnavailable,
    Summary,
)
from relay.outbox.writer import Writer

__all__ = [
    "Accepted",
    "Claim",
    "Delivery",
    "Gate",
    "NewDelivery",
    "NewHook",
    "Outbox",
    "Settlement",
    "State",
    "StorageRefused",
    "StorageUnavailable",
    "Summary",
]

LEAST_FREE = 64 * 2**20
"""Bytes of disk below which no hook is taken: what is on its way must still be written down."""

log = logging.getLogger(__name__)


class Outbox:
    """Each act is durable (fsync'd) when it returns, and raises StorageUnavailable when it can't be."""

    def __init__(self, path: Path, lock: IO[str], writer: Writer) -> None:
        """Use `Outbox.open`."""
        self._path = path
        self._lock = lock
        self._writer = writer
        self._inode = path.stat().st_ino
        dialect = sqlite_dialect.dialect(paramstyle="named")
        self._operations = Operations(compile_statements(dialect))

    @classmethod
    async def open(cls, path: Path, *, now: datetime) -> "Outbox":
        """Open or make the file, and take back what an earlier process left half done.

        Raises StorageRefused with a sentence that says what to do.
        """
        lock = sqlite.lock(path)
        try:
            outbox = cls(path, lock, Writer(sqlite.open_file(path)))
        except StorageRefused:
            lock.close()
            raise
        # The lock says that no other process lives: every lease is a dead one's.
        await outbox._expire(now + timedelta(days=3650), now, "the relay ended before its answer")
        return outbox

    async def close(self) -> None:
        """Finish what waits, then give the file back."""
        await self._writer.close()
        self._lock.close()

    def has_room(self) -> bool:
        """Whether the disk has room for more hooks."""
        return shutil.disk_usage(self._path.parent).free >= LEAST_FREE

    def is_in_place(self) -> bool:
        """False when the file was moved, deleted or replaced: writing on would go to nowhere."""
        try:
            there = self._path.stat()
        except OSError:
            return False
        return there.st_ino == self._inode and there.st_size > 0

    async def accept(self, hook: NewHook) -> Accepted:
        """Keep a hook and owe its deliveries, all or none, in one commit."""
        return await self._writer.run(partial(self._operations.accept, hook=hook))

    async def keep_aside(self, body: bytes, reason: str, now: datetime) -> None:
        """Keep a hook that can't be read, for a person to look at and replay."""
        await self._writer.run(
            lambda cursor: self._operations.keep_aside(cursor, body, reason, now)
        )

    async def claim(
        self, destination: str, *, now: datetime, lease: timedelta, limit: int, suspects: int = 1
    ) -> Claim:
        """Take the most due deliveries of a destination. The attempts are on disk before they are made.

        At most `limit`, of which at most `suspects` may have been under way when a process died.
        """
        return await self._writer.run(
            partial(
                self._operations.claim,
                destination=destination,
                now=now,
                lease=lease,
                limit=limit,
                suspects=suspects,
            )
        )

    async def settle(self, delivery: Delivery, settlement: Settlement) -> list[str]:
        """Write down how an attempt ended; returns the destinations to which more is owed by it."""
        return await self._writer.run(
            lambda cursor: self._operations.settle(cursor, delivery, settlement)
        )

    async def expire_leases(self, now: datetime) -> int:
        """Give back deliveries whose lease ran out; returns how many."""
        return await self._expire(now, now, "no outcome was written down in time")

    async def _expire(self, ended_by: datetime, now: datetime, why: str) -> int:
        return await self._writer.run(
            lambda cursor: self._operations.expire_leases(
                cursor, ended_by=ended_by, now=now, why=why
            )
        )

    async def hasten(self, destination: str, now: datetime) -> None:
        """Everything owed to the destination is due now: it works again."""
        await self._writer.run(lambda cursor: self._operations.hasten(cursor, destination, now))

    async def close_gate(self, destination: str, gate: Gate) -> None:
        """Remember, over restarts too, that a destination must wait."""
        await self._writer.run(
            lambda cursor: self._operations.close_gate(cursor, destination, gate)
        )

    async def open_gate(self, destination: str) -> None:
        await self._writer.run(lambda cursor: self._operations.open_gate(cursor, destination))

    async def gates(self) -> dict[str, Gate]:
        return await self._writer.run(self._operations.gates)

    async def summary(self) -> Summary:
        return await self._writer.run(self._operations.summary)
