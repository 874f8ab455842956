"""One destination's way out: how many deliveries may go now, and how long the next must wait. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto

from relay.destination import Destination, TransportSpec, WhenUnsure
from relay.outbox.values import Delivery, Gate
from relay.outcome import Ending, Outcome
from relay.pacer import Pacer
from relay.transports import Transport

FAILURES_TO_OPEN = 3
"""In a row, before the breaker opens."""
FIRST_PROBE = timedelta(seconds=2)
SLOWEST_PROBE = timedelta(seconds=60)
"""While a far end is away it is asked by one delivery at a time, this seldom at the slowest."""
FIRST_LOOK_AT_BROKEN = timedelta(minutes=5)
SLOWEST_LOOK_AT_BROKEN = timedelta(hours=1)
DEFAULT_PAUSE = timedelta(seconds=30)
"""Where a far end asks for a pause and does not say how long."""
NO_MATTER = timedelta(seconds=1)
"""By which a clock may be set back without anybody having to wait."""
BETWEEN_CLAIMS = timedelta(milliseconds=10)
"""A claim of four deliveries costs hardly more than a claim of one: meanwhile attempts end, and more may be claimed."""
NEW = timedelta(minutes=1)
"""While older deliveries wait, every other claim takes what fell due within this time."""


@dataclass(slots=True)
class Breaker:
    """Stops asking a far end that does not answer; a probe now and then finds out when it is back."""

    failures: int = 0
    probe_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.probe_at is not None

    def failed(self, now: datetime) -> None:
        self.failures += 1
        beyond = self.failures - FAILURES_TO_OPEN
        if beyond >= 0:
            self.probe_at = now + min(FIRST_PROBE * 2 ** min(beyond, 10), SLOWEST_PROBE)

    def worked(self) -> bool:
        """Returns whether this ends an outage."""
        ended = self.is_open
        self.failures, self.probe_at = 0, None
        return ended


class Lesson(Enum):
    """What one attempt says of its destination as a whole."""

    NONE = auto()
    WORKS_AGAIN = auto()
    """After an outage, or after it was broken."""
    BLIP_OVER = auto()
    """It works; the failures just before were too few for an outage."""
    MUST_WAIT = auto()
    """The gate is closed now, or closed for longer."""
    BROKE = auto()
    """The same, and until this attempt nobody knew that it is broken."""


class LaneState(StrEnum):
    """How it goes with a destination."""

    WORKS = "works"
    BROKEN = "broken"
    """It waits until somebody mends it."""
    RATE_LIMITED = "rate limited"
    AWAY = "does not answer"
    """One delivery at a time asks whether it is back."""


@dataclass(slots=True)
class Lane:
    """A destination with its transport, and what may go there now."""

    destination: Destination
    spec: TransportSpec
    transport: Transport
    gate: Gate | None = None
    """Closed by the far end's own word; kept on disk by the dispatcher."""
    reserved: int = 0
    """Places for deliveries that are claimed as they come to be owed; see `reserve`."""
    suspects_in_flight: int = 0
    """At most one: what else was under way when a process died waits for its turn."""
    next_due: datetime | None = None
    """When the next delivery falls due, as far as is known; None: nothing is owed."""
    is_claiming: bool = False
    """While a claim is under way nobody knows what waits."""
    breaker: Breaker = field(default_factory=Breaker)
    pacer: Pacer = field(init=False)
    worked_at: datetime | None = None
    """When something last passed."""
    _claimed_at: datetime | None = None
    _seen_at: datetime | None = None
    _took_new: bool = False
    _turn: int = 0
    """One more each time that the gate or the breaker closes the way, or closes it for longer."""
    _under_way: dict[tuple[int, int], int] = field(default_factory=dict)
    """Deliveries, each with its attempt, and the turn in which that began."""

    def __post_init__(self) -> None:
        rates = self.destination.rates
        self.pacer = Pacer(self.spec.rates if rates is None else rates)

    @property
    def name(self) -> str:
        return self.destination.name

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._under_way)

    @property
    def when_unsure(self) -> WhenUnsure:
        """What the rules file says, else what the transport does."""
        return self.destination.when_unsure or self.spec.when_unsure

    @property
    def is_broken(self) -> bool:
        return self.gate is not None and self.gate.broken_since is not None

    def state(self, now: datetime) -> "LaneState":
        """How it goes, in a word."""
        if self.is_broken:
            return LaneState.BROKEN
        if self.gate is not None and self.gate.closed_until > now:
            return LaneState.RATE_LIMITED
        return LaneState.AWAY if self.breaker.is_open else LaneState.WORKS

    def is_before(self, now: datetime) -> bool:
        """Whether the clock was set back since it was last `seen`."""
        return self._seen_at is not None and now < self._seen_at - NO_MATTER

    def seen(self, now: datetime) -> None:
        """The clock says so. Where it was set back, what waits by its old time waits for no longer than it would have."""
        if self._seen_at is not None and self.is_before(now):
            self.pacer.forget()
            self._claimed_at = None
            if self.breaker.is_open:
                self.breaker.probe_at = now
            if self.gate is not None:
                left = max(self.gate.closed_until - self._seen_at, timedelta())
                self.gate = replace(self.gate, closed_until=now + left)
            self.next_due = now
        self._seen_at = now

    def slots(self, now: datetime) -> int:
        """How many deliveries may be claimed at this moment."""
        return self._free if self._may_claim_at(now) <= now else 0

    @property
    def _free(self) -> int:
        free = self.spec.max_concurrency - self.in_flight
        if self.breaker.is_open or self.is_broken:
            # One probe. What was under way before may take minutes to end, and says nothing of now.
            free = min(free, 1 - sum(began == self._turn for began in self._under_way.values()))
        if not self.pacer.unlimited:
            free = min(free, 1)
        return max(0, free - self.reserved)

    def _may_begin_at(self, now: datetime) -> datetime:
        """When the next attempt may begin, as far as places go: `now` or later."""
        return max(self.opens_at(now), self.pacer.free_at(now))

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

    def opens_at(self, now: datetime) -> datetime:
        """When the gate and the breaker let one through: `now` or later."""
        gate = self.gate.closed_until if self.gate else now
        return max(now, gate, self.breaker.probe_at or now)

    def wakes_at(self, now: datetime) -> datetime | None:
        """When to look again unless something happens first; None: only when something happens."""
        if self.next_due is None:
            return None
        return max(self.next_due, self._may_claim_at(now))

    def owes(self, due: datetime | None) -> None:
        """Something falls due then; what was known to fall due earlier stays."""
        if due is not None and (self.next_due is None or due < self.next_due):
            self.next_due = due

    def claim_begins(self, now: datetime) -> datetime | None:
        """What fell due after the moment that this returns goes first; None: the oldest goes first.

        After an outage thousands may wait. A visitor who waits for an answer now must not stand behind all of them,
        so every other claim prefers the new.
        """
        is_behind = self.next_due is not None and self.next_due < now - NEW
        self._took_new = is_behind and not self._took_new
        self.is_claiming, self._claimed_at = True, now
        self.next_due = None  # whatever is owed while the claim is under way sets it again
        return now - NEW if self._took_new else None

    def claim_ended(self, next_due: datetime | None) -> None:
        """`next_due`: when to claim again; None: nothing else was owed."""
        self.is_claiming = False
        self.owes(next_due)

    def claimed(self, deliveries: Iterable[Delivery], now: datetime) -> None:
        for delivery in deliveries:
            self._under_way[delivery.id, delivery.attempt] = self._turn
            self.suspects_in_flight += delivery.suspect
            self.pacer.started(now)

    def reserve(self, now: datetime) -> bool:
        """Take a place for a delivery that is about to be owed, so that it can be claimed in the same commit.

        False where it has to wait: for a place, for its moment, or behind what is due and not claimed yet.
        """
        is_behind = self.is_claiming or (self.next_due is not None and self.next_due <= now)
        may_begin = self._free > 0 and self._may_begin_at(now) <= now and not self.is_before(now)
        if is_behind or not may_begin:
            return False
        self.reserved += 1
        return True

    def release(self) -> None:
        """Give back a place that was taken by `reserve`; what was claimed for it is then counted by `claimed`."""
        self.reserved -= 1

    def ended(self, delivery: Delivery) -> None:
        self._under_way.pop((delivery.id, delivery.attempt), None)
        self.suspects_in_flight -= delivery.suspect

    def learn(self, delivery: Delivery, outcome: Outcome, now: datetime) -> Lesson:
        """Take in how an attempt ended. Call it before `ended`."""
        if outcome.ending in {Ending.DELIVERED, Ending.ACCEPTED}:
            self.worked_at = now
        match outcome.ending:
            case Ending.DELIVERED | Ending.ACCEPTED | Ending.REFUSED:
                # A refusal is an answer too: the far end works.
                return self._works()
            case Ending.RATE_LIMITED:
                # "Too many" does not mean that a broken one was mended: only a success does.
                until, broken_since = now + (outcome.after or DEFAULT_PAUSE), None
                if self.gate is not None:
                    until = max(until, self.gate.closed_until)
                    broken_since = self.gate.broken_since
                self._close(Gate(until, broken_since, outcome.detail))
                return Lesson.MUST_WAIT
            case Ending.DESTINATION_BROKEN:
                return self._breaks(delivery, outcome, now)
            case Ending.LATER | Ending.MAYBE_DELIVERED if not outcome.only_this:
                if not (self.breaker.is_open and self._is_of_before(delivery)):
                    self.breaker.failed(now)
                    self._turn += self.breaker.is_open
        return Lesson.NONE

    def hear(self, gate: Gate | None) -> None:
        """Another process closed this gate, or opened it (None)."""
        if gate is None:
            if self.is_broken:
                self.breaker.worked()
            self.gate = None
        elif self.gate is None or gate.closed_until > self.gate.closed_until:
            self._close(gate)
        elif self.is_broken and gate.broken_since is not None:
            self._close(gate)  # `relay resume`: somebody has mended it, and wants the next look now

    def _works(self) -> Lesson:
        had_failed = self.breaker.failures > 0
        if self.breaker.worked() or self.is_broken:
            self.gate = None
            return Lesson.WORKS_AGAIN
        return Lesson.BLIP_OVER if had_failed else Lesson.NONE

    def _breaks(self, delivery: Delivery, outcome: Outcome, now: datetime) -> Lesson:
        since = self.gate.broken_since if self.gate else None
        if since is None:
            until = now + FIRST_LOOK_AT_BROKEN
            until = max(until, self.gate.closed_until) if self.gate else until
            self._close(Gate(until, now, outcome.detail))
            return Lesson.BROKE
        if self._is_of_before(delivery):
            return Lesson.NONE
        # As long again as it has been broken, and 5 minutes: 5, 10, 20, 40 whoever looks, over restarts too.
        wait = FIRST_LOOK_AT_BROKEN + max(now - since, timedelta())
        self._close(Gate(now + min(wait, SLOWEST_LOOK_AT_BROKEN), since, outcome.detail))
        return Lesson.MUST_WAIT

    def _close(self, gate: Gate) -> None:
        self.gate = gate
        self._turn += 1

    def _is_of_before(self, delivery: Delivery) -> bool:
        """Whether an attempt began before the gate or the breaker last closed the way: then it is no look of its own."""
        return self._under_way.get((delivery.id, delivery.attempt), self._turn) < self._turn
