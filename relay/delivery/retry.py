"""Decides what follows an attempt: settled, tried again, or given up.

No I/O. docs/delivery.md has the schedule.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from msgspec import structs

from relay.destination import TransportSpec, WhenUnsure
from relay.outbox.delivery_types import BLIP, Delivery, Settlement, State
from relay.transports import Ending, Outcome

WAITS = (
    BLIP,
    *(timedelta(seconds=each) for each in (120, 300, 900, 1800, 3600, 7200, 14400, 28800)),
)
"""Times before the second, third, ... attempt; the last one repeats."""
LONGEST_WAIT = WAITS[-1]
WAIT_WHEN_UNSURE = timedelta(seconds=60)
HELD_BACK = "the relay was stopped in the middle of the attempt before this one; it is not repeated"
LEAST_FAILURES = 4
"""Failures before a delivery may be given up: a relay that was off for days has not tried yet."""

Random = Callable[[], float]
"""Returns a random number from 0 up to but not including 1."""


def wait_after(failures: int, random: Random) -> timedelta:
    """How long to wait after so many failures (1 or more): half of it fixed, half random."""
    wait = WAITS[min(failures, len(WAITS)) - 1]
    return wait / 2 + wait / 2 * random()


def held_back(delivery: Delivery, when_unsure: WhenUnsure) -> Outcome | None:
    """The outcome for a delivery that may have been sent before the relay died and must not be repeated; None: make the attempt."""
    if not delivery.suspect or when_unsure is not WhenUnsure.HOLD:
        return None
    return Outcome(Ending.MAYBE_DELIVERED, HELD_BACK, hold=True, only_this=True)


def queued_at_once(outcome: Outcome, delivery: Delivery, now: datetime) -> Settlement:
    """The settlement of an attempt that the relay itself cut short: it counts for nothing, and the next may begin at once."""
    return _requeued(outcome, delivery, now, at=now)


def settlement_after(
    outcome: Outcome,
    delivery: Delivery,
    spec: TransportSpec,
    *,
    when_unsure: WhenUnsure | None = None,
    probe_at: datetime | None = None,
    now: datetime,
    random: Random,
) -> Settlement:
    """The settlement of a delivery after an attempt with this outcome.

    `when_unsure` overrides the transport's. `probe_at`: when the destination is probed next, if it is away; a
    delivery that failed for the first time does not wait beyond that.
    """
    if when_unsure not in {None, spec.when_unsure}:
        spec = replace(spec, when_unsure=when_unsure)
    match outcome.ending:
        case Ending.DELIVERED | Ending.ACCEPTED:
            settlement = _settled(outcome, State(outcome.ending.value), now)
        case Ending.REFUSED if outcome.shorten and not delivery.short:
            settlement = _requeued(outcome, delivery, now, at=now, short=True)
        case Ending.REFUSED:
            settlement = _settled(outcome, State.FAILED, now)
        case Ending.MOVED:
            settlement = _settled(outcome, State.MOVED, now)
        case Ending.MAYBE_DELIVERED:
            settlement = _unsure(outcome, delivery, spec, now, random)
        case Ending.LATER:
            settlement = _later(outcome, delivery, spec, now, random)
        case Ending.RATE_LIMITED | Ending.DESTINATION_BROKEN:
            # It waits for the destination's gate, through no fault of its own.
            settlement = _requeued(outcome, delivery, now, at=now + (outcome.after or timedelta()))
    first = settlement.counts and delivery.failures == 0 and not outcome.only_this
    if probe_at is not None and first and settlement.due_at is not None:
        asked_for = now + (outcome.after or timedelta())
        return structs.replace(settlement, due_at=min(settlement.due_at, max(probe_at, asked_for)))
    return settlement


def _unsure(
    outcome: Outcome, delivery: Delivery, spec: TransportSpec, now: datetime, random: Random
) -> Settlement:
    if spec.when_unsure is WhenUnsure.HOLD or outcome.hold:
        return _settled(outcome, State.MAYBE_DELIVERED, now)
    if spec.when_unsure is WhenUnsure.REPEAT:
        return _later(outcome, delivery, spec, now, random)
    if delivery.unsure:
        return _settled(outcome, State.MAYBE_DELIVERED, now)
    # A notification that arrives twice does less harm than none; so repeat it, but only once.
    wait = max(WAIT_WHEN_UNSURE * (1 + random() / 2), outcome.after or timedelta())
    return _requeued(outcome, delivery, now, at=now + wait)


def _later(
    outcome: Outcome, delivery: Delivery, spec: TransportSpec, now: datetime, random: Random
) -> Settlement:
    failures = delivery.failures + 1
    due = now + max(wait_after(failures, random), outcome.after or timedelta())
    if failures >= LEAST_FAILURES and due - delivery.queued_at > spec.gives_up_after:
        tried = _duration(now - delivery.queued_at)
        return _settled(outcome, State.FAILED, now, f"given up after {tried}: {outcome.detail}")
    return _requeued(outcome, delivery, now, at=due, counts=True)


def _settled(outcome: Outcome, state: State, now: datetime, detail: str = "") -> Settlement:
    return Settlement(
        ending=outcome.ending,
        detail=detail or outcome.detail,
        state=state,
        ended_at=now,
        receipt=outcome.receipt,
    )


def _requeued(
    outcome: Outcome,
    delivery: Delivery,
    now: datetime,
    *,
    at: datetime,
    counts: bool = False,
    short: bool = False,
) -> Settlement:
    return Settlement(
        ending=outcome.ending,
        detail=outcome.detail,
        state=State.QUEUED,
        ended_at=now,
        due_at=at,
        counts=counts,
        short=short or delivery.short,
        receipt=outcome.receipt,
    )


def _duration(age: timedelta) -> str:
    hours = round(age / timedelta(hours=1))
    return f"{hours} hours" if hours < 72 else f"{hours // 24} days"
