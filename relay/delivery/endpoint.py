"""Where destinations lead: a webhook, a room with its token, a mail server.

What it says of itself holds for all of them. No I/O.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from relay.destination import Rate
from relay.outbox.rate_limits import Pacer
from relay.outbox.rows import Delivery, Gate
from relay.transports.outcome import Outcome

FAILURES_TO_OPEN = 3
"""In a row, before the breaker opens."""
FIRST_PROBE = timedelta(seconds=2)
SLOWEST_PROBE = timedelta(seconds=60)
"""While a server is away it is asked by one delivery at a time, this seldom at the slowest."""
FIRST_LOOK_AT_BROKEN = timedelta(minutes=5)
SLOWEST_LOOK_AT_BROKEN = timedelta(hours=1)
DEFAULT_PAUSE = timedelta(seconds=30)
"""Where a server asks for a pause and does not say how long."""
NO_MATTER = timedelta(seconds=1)
"""By which a clock may be set back without anybody having to wait."""
REMEMBERED = 1000
"""Beginnings of messages, for when a rate is edited."""


Key = tuple[int, int]
"""A delivery and its attempt."""


def _key(delivery: Delivery) -> Key:
    return delivery.id, delivery.attempt


@dataclass(slots=True)
class Breaker:
    """Stops asking a server that does not answer; a probe now and then finds out when it is back."""

    failures: int = 0
    probe_at: datetime | None = None
    worked_at: datetime | None = None
    """When something last passed."""
    silent_since: datetime | None = None
    """Since when nothing was answered but failures and requests for patience."""
    suspects: int = 0
    """Attempts under way at what was under way when a process died."""
    under_way: dict[Key, int] = field(default_factory=dict)
    """Attempts, each with the turn in which it began."""
    _turn: int = 0
    """One more each time that it opens, or stays open for longer."""

    @property
    def is_open(self) -> bool:
        return self.probe_at is not None

    def probes(self) -> int:
        """How many attempts began since it opened, or stayed open for longer."""
        return sum(began == self._turn for began in self.under_way.values())

    def began(self, delivery: Delivery) -> None:
        self.under_way[_key(delivery)] = self._turn
        self.suspects += delivery.suspect

    def ended(self, delivery: Delivery) -> None:
        if self.under_way.pop(_key(delivery), None) is not None:
            self.suspects -= delivery.suspect

    def failed(self, delivery: Delivery, now: datetime) -> None:
        """Count a failure, but not one of an attempt that began before the breaker opened: it says nothing new."""
        if self.is_open and self.under_way.get(_key(delivery), self._turn) < self._turn:
            return
        self.failures += 1
        beyond = self.failures - FAILURES_TO_OPEN
        if beyond >= 0:
            self.probe_at = now + min(FIRST_PROBE * 2 ** min(beyond, 10), SLOWEST_PROBE)
            self._turn += 1

    def is_silent(self, delivery: Delivery, now: datetime) -> None:
        """Take note that the server does not answer.

        After a restart, what the delivery had failed before tells since when.
        """
        if self.silent_since is None:
            failed_before = self.worked_at is None and (delivery.failures or delivery.unsure)
            self.silent_since = delivery.queued_at if failed_before else now

    def worked(self) -> bool:
        """Take note of a success; returns whether it ends an outage."""
        ended = self.is_open
        self.failures, self.probe_at, self.silent_since = 0, None, None
        return ended


@dataclass(slots=True)
class Pace:
    """The pace of all destinations of an endpoint that have the same rates, and keep them together."""

    name: str
    """Equal in all relays that share a database."""
    pacer: Pacer
    taken: int = 0
    """Places in it that are reserved, or being claimed."""


@dataclass(slots=True)
class Endpoint:
    """The server and login that lanes lead to; its gate and its pace outlive an edit of the rules file."""

    key: str
    """Tells it from all others, without a secret."""
    gate: Gate | None = None
    """Closed by its own word; kept on disk by the dispatcher."""
    kept_for: set[str] = field(default_factory=set)
    """The destinations under whose names the gate is on disk."""
    taken: int = 0
    """Places that are reserved, or being claimed, for whichever destination."""
    _turn: int = 0
    """One more each time that the gate closes, or closes for longer."""
    _under_way: dict[Key, int] = field(default_factory=dict)
    """Attempts, each with the turn in which it began."""
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _paces: dict[tuple[Rate, ...], Pace] = field(default_factory=dict)
    _started: deque[datetime] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _seen_at: datetime | None = None

    @property
    def is_broken(self) -> bool:
        return self.gate is not None and self.gate.broken_since is not None

    def breaker(self, destination: str) -> Breaker:
        """The breaker of a destination, which has one of its own: what fails at one may pass at another."""
        return self._breakers.setdefault(destination, Breaker())

    def pace(self, rates: Sequence[Rate]) -> Pace:
        """A rate that was edited counts what has begun already."""
        rates = tuple(rates)
        if rates not in self._paces:
            words = ", ".join(f"{rate.count}/{rate.per.total_seconds():g}s" for rate in rates)
            self._paces[rates] = Pace(f"{self.key} {words}", Pacer(rates, self._started))
        return self._paces[rates]

    def renewed(self) -> "Endpoint":
        """An endpoint for another login to the same server: only how much has been sent is known of it."""
        return Endpoint(self.key, _started=self._started)

    def seen(self, now: datetime) -> None:
        """The clock says so. Where it was set back, what waits by its old time waits for no longer than it would have."""
        if self._seen_at is not None and now < self._seen_at - NO_MATTER:
            self._started.clear()
            for pace in self._paces.values():
                pace.pacer.forget()
            for breaker in self._breakers.values():
                breaker.probe_at = breaker.probe_at and now
            if self.gate is not None:
                left = max(self.gate.closed_until - self._seen_at, timedelta())
                self.gate = replace(self.gate, closed_until=now + left)
        self._seen_at = now

    # -- attempts ----------------------------------------------------------------------------------------

    def probes(self) -> int:
        """How many attempts began since the gate was closed last."""
        return sum(began == self._turn for began in self._under_way.values())

    def began(self, delivery: Delivery, pace: Pace, now: datetime) -> None:
        self._under_way[_key(delivery)] = self._turn
        self._started.append(now)
        pace.pacer.started(now)

    def ended(self, delivery: Delivery) -> None:
        self._under_way.pop(_key(delivery), None)

    # -- the gate ----------------------------------------------------------------------------------------

    def close(self, gate: Gate) -> None:
        self.gate = gate
        self._turn += 1

    def asks_for_patience(self, outcome: Outcome, now: datetime) -> None:
        """Take note that the server has asked for a slower pace."""
        until, broken_since = now + (outcome.after or DEFAULT_PAUSE), None
        if self.gate is not None:
            # It does not mean that a broken one was repaired: only a success does.
            until, broken_since = max(until, self.gate.closed_until), self.gate.broken_since
        self.close(Gate(until, broken_since, outcome.detail))

    def breaks(self, delivery: Delivery, outcome: Outcome, now: datetime) -> bool:
        """Nothing passes until somebody repairs it; returns whether the gate was closed, or for longer, by this."""
        since = self.gate.broken_since if self.gate else None
        if since is None:
            until = now + FIRST_LOOK_AT_BROKEN
            until = max(until, self.gate.closed_until) if self.gate else until
            self.close(Gate(until, now, outcome.detail))
            return True
        if self._under_way.get(_key(delivery), self._turn) < self._turn:
            return False  # it began before: no look of its own
        # As long again as it has been broken, and 5 minutes: 5, 10, 20, 40 whoever looks, over restarts too.
        wait = FIRST_LOOK_AT_BROKEN + max(now - since, timedelta())
        self.close(Gate(now + min(wait, SLOWEST_LOOK_AT_BROKEN), since, outcome.detail))
        return True

    def hear(self, gate: Gate | None) -> None:
        """Take over the gate that another process has closed, or opened (None)."""
        if gate is None:
            self.gate = None
        elif gate == self.gate:
            return
        elif self.gate is None or gate.closed_until > self.gate.closed_until:
            self.close(gate)
        elif self.is_broken and gate.broken_since is not None:
            self.close(
                gate
            )  # `relay resume`: somebody has repaired it, and wants the next look now
