"""The outbox: every delivery that waits or is being sent, and the history of those that have ended."""

import asyncio
import contextlib
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from relay.clock import Clock
from relay.crash_points import CrashPoint, reach
from relay.destination import Rate
from relay.outbox.database_session import Session
from relay.outbox.delivery_types import (
    Accepted,
    Claim,
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    Places,
    Settlement,
    State,
    StorageRefused,
    StorageUnavailable,
)
from relay.outbox.leases import Attempt, Held, Leases
from relay.outbox.other_relays import OtherRelays, Rhythm, SeeGates, Wake
from relay.outbox.process_identity import Process
from relay.outbox.relay_database_session import RelaySessions
from relay.outbox.requeue import Reassigned, keep_aside, reassign
from relay.outbox.settling import Operations
from relay.outbox.sqlite.sqlite_store import open_sqlite
from relay.outbox.table_access import Refusals, lacks
from relay.outbox.unsent_counts import Summary, summarize
from relay.outbox.writer import SharedStore, Store, Writer
from relay.settings.database import Database, PostgresServer

__all__ = [
    "Accepted",
    "Claim",
    "Delivery",
    "Gate",
    "NewDelivery",
    "NewHook",
    "Outbox",
    "Places",
    "Settlement",
    "State",
    "StorageRefused",
    "StorageUnavailable",
    "Summary",
]

T = TypeVar("T")

LONGEST_WRITE = 20.0
"""Seconds after which an unfinished write counts as a hanging disk or server. No lock is waited for as long."""


class Outbox:
    """The outbox of one relay. A change is durable (fsync'd) when its method returns; raises StorageUnavailable if it can't be."""

    def __init__(self, store: Store, sessions: RelaySessions, longest_write: float) -> None:
        """Use `Outbox.open`."""
        self.sessions = sessions
        self._store = store
        self._writer = Writer(store)
        self._longest_write = longest_write
        self.operations = Operations(store.statements, store.holder)
        self._leases = Leases(store.statements)
        self._held, self._refusals = Held(), Refusals()
        self._others: OtherRelays | None = None
        self._version: int | None = None
        self.is_shared = isinstance(store, SharedStore)
        self.dialect, self.data_loss = store.dialect, store.data_loss

    @classmethod
    async def open(
        cls,
        database: Database,
        *,
        now: datetime,
        process: Process | None = None,
        longest_write: float = LONGEST_WRITE,
    ) -> "Outbox":
        """Open or create the file, or connect to the server, and queue again what ended relays left unfinished.

        `process` identifies this relay, so that others can tell whether it has ended. `longest_write`: seconds after
        which `is_stalled` is true. Raises StorageRefused with a sentence that says what to do.
        """
        if isinstance(database, Path):
            store: Store = open_sqlite(database)
        else:
            store = await asyncio.to_thread(_open_postgres, database, process or Process.own())
        outbox = cls(store, RelaySessions(database, store), longest_write)
        if missing := await outbox._recover(now):
            await outbox.close()
            raise StorageRefused(f"{database} can't be used: {missing}")
        return outbox

    async def _recover(self, now: datetime) -> str:
        """Queue again what ended relays left unfinished. Returns why the database can't be used; empty if it can."""
        try:
            missing = await self.lacks()
            ended = {} if missing else self._store.ended
            if await self.run(partial(self._leases.recover, ended=ended, now=now)):
                reach(CrashPoint.TAKEN_UP)
        except StorageUnavailable as error:
            return str(error)
        return missing

    async def share_database(
        self, *, clock: Clock, wake: Wake, see_gates: SeeGates, rhythm: Rhythm | None = None
    ) -> None:
        """Share the database with other relays until cancelled; return at once where the database is a file.

        `wake` gets the destinations for which other relays have queued or left something that is due. `see_gates`
        gets the gates that they have changed, None for an opened one. Meanwhile leases are short and are renewed.
        """
        if not isinstance(self._store, SharedStore):
            return
        self._others = OtherRelays(
            writer=self._writer,
            operations=self.operations,
            store=self._store,
            clock=clock,
            wake=wake,
            see_gates=see_gates,
            rhythm=rhythm or Rhythm(),
            held=self._held,
        )
        await self._others.live()

    async def close(self) -> None:
        """Finish the writes that wait, then close the database."""
        await asyncio.to_thread(self.sessions.close)
        await self._writer.close()

    def has_room(self) -> bool:
        """Whether the disk has room for more hooks."""
        return self._store.has_room()

    def is_in_place(self) -> bool:
        """Whether the database file is still at its path. Writes to a file that was moved, deleted or replaced would be lost."""
        return self._store.is_in_place()

    def is_stalled(self) -> bool:
        """Whether a write has taken longer than `longest_write`, because the disk or the server hangs."""
        return self._writer.busy_for() > self._longest_write

    async def refuses(self, now: datetime) -> str:
        """Try a write where the last one failed; returns why nothing can be written, empty where writing works."""
        if self._writer.trouble:
            with contextlib.suppress(StorageUnavailable):
                await self._writer.run(partial(self.operations.try_to_write, now=now))
        return self._writer.trouble

    async def lacks(self) -> str:
        """Why deliveries can't be sent though hooks may be stored: what the database lacks or refuses; empty if all is well."""
        missing = await self._writer.run(partial(lacks, is_shared=self.is_shared))
        return missing or self._refusals.words()

    async def make_room(self) -> None:
        """Shrink SQLite's write-ahead log, which a long read may have let grow. Called when the disk is nearly full."""
        await asyncio.to_thread(self.sessions.forget)

    async def run(self, work: Callable[[Any], T]) -> T:
        """Run `work` with a cursor inside a transaction, and return its result when the transaction is durable."""
        return await self._writer.run(work)

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` with a session that only reads, and return its result; see `RelaySessions.read`."""
        return await self.sessions.read(work)

    async def others_wrote(self) -> bool:
        """Whether another process, such as a command, has written to the file since the last call. False on a shared database."""
        if self.is_shared:
            return False  # other relays say so themselves
        before, self._version = self._version, await self._writer.run(self._store.version)
        return before not in {None, self._version}

    async def give_back(self) -> bool:
        """Return the pages of erased rows to the disk, until no file holds their bytes; False where some still do."""
        while await self._writer.run(self._store.free_some):
            pass
        reach(CrashPoint.ROOM_FREED)
        forgotten = await asyncio.to_thread(self.sessions.forget)
        reach(CrashPoint.FORGOTTEN)
        return forgotten

    async def accept(self, hook: NewHook, places: Places | None = None) -> Accepted:
        """Store a hook and queue its deliveries in one commit, all or none; claims those for which `places` has room."""
        reach(CrashPoint.RECEIVED)
        work: Callable[..., Accepted] = partial(self.operations.accept, hook=hook)
        others = self._others
        if others:
            work = others.accept(work, hook.received_at, places)
        elif places:
            work = partial(work, lease=places.lease, places=lambda _: places.free)
        accepted = await self._held.run(self._writer, work, lambda accepted: accepted.claimed)
        reach(CrashPoint.ACCEPTED)
        if accepted.claimed:
            reach(CrashPoint.CLAIMED_AT_ONCE)
        if others and places:
            others.hold(accepted.claimed, hook.received_at, hook.received_at + places.lease)
        self.notify_relays(accepted.waiting)
        return accepted

    async def keep_aside(self, body: bytes, reason: str, now: datetime) -> None:
        """Store the body of a hook that can't be read, so that a person can look at it and replay it."""
        await self._writer.run(lambda c: keep_aside(self.operations, c, body, reason, now))
        reach(CrashPoint.SET_ASIDE)

    async def claim(
        self,
        destination: str,
        *,
        now: datetime,
        lease: timedelta,
        limit: int,
        suspects: int = 1,
        prefer_due_after: datetime | None = None,
        rates: Sequence[Rate] = (),
        pace: str = "",
    ) -> Claim:
        """Claim the deliveries to a destination that have been due longest.

        Their attempts are stored before they are made. At most `limit`, of which at most `suspects` were being sent
        when a process died. If any fell due after `prefer_due_after`, only those are claimed. `rates` are kept by the
        caller; the relays of a shared database keep them together, under the name `pace` or else the destination's.
        """
        others = self._others
        work: Callable[[Any], Claim] = partial(
            self.operations.claim,
            destination=destination,
            now=now,
            lease=others.lease(lease) if others else lease,
            limit=limit,
            suspects=suspects,
            due_by=others.due_by(now) if others else None,
            prefer_due_after=prefer_due_after,
        )
        if others and rates:
            work = others.in_turn(work, pace or destination, rates, now)
        with self._refusals.noting("claimed"):
            claim = await self._held.run(self._writer, work, lambda claim: claim.deliveries)
        if claim.deliveries:
            reach(CrashPoint.CLAIMED)
        if others:
            others.hold(claim.deliveries, now, now + lease)
        return claim

    def holds(self, delivery: Delivery) -> bool:
        """Whether a claimed delivery is still held by this relay, so that no other relay can have claimed it since."""
        return self._others is None or self._others.holds(delivery)

    async def settle(self, delivery: Delivery, settlement: Settlement) -> list[str]:
        """Store how an attempt ended. Returns the destinations for which it queued further deliveries."""
        reach(CrashPoint.DECIDED)
        work = partial(self.operations.settle, delivery=delivery, settlement=settlement)
        with self._refusals.noting("settled"):
            queued = await self._writer.run(work, outcome=True)
        self._held.release(delivery)
        reach(CrashPoint.SETTLED)
        if self._others:
            self._others.release(delivery)
        self.notify_relays(queued)
        return queued

    async def expire_leases(self, now: datetime, *, under_way: Container[Attempt] = ()) -> int:
        """Queue again the deliveries whose lease has run out or which nobody is sending; returns how many.

        `under_way`: the attempts that the caller is making, which are left alone whatever the clock says.
        """
        if self._others:
            return 0  # `OtherRelays` does it, more often and by the server's clock

        work = partial(self._leases.look, holder=self.operations.holder, held=self._held, now=now)
        return len(await self._writer.run(partial(work, under_way=under_way)))

    def notify_relays(self, queued: Iterable[str] = (), *, gates: bool = False) -> None:
        """Notify the other relays on the database that deliveries are queued for these destinations, or that gates have changed."""
        if self._others:
            self._others.notify(queued, gates=gates)

    async def reassign(
        self,
        destination: str,
        to: Callable[[Delivery], Sequence[NewDelivery]],
        *,
        queued_by: datetime,
        words: str,
        now: datetime,
    ) -> Reassigned:
        """Replace all deliveries to a destination that were queued by `queued_by` with those that `to` returns; see `requeue.reassign`."""
        done = Reassigned(last=0)
        while done.last is not None:
            work = partial(reassign, self.operations, destination=destination, to=to)
            work = partial(work, queued_by=queued_by, words=words, now=now, after=done.last)
            batch = await self._writer.run(work)
            done = Reassigned(done.moved + batch.moved, done.queued + batch.queued, batch.last)
            if batch.moved:
                reach(CrashPoint.REASSIGNED)
                self.notify_relays(batch.queued)
        return done

    async def hasten(self, destination: str, now: datetime, *, blips: bool = False) -> None:
        """Make all deliveries queued for a destination due now, the oldest first, because it works again.

        `blips`: only deliveries that failed exactly once and need not wait, as the destination was away only briefly.
        """
        await self.run(lambda c: self.operations.hasten(c, destination, now, blips=blips))
        reach(CrashPoint.HASTENED)
        self.notify_relays([destination])

    async def recall(self, destination: str, now: datetime, *, beyond: datetime) -> None:
        """Make deliveries to a destination that are due later than `beyond` due now: a wrong clock had postponed them."""
        await self.run(lambda c: self.operations.recall(c, destination, now, beyond))

    async def close_gate(self, destination: str, gate: Gate) -> None:
        """Store that nothing is sent to a destination for now; this outlives restarts."""
        self.notify_relays(gates=True)  # first, or a look under way undoes it in our own lane
        await self._writer.run(lambda cursor: self.operations.close_gate(cursor, destination, gate))
        reach(CrashPoint.GATE_CLOSED)

    async def open_gate(self, destination: str) -> None:
        """Store that a destination need not wait any more; this outlives restarts."""
        self.notify_relays(gates=True)  # as above
        await self._writer.run(lambda cursor: self.operations.open_gate(cursor, destination))
        reach(CrashPoint.GATE_OPEN)

    async def gates(self) -> dict[str, Gate]:
        """The gates of all destinations that have to wait, by the destination's name."""
        return await self._writer.run(self.operations.gates)

    async def summary(self) -> Summary:
        """Counts of what waits and of what ended badly, without reading the whole history."""
        return await self._writer.run(partial(summarize, self.operations.sql))


def _open_postgres(server: PostgresServer, process: Process) -> Store:
    # psycopg takes 0.1 s to import, and most installations live in a file.
    from relay.outbox.postgres.postgres_opening import open_postgres  # noqa: PLC0415

    return open_postgres(server, process)
