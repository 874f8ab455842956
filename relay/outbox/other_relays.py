"""Relays that share a database renew leases, notify others of what is queued, and take over from dead relays.

Notifications only save waiting: everything is also found by polling the database every few seconds.
"""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from relay.clock import Clock
from relay.destination import Rate
from relay.outbox.delivery_types import (
    Accepted,
    Claim,
    Delivery,
    Gate,
    Places,
    StorageUnavailable,
    from_ms,
)
from relay.outbox.leases import Attempt, Leases
from relay.outbox.pace import Turns
from relay.outbox.settling import Operations
from relay.outbox.statements import SERVER_TIME, Query, text
from relay.outbox.writer import Cursor, SharedStore, Writer

SHORT_WAIT = 0.1
"""Seconds at least between two notifications, however many hooks come in."""
TOPIC = "relay_outbox"
LONGEST_NOTE = 7000
"""Limit for a notification, in bytes; PostgreSQL takes 8,000."""

Wake = Callable[[Iterable[str]], None]
SeeGates = Callable[[Mapping[str, Gate | None]], None]
log = logging.getLogger(__name__)

_NOTIFY = Query(sa.select(sa.func.pg_notify(text("topic"), text("words"))))


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a relay renews its leases, and when others consider it dead."""

    lease: timedelta = timedelta(seconds=30)
    """After this time without a renewal another relay takes over a relay's deliveries."""
    beat: float = 5.0
    """Seconds between two renewals, each of which polls the database as well."""
    longest_look: float = 60.0
    """Seconds after which a database that neither answers nor ends the connection counts as lost."""


@dataclass(slots=True)
class _Held:
    """A lease that this relay holds; its times are by this relay's clock."""

    ends: datetime
    longest: datetime
    """Until when the lease is renewed."""


@dataclass(slots=True)
class _Seen:
    """The result of polling the database once: leases renewed, lost and expired, what is queued, and all gates."""

    now: datetime
    skew: timedelta
    renewed: list[tuple[int, int]]
    lost: set[tuple[int, int]]
    expired: list[str]
    queued: list[str]
    gates: dict[str, Gate]


@dataclass(slots=True)
class _News:
    """Changes of which the other relays have not been notified yet."""

    queued: set[str] = field(default_factory=set)
    gates: bool = False


class OtherRelays:
    """Shares a database with other relays: renews leases, notifies the others, and hears what they queue."""

    def __init__(
        self,
        *,
        writer: Writer,
        operations: Operations,
        store: SharedStore,
        clock: Clock,
        wake: Wake,
        see_gates: SeeGates,
        rhythm: Rhythm,
        held: Container[Attempt],
    ) -> None:
        """`held`: the attempts that this relay has claimed and not settled."""
        self._writer = writer
        self._operations = operations
        self._store = store
        self._clock = clock
        self._wake = wake
        self._see_gates = see_gates
        self._rhythm = rhythm
        self._ours = held
        self._name = secrets.token_hex(6)
        self._leases = Leases(operations.sql)
        self._turns = Turns(operations.sql)
        self._held: dict[tuple[int, int], _Held] = {}
        self._skew: timedelta | None = None
        self._gates: dict[str, Gate] | None = None
        self._gates_written = 0
        self._news = _News()
        self._has_news = asyncio.Event()
        self._look_now = asyncio.Event()
        self._has_hints = False

    async def live(self) -> None:
        """Share the database with other relays, until cancelled."""
        await self._try_to_look()
        async with asyncio.TaskGroup() as together:
            together.create_task(self._look_now_and_then())
            together.create_task(self._hints(self._listen))
            together.create_task(self._hints(self._send_notes))

    async def _hints(self, exchange: Callable[[], Awaitable[None]]) -> None:
        """Run an exchange of notifications, and log its failure: the renewal of leases must go on without it."""
        try:
            await exchange()
        except Exception:
            self._has_hints = False
            log.exception(
                "no hints are exchanged with other relays: the database is looked at instead"
            )

    # -- leases ------------------------------------------------------------------------------------------

    def lease(self, longest: timedelta) -> timedelta:
        """How long to claim for, by this relay's clock: briefly, as leases are renewed. Leases end by the server's clock."""
        if self._skew is None:
            return longest  # the first look shortens it
        return min(longest, self._rhythm.lease) + self._skew

    def due(self, now: datetime) -> datetime:
        """The due time of a delivery queued now: `now`, or the server's time if that is earlier, so that other relays may send it at once."""
        return now + min(self._skew or timedelta(), timedelta())

    def due_by(self, now: datetime) -> datetime:
        """The latest due time of deliveries that may be claimed now: `now`, or the server's time if that is later."""
        return now + max(self._skew or timedelta(), timedelta())

    def hold(self, deliveries: Iterable[Delivery], since: datetime, until: datetime) -> None:
        """Renew the leases of these deliveries, claimed at `since` by this relay's clock, until `until` at most."""
        ends = since + self._rhythm.lease
        self._held.update({(each.id, each.attempt): _Held(ends, until) for each in deliveries})

    def holds(self, delivery: Delivery) -> bool:
        """Whether this relay still has a delivery's lease. False once it has ended, as after the process was suspended."""
        held = self._held.get((delivery.id, delivery.attempt))
        return held is not None and self._clock() < held.ends

    def release(self, delivery: Delivery) -> None:
        self._held.pop((delivery.id, delivery.attempt), None)

    def in_turn(
        self,
        claim: Callable[[Cursor], Claim],
        pace: str,
        rates: Sequence[Rate],
        now: datetime,
    ) -> Callable[[Cursor], Claim]:
        """A claim that is made only where the rates, kept by all relays together, allow it."""
        skew = self._skew or timedelta()
        return partial(self._turns.claim, claim=claim, pace=pace, rates=rates, now=now, skew=skew)

    def accept(
        self, accept: Callable[..., Accepted], at: datetime, places: Places | None
    ) -> Callable[[Cursor], Accepted]:
        """`accept` for a shared database: deliveries are due by the server's clock, and none is claimed while earlier ones wait."""
        work = partial(accept, due=self.due(at))
        if places is None:
            return work
        free = partial(self._free, places=places, now=at)
        return partial(work, lease=self.lease(places.lease), places=free)

    def _free(self, cursor: Cursor, *, places: Places, now: datetime) -> dict[str, int]:
        """The places of destinations for which no earlier delivery is due and whose rates allow one more.

        Runs in the writer's thread.
        """
        latest = self.due_by(now)
        free = {}
        for name, count in places.free.items():
            next_due = self._operations.next_due(cursor, name)
            if next_due is not None and next_due <= latest:
                continue
            if name not in places.rates or self._turns.begin(
                cursor,
                pace=places.paces.get(name, name),
                rates=places.rates[name],
                now=now,
                skew=self._skew or timedelta(),
            ):
                free[name] = count
        return free

    # -- notifications ------------------------------------------------------------------------------------

    def notify(self, queued: Iterable[str] = (), *, gates: bool = False) -> None:
        """Notify the other relays that deliveries are queued for these destinations, or that gates have changed."""
        self._news.queued.update(queued)
        self._news.gates |= gates
        self._gates_written += gates
        if self._news.queued or self._news.gates:
            self._has_news.set()

    async def _send_notes(self) -> None:
        while True:
            await self._has_news.wait()
            await asyncio.sleep(SHORT_WAIT)
            self._has_news.clear()
            news, self._news = self._news, _News()
            if not self._has_hints:
                continue
            try:
                note = _note(self._name, news)
                await self._writer.run(
                    partial(self._operations.sql[_NOTIFY].run, topic=TOPIC, words=note)
                )
            except StorageUnavailable:
                continue  # the others find it by polling

    async def _listen(self) -> None:
        async with aclosing(self._store.listen()) as notes:  # type: ignore[type-var]
            async for note in notes:
                self._has_hints = True
                self._receive(note)
        self._has_hints = False
        log.info("this database carries no notifications: others' work is looked for instead")

    def _receive(self, note: str) -> None:
        message = _read(note)
        if message.get("from") == self._name:
            return
        queued = message.get("queued")
        if isinstance(queued, list):
            self._wake(name for name in queued if isinstance(name, str))
        if not isinstance(queued, list) or message.get("gates"):
            self._look_now.set()

    # -- look --------------------------------------------------------------------------------------------

    async def _look_now_and_then(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rhythm.beat):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._try_to_look()

    async def _try_to_look(self) -> None:
        try:
            async with asyncio.timeout(self._rhythm.longest_look):
                await self._look()
        except StorageUnavailable:
            pass  # the database is away; the next poll tries again
        except TimeoutError:
            log.warning("the database does not answer; its connection is cut")
            self._store.cut()
        except Exception:
            # A bug here must not end the renewing of leases.
            log.exception("looking at the shared database failed; going on")

    async def _look(self) -> None:
        gates_written = self._gates_written
        seen = await self._writer.run(self._see)
        self._skew = seen.skew
        for delivery_id, attempt in seen.lost & self._held.keys():  # the rest was settled meanwhile
            log.warning("delivery %d was taken up by another relay while we sent it", delivery_id)
            del self._held[delivery_id, attempt]
        for held in (self._held[key] for key in seen.renewed if key in self._held):
            held.ends = seen.now + self._rhythm.lease
        if seen.expired:
            log.warning(
                "deliveries queued again, as no relay works on them any more: %d", len(seen.expired)
            )
        if gates_written == self._gates_written:  # else it may be older than what we changed
            self._compare(seen.gates)
        self._wake(seen.queued)

    def _compare(self, gates: dict[str, Gate]) -> None:
        before, self._gates = self._gates, gates
        if before is None:  # the relay has read the gates at its start
            return
        names = before.keys() | gates.keys()
        changed = {name: gates.get(name) for name in names if gates.get(name) != before.get(name)}
        if changed:
            self._see_gates(changed)

    def _see(self, cursor: Cursor) -> _Seen:
        """Renew this relay's leases, expire those of others, and read what is due, in the writer's thread.

        This relay's leases come first, as they may just have run out.
        """
        now = self._clock()
        on_server = from_ms(self._operations.sql[SERVER_TIME].run(cursor).fetchone()[0])
        held = [attempt for attempt, lease in list(self._held.items()) if lease.longest > now]
        lost = self._leases.renew(cursor, held, on_server + self._rhythm.lease)
        expired = self._leases.give_back(cursor, self._operations.holder, self._ours, now)
        if self._store.is_steady():
            expired += self._leases.expire(
                cursor, ended_by=on_server, now=now, why="the relay that sent it ended"
            )
        return _Seen(
            now=now,
            renewed=held,
            skew=on_server - now,
            lost=lost,
            expired=expired,
            queued=self._operations.due_destinations(cursor, max(now, on_server)),
            gates=self._operations.gates(cursor),
        )


def _note(name: str, news: _News) -> str:
    note = json.dumps({"from": name, "queued": sorted(news.queued), "gates": news.gates})
    if len(note) <= LONGEST_NOTE:
        return note
    return json.dumps({"from": name, "queued": None, "gates": news.gates})


def _read(note: str) -> dict[str, Any]:
    """The contents of a notification; empty where another program sent it, so that the database is polled."""
    try:
        message = json.loads(note)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
