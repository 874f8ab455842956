"""The lane of one destination: how many deliveries may be sent now, and how long the next must wait. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum, auto

from relay.delivery.endpoint import NO_MATTER, Breaker, Endpoint, Pace
from relay.destination import Destination, TransportSpec, WhenUnsure
from relay.outbox.delivery_types import Delivery, Gate
from relay.outbox.pace import Pacer
from relay.outbox.pauses import Pause
from relay.transports import Ending, Outcome, Transport

BETWEEN_CLAIMS = timedelta(milliseconds=10)
"""Time between two claims. Meanwhile attempts end, and claiming four deliveries hardly costs more than one."""
NEW = timedelta(minutes=1)
"""While older deliveries wait, every other claim takes what fell due within this time."""


class Lesson(Enum):
    """What one attempt says about its destination as a whole."""

    NONE = auto()
    WORKS_AGAIN = auto()
    """The destination works again after an outage, or after it was broken."""
    BLIP_OVER = auto()
    """The destination works; the failures just before were too few for an outage."""
    MUST_WAIT = auto()
    """The gate was closed, or closed for longer."""
    BROKE = auto()
    """The destination is broken, which was not known before this attempt."""


class LaneState(StrEnum):
    """The state of a destination, as in /readyz and metrics."""

    WORKS = "works"
    PAUSED = "paused"
    """A person has paused the destination."""
    BROKEN = "broken"
    """Deliveries wait until somebody fixes the destination."""
    RATE_LIMITED = "rate limited"
    FULL = "ceiling reached"
    """The destination has reached its hourly limit."""
    AWAY = "does not answer"
    """The server does not answer; one delivery at a time probes whether it is back."""


_NEVER = datetime.max.replace(tzinfo=UTC)
_SILENCE = {
    Ending.LATER,
    Ending.MAYBE_DELIVERED,
    Ending.RATE_LIMITED,
    Ending.DESTINATION_BROKEN,
}


@dataclass(slots=True)
class Lane:
    """A destination with its transport, and what may be sent there now."""

    destination: Destination
    spec: TransportSpec
    transport: Transport
    endpoint: Endpoint
    """The server and login; other lanes may use it too, and it outlives them."""
    most_per_hour: int | None = None
    full_until: datetime | None = None
    """Until when nothing is sent because of the hourly limit; None: the limit is not known to be reached."""
    reserved: int = 0
    """Places for deliveries that are claimed as they are queued; see `reserve`."""
    paused: Pause | None = None
    """The pause by a person, which ends at its time; None without one."""
    next_due: datetime | None = None
    """When the next delivery is due, as far as is known; None: none is queued."""
    is_claiming: bool = False
    """Whether a claim is in progress; meanwhile it is not known what waits."""
    stuck: datetime | None = None
    """The due time of what could not be claimed, such as a suspect while another is tried."""
    breaker: Breaker = field(init=False)
    pace: Pace = field(init=False)
    siblings: Sequence["Lane"] = ()
    """All lanes that use the same endpoint, this one included."""
    _claimed_at: datetime | None = None
    _noted_at: datetime | None = None
    _took_new: bool = False

    def __post_init__(self) -> None:
        rates = self.destination.rates
        self.pace = self.endpoint.pace(self.spec.rates if rates is None else rates)
        self.breaker = self.endpoint.breaker(self.name)

    @property
    def name(self) -> str:
        return self.destination.name

    @property
    def in_flight(self) -> int:
        """How many attempts are being made."""
        return len(self.breaker.under_way)

    @property
    def suspects_in_flight(self) -> int:
        """How many suspects are being sent, at most one. A suspect was being sent when a process died."""
        return self.breaker.suspects

    @property
    def worked_at(self) -> datetime | None:
        """When a delivery last arrived; None where none did since the start."""
        return self.breaker.worked_at

    @property
    def when_unsure(self) -> WhenUnsure:
        """What to do after a lost answer: as the rules file says, else the transport's default."""
        return self.destination.when_unsure or self.spec.when_unsure

    @property
    def pacer(self) -> Pacer:
        """The rates of the destination, shared with others of its endpoint and rates."""
        return self.pace.pacer

    @property
    def gate(self) -> Gate | None:
        return self.endpoint.gate

    @property
    def is_broken(self) -> bool:
        return self.endpoint.is_broken

    def state(self, now: datetime) -> "LaneState":
        """The destination's state at `now`."""
        if self.paused_until(now) > now:
            return LaneState.PAUSED
        if self.is_broken:
            return LaneState.BROKEN
        if self.gate is not None and self.gate.closed_until > now:
            return LaneState.RATE_LIMITED
        if self.full_until is not None and self.full_until > now:
            return LaneState.FULL
        return LaneState.AWAY if self.breaker.is_open else LaneState.WORKS

    @property
    def trouble_since(self) -> datetime | None:
        """Since when the destination is broken, or nothing has arrived although something was tried; None: all is well."""
        broken = self.gate.broken_since if self.gate else None
        return min((at for at in (broken, self.breaker.silent_since) if at), default=None)

    def falls_back_before(self, now: datetime) -> datetime | None:
        """Deliveries queued up to this time go to the fallback now; None: none do."""
        since, after = self.trouble_since, self.destination.fallback_after
        if self.paused_until(now) > now:
            return None  # paused on purpose
        if since is None or after is None or now - since < after:
            return None
        return now - after

    def is_before(self, now: datetime) -> bool:
        """Whether the clock was set back since it was last noted (`note_time`)."""
        return self._noted_at is not None and now < self._noted_at - NO_MATTER

    def note_time(self, now: datetime) -> None:
        """Note the time. If the clock was set back, waits do not become longer by that."""
        self.endpoint.note_time(now)
        if self.is_before(now):
            self._claimed_at, self.next_due, self.full_until = None, now, None
        self._noted_at = now

    def slots(self, now: datetime) -> int:
        """How many deliveries may be claimed at this moment."""
        is_free = self._may_claim_at(now) <= now and not self._is_behind(now)
        return self._free if is_free else 0

    @property
    def own_free(self) -> int:
        """How many more attempts this destination's own limits allow, without those of its endpoint."""
        free = self.spec.max_concurrency - self.in_flight
        # One probe. Attempts that began before may take minutes, and say nothing of now.
        if self.breaker.is_open:
            free = min(free, 1 - self.breaker.probes())
        return free - self.reserved

    @property
    def _free(self) -> int:
        free = self.own_free
        if self.is_broken:
            free = min(free, 1 - self.endpoint.probes() - self.endpoint.taken)
        if not self.pacer.unlimited:
            free = min(free, 1 - self.pace.taken)
        return max(0, free)

    def _is_behind(self, now: datetime) -> bool:
        """Whether an older delivery of another lane waits for the same pace, so that it is that lane's turn."""
        return not self.pacer.unlimited and any(
            sibling.next_due is not None
            and sibling.next_due <= now
            and (self.next_due is None or sibling.next_due < self.next_due)
            and sibling.own_free > 0
            and sibling.next_due != sibling.stuck
            and sibling.may_try_at(now) <= now
            for sibling in self.siblings
            if sibling is not self and sibling.pace is self.pace
        )

    def _may_begin_at(self, now: datetime) -> datetime:
        """When the next attempt may begin, if a place is free: `now` or later."""
        return max(self.opens_at(now), self.pacer.free_at(now), self.full_until or now)

    def _may_claim_at(self, now: datetime) -> datetime:
        at, last = self._may_begin_at(now), self._claimed_at
        if (
            self.pacer.unlimited
            and last
            and last <= now
            and self._free < self.spec.max_concurrency / 2
        ):
            return max(at, last + BETWEEN_CLAIMS)
        return at

    def may_try_at(self, now: datetime) -> datetime:
        """When this destination may be tried, without the limits of its endpoint: `now` or later."""
        probe_at, full_until = self.breaker.probe_at or now, self.full_until or now
        return max(now, probe_at, full_until, self.paused_until(now))

    def paused_until(self, now: datetime) -> datetime:
        """When the pause ends: `now` without one, the end of time where somebody has to end it."""
        if self.paused is None:
            return now
        return max(now, self.paused.until or _NEVER)

    def opens_at(self, now: datetime) -> datetime:
        """When the pause, the gate and the breaker let a delivery pass: `now` or later."""
        gate = self.gate.closed_until if self.gate else now
        return max(now, gate, self.breaker.probe_at or now, self.paused_until(now))

    def wakes_at(self, now: datetime) -> datetime | None:
        """When to look again unless something happens first; None: only when something happens."""
        if self.next_due is None:
            return None
        return max(self.next_due, self._may_claim_at(now))

    def falls_due(self, due: datetime | None) -> None:
        """Note that a delivery is due at `due`; an earlier known time stays."""
        if due is not None and (self.next_due is None or due < self.next_due):
            self.next_due = due

    def claim_begins(self, now: datetime) -> datetime | None:
        """Begin a claim. Deliveries due after the returned time come first; None: the oldest come first.

        After an outage thousands may wait. A visitor who waits for an answer now must not wait behind all of them, so
        every other claim prefers new deliveries.
        """
        is_behind = self.next_due is not None and self.next_due < now - NEW
        self._took_new = is_behind and not self._took_new
        self.is_claiming, self._claimed_at = True, now
        self._take(1)
        self.next_due = None  # set again by what is queued meanwhile
        return now - NEW if self._took_new else None

    def claim_ended(self, next_due: datetime | None, *, took_nothing: bool = False) -> None:
        """End a claim. `next_due`: when to claim again, if at all. `took_nothing`: no due delivery could be claimed."""
        is_due = (
            next_due is not None and self._claimed_at is not None and next_due <= self._claimed_at
        )
        self.stuck = next_due if took_nothing and is_due else None
        self.is_claiming = False
        self._take(-1)
        self.falls_due(next_due)

    def _take(self, places: int) -> None:
        self.pace.taken += places
        self.endpoint.taken += places

    def waiting_siblings(self) -> list["Lane"]:
        """Lanes of the same endpoint that may have waited until this one had claimed, or found nothing to claim."""
        return [
            sibling
            for sibling in self.siblings
            if sibling is not self
            and (self.is_broken or (sibling.pace is self.pace and not self.pacer.unlimited))
        ]

    def claimed(self, deliveries: Iterable[Delivery], now: datetime) -> None:
        """Note that attempts begin for claimed deliveries."""
        for delivery in deliveries:
            self.breaker.began(delivery)
            self.endpoint.began(delivery, self.pace, now)

    def reserve(self, now: datetime) -> bool:
        """Reserve a place for a delivery that is about to be queued, so that it can be claimed in the same commit.

        False where it has to wait: for a place, for its time, or behind earlier deliveries that are not claimed yet.
        """
        is_behind = self.is_claiming or (self.next_due is not None and self.next_due <= now)
        may_begin = self._free > 0 and self._may_begin_at(now) <= now and not self.is_before(now)
        if is_behind or not may_begin or self._is_behind(now):
            return False
        self.reserved += 1
        self._take(1)
        return True

    def release(self) -> None:
        """Give back a place taken by `reserve`; what was claimed is counted by `claimed` instead."""
        self.reserved -= 1
        self._take(-1)

    def ended(self, delivery: Delivery) -> None:
        """Note that an attempt has ended, whatever its outcome."""
        self.breaker.ended(delivery)
        self.endpoint.ended(delivery)

    def learn(self, delivery: Delivery, outcome: Outcome, now: datetime) -> Lesson:
        """Take in how an attempt ended. Call it before `ended`."""
        if outcome.ending in {Ending.DELIVERED, Ending.ACCEPTED}:
            self.breaker.worked_at = now
        if outcome.ending in _SILENCE and not outcome.only_this:
            self.breaker.note_silence(delivery, now)
        match outcome.ending:
            case Ending.DELIVERED | Ending.ACCEPTED | Ending.REFUSED:
                # A refusal is an answer: the server works.
                return self._works()
            case Ending.RATE_LIMITED:
                self.endpoint.asks_for_patience(outcome, now)
                return Lesson.MUST_WAIT
            case Ending.DESTINATION_BROKEN:
                was_broken = self.is_broken
                if self.endpoint.breaks(delivery, outcome, now):
                    return Lesson.MUST_WAIT if was_broken else Lesson.BROKE
            case Ending.LATER | Ending.MAYBE_DELIVERED if not outcome.only_this:
                self.breaker.failed(delivery, now)
        return Lesson.NONE

    def adopt(self, gate: Gate | None) -> None:
        """Take over the gate that another process has closed, or opened (None)."""
        if gate is None and self.is_broken:
            self.breaker.worked()
        stored_for = self.endpoint.stored_for
        if gate is not None and self.endpoint.gate is None and self.name in stored_for:
            return  # this relay's own gate, whose opening is about to be stored
        (stored_for.discard if gate is None else stored_for.add)(self.name)
        self.endpoint.adopt(gate)

    def _works(self) -> Lesson:
        had_failed, was_broken = self.breaker.failures > 0, self.is_broken
        if was_broken:
            self.endpoint.gate = None
        if self.breaker.worked() or was_broken:
            return Lesson.WORKS_AGAIN
        return Lesson.BLIP_OVER if had_failed else Lesson.NONE
