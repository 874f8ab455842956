"""Endpoints: the webhook, workspace token or mail server that several destinations may share.

A server's answer about itself, such as a rate limit, applies to all of them. No I/O.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from relay.destination import Rate
from relay.outbox.delivery_types import Delivery, Gate
from relay.outbox.pace import Pacer
from relay.transports import Outcome

FAILURES_TO_OPEN = 3
"""Consecutive failures after which the breaker opens."""
FIRST_PROBE = timedelta(seconds=2)
SLOWEST_PROBE = timedelta(seconds=60)
"""The longest time between two probes of a server that is away, each by one delivery."""
FIRST_LOOK_AT_BROKEN = timedelta(minutes=5)
SLOWEST_LOOK_AT_BROKEN = timedelta(hours=1)
DEFAULT_PAUSE = timedelta(seconds=30)
"""How long to wait when a server asks for a pause without saying how long."""
NO_MATTER = timedelta(seconds=1)
"""How far a clock may be set back without any effect."""
REMEMBERED = 1000
"""How many start times of messages are kept, for when a rate is edited."""


Key = tuple[int, int]
"""The number of a delivery and the number of its attempt."""


def _key(delivery: Delivery) -> Key:
    return delivery.id, delivery.attempt


@dataclass(slots=True)
class Breaker:
    """A circuit breaker: stops sending to a server that does not answer, and probes now and then whether it is back."""

    failures: int = 0
    probe_at: datetime | None = None
    worked_at: datetime | None = None
    """When a delivery last arrived; None where none did since the start."""
    silent_since: datetime | None = None
    """Since when the server has only failed or asked to wait; None where it works."""
    suspects: int = 0
    """How many attempts are being made at deliveries during which a process died."""
    under_way: dict[Key, int] = field(default_factory=dict)
    """The attempts that are being made, each with the turn in which it began."""
    _turn: int = 0
    """Incremented each time that the breaker opens, or stays open for longer."""

    @property
    def is_open(self) -> bool:
        """Whether the breaker lets only probes through."""
        return self.probe_at is not None

    def probes(self) -> int:
        """How many probes are being made: attempts that began after the last failure that opened the breaker or kept it open."""
        return sum(began == self._turn for began in self.under_way.values())

    def began(self, delivery: Delivery) -> None:
        """Note that an attempt begins."""
        self.under_way[_key(delivery)] = self._turn
        self.suspects += delivery.suspect

    def ended(self, delivery: Delivery) -> None:
        """Note that an attempt has ended, whatever its outcome."""
        if self.under_way.pop(_key(delivery), None) is not None:
            self.suspects -= delivery.suspect

    def failed(self, delivery: Delivery, now: datetime) -> None:
        """Count a failure; FAILURES_TO_OPEN in a row open the breaker. An attempt that began before it opened does not count."""
        if self.is_open and self.under_way.get(_key(delivery), self._turn) < self._turn:
            return
        self.failures += 1
        beyond = self.failures - FAILURES_TO_OPEN
        if beyond >= 0:
            self.probe_at = now + min(FIRST_PROBE * 2 ** min(beyond, 10), SLOWEST_PROBE)
            self._turn += 1

    def note_silence(self, delivery: Delivery, now: datetime) -> None:
        """Note that the server does not answer: since now, or after a restart since `delivery` was queued, if that had failed before."""
        if self.silent_since is None:
            failed_before = self.worked_at is None and (delivery.failures or delivery.unsure)
            self.silent_since = delivery.queued_at if failed_before else now

    def worked(self) -> bool:
        """Note a success; returns whether it ends an outage."""
        ended = self.is_open
        self.failures, self.probe_at, self.silent_since = 0, None, None
        return ended


@dataclass(slots=True)
class Pace:
    """The pace that all destinations of an endpoint with the same rates keep together."""

    name: str
    """The name in the database, equal in all relays that share it."""
    pacer: Pacer
    taken: int = 0
    """How many messages are reserved or being claimed."""


@dataclass(slots=True)
class Endpoint:
    """A server and login, which several lanes may share. Its gate and paces outlive an edit of the rules file."""

    key: str
    """Identifies the endpoint, without a secret."""
    gate: Gate | None = None
    """Set while the server has asked to wait or is broken. The dispatcher stores it."""
    stored_for: set[str] = field(default_factory=set)
    """The destinations under whose names the gate is stored."""
    taken: int = 0
    """How many messages are reserved or being claimed, for all destinations."""
    _turn: int = 0
    """Incremented each time that the gate closes, or closes for longer."""
    _under_way: dict[Key, int] = field(default_factory=dict)
    """The attempts that are being made, each with the turn in which it began."""
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _paces: dict[tuple[Rate, ...], Pace] = field(default_factory=dict)
    _started: deque[datetime] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _noted_at: datetime | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the server refuses the relay itself until somebody fixes it."""
        return self.gate is not None and self.gate.broken_since is not None

    def breaker(self, destination: str) -> Breaker:
        """The breaker of a destination. Each has its own, as what fails at one may work at another."""
        return self._breakers.setdefault(destination, Breaker())

    def pace(self, rates: Sequence[Rate]) -> Pace:
        """The pace for these rates. Messages that have started already count, also where a rate was edited."""
        rates = tuple(rates)
        if rates not in self._paces:
            words = ", ".join(f"{rate.count}/{rate.per.total_seconds():g}s" for rate in rates)
            self._paces[rates] = Pace(f"{self.key} {words}", Pacer(rates, self._started))
        return self._paces[rates]

    def renewed(self) -> "Endpoint":
        """An endpoint for another login to the same server, of which only the messages already sent are known."""
        return Endpoint(self.key, _started=self._started)

    def note_time(self, now: datetime) -> None:
        """Note the time. If the clock was set back, waits do not become longer by that."""
        if self._noted_at is not None and now < self._noted_at - NO_MATTER:
            self._started.clear()
            for pace in self._paces.values():
                pace.pacer.forget()
            for breaker in self._breakers.values():
                breaker.probe_at = breaker.probe_at and now
            if self.gate is not None:
                left = max(self.gate.closed_until - self._noted_at, timedelta())
                self.gate = replace(self.gate, closed_until=now + left)
        self._noted_at = now

    # -- attempts ----------------------------------------------------------------------------------------

    def probes(self) -> int:
        """How many attempts began since the gate was last closed."""
        return sum(began == self._turn for began in self._under_way.values())

    def began(self, delivery: Delivery, pace: Pace, now: datetime) -> None:
        """Note that an attempt begins, which counts for the rates."""
        self._under_way[_key(delivery)] = self._turn
        self._started.append(now)
        pace.pacer.started(now)

    def ended(self, delivery: Delivery) -> None:
        """Note that an attempt has ended, whatever its outcome."""
        self._under_way.pop(_key(delivery), None)

    # -- the gate ----------------------------------------------------------------------------------------

    def close(self, gate: Gate) -> None:
        """Close the gate. Attempts that began before it closed are told apart from later ones."""
        self.gate = gate
        self._turn += 1

    def asks_for_patience(self, outcome: Outcome, now: datetime) -> None:
        """Close the gate for as long as the server has asked to wait."""
        until, broken_since = now + (outcome.after or DEFAULT_PAUSE), None
        if self.gate is not None:
            # A broken endpoint stays broken until something succeeds.
            until, broken_since = max(until, self.gate.closed_until), self.gate.broken_since
        self.close(Gate(until, broken_since, outcome.detail))

    def breaks(self, delivery: Delivery, outcome: Outcome, now: datetime) -> bool:
        """Close the gate, or keep it closed for longer, until somebody fixes the endpoint. False for an attempt begun before the gate closed."""
        since = self.gate.broken_since if self.gate else None
        if since is None:
            until = now + FIRST_LOOK_AT_BROKEN
            until = max(until, self.gate.closed_until) if self.gate else until
            self.close(Gate(until, now, outcome.detail))
            return True
        if self._under_way.get(_key(delivery), self._turn) < self._turn:
            return False  # the attempt began before the gate closed
        # As long again as it has been broken, plus 5 minutes: 5, 10, 20, 40, also over restarts.
        wait = FIRST_LOOK_AT_BROKEN + max(now - since, timedelta())
        self.close(Gate(now + min(wait, SLOWEST_LOOK_AT_BROKEN), since, outcome.detail))
        return True

    def adopt(self, gate: Gate | None) -> None:
        """Take over the gate that another process has closed, or opened (None)."""
        if gate is None:
            self.gate = None
        elif gate == self.gate:
            return
        elif self.gate is None or gate.closed_until > self.gate.closed_until:
            self.close(gate)
        elif self.is_broken and gate.broken_since is not None:
            # `relay resume`: somebody has fixed it, and wants a probe now.
            self.close(gate)
