"""Decides which destinations get which alert, and when: one for each problem, and one more when it is over. No I/O."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.alerts.problem_detection import LATE, Kind
from relay.outbox.delivery_types import State
from relay.outbox.troubles import AlertDelivery, Failures, Trouble
from relay.rules import RuleBook

ALERT_AFTER = {kind: timedelta(minutes=1) for kind in (Kind.RULES, Kind.LATE, Kind.REMOVED)}
"""How long a problem must last for an alert. Somebody who edits the rules file saves it more than once."""
OVER_AFTER = {
    kind: timedelta(minutes=2)
    for kind in (Kind.BROKEN, Kind.LATE, Kind.REMOVED, Kind.CEILING, Kind.STORAGE)
}
"""How long a problem must be gone to count as over; one that returns sooner was never over."""
_HOLDS_BACK = (Kind.BROKEN, Kind.REMOVED, Kind.CEILING)
"""Kinds of problems that hold deliveries back; those deliveries count as late only once the problem is over."""
BUNDLED = timedelta(minutes=1)
"""For how long failures are collected, to be sent as one alert."""
QUIET = timedelta(hours=1)
"""The shortest time between two alerts about failures at one destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do about one problem: whether it is new or over, and which destinations get an alert."""

    trouble: Trouble
    """The problem as it is to be stored; as it was at its end, if it is over."""
    is_new: bool = False
    over: bool = False
    to: tuple[str, ...] = ()
    """Names of destinations that get the alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The destinations that can be used for alerts."""

    alerts_to: Collection[str]
    fallbacks: Mapping[str, str]
    """The fallback of each destination that has one, by name; without cycles."""
    broken: Collection[str]
    """Destinations that can't be used."""

    @classmethod
    def of(cls, rules: RuleBook, *, broken: Collection[str]) -> "Ways":
        """The destinations of `alerts_to` and their fallbacks.

        A fallback whose recipients depend on the chat can't be used for alerts.
        """
        fallbacks = {
            name: destination.fallback
            for name, destination in rules.destinations.items()
            if destination.fallback and rules.recipients[destination.fallback].fixed
        }
        return cls(alerts_to=rules.alerts_to, fallbacks=fallbacks, broken=broken)

    def usable(self, subject: str = "") -> tuple[str, ...]:
        """The destinations for an alert about `subject`: those of `alerts_to`, each replaced by a fallback if it can't be used."""
        names: dict[str, None] = {}
        for name in self.alerts_to:
            candidate = name
            while candidate and (candidate == subject or candidate in self.broken):
                candidate = self.fallbacks.get(candidate, "")
            if candidate:
                names[candidate] = None
        return tuple(names)


def steps(
    known: Mapping[tuple[str, str], Trouble],
    present: Mapping[tuple[str, str], Trouble],
    *,
    ways: Ways,
    destinations: Collection[str],
    now: datetime,
) -> Iterator[Step]:
    """What to do about each problem that is new, has changed or is over. `destinations`: those of the rules file."""
    for key, seen in present.items():
        was_held_back = seen.kind == Kind.LATE and any(
            (kind, seen.subject) in known for kind in _HOLDS_BACK
        )
        if key in known or not was_held_back:
            yield from _ongoing(known.get(key), seen, ways, now)
    for key, trouble in known.items():
        if key not in present:
            yield from _ended(trouble, ways.usable(), destinations, now)


def _ongoing(before: Trouble | None, seen: Trouble, ways: Ways, now: datetime) -> Iterator[Step]:
    trouble = seen
    if before:
        trouble = replace(
            before,
            gone_at=None,
            why=seen.why or before.why,
            waiting=max(before.waiting, seen.waiting),
        )
    to: tuple[str, ...] = ()
    if _deserves_alert(trouble, now):
        # The hourly limit does not apply to alerts.
        subject = "" if trouble.kind == Kind.CEILING else trouble.subject
        to = tuple(name for name in ways.usable(subject) if name not in trouble.alerted)
    trouble = replace(trouble, alerted=(*trouble.alerted, *to))
    if trouble != before:
        yield Step(trouble=trouble, is_new=before is None, to=to)


def _deserves_alert(trouble: Trouble, until: datetime) -> bool:
    return until - trouble.since >= ALERT_AFTER.get(Kind(trouble.kind), timedelta())


def _ended(
    trouble: Trouble, usable: tuple[str, ...], destinations: Collection[str], now: datetime
) -> Iterator[Step]:
    kind = Kind(trouble.kind)
    if (
        kind.is_of_a_destination
        and kind is not Kind.REMOVED
        and trouble.subject not in destinations
    ):
        yield Step(trouble=trouble, over=True)  # its destination was removed
        return
    gone_at = trouble.gone_at or now
    if now - gone_at >= OVER_AFTER.get(kind, timedelta()):
        due = trouble.alerted or _deserves_alert(trouble, gone_at)
        yield Step(trouble=replace(trouble, gone_at=gone_at), over=True, to=usable if due else ())
    elif trouble.gone_at is None:
        yield Step(trouble=replace(trouble, gone_at=gone_at))


def reached(
    deliveries: Iterable[AlertDelivery], *, broken: Collection[str], now: datetime
) -> tuple[str, ...]:
    """The destinations where an alert has arrived, was left out on purpose, or waits without being late or held up."""
    return tuple(
        dict.fromkeys(
            each.destination
            for each in deliveries
            if each.state in {State.DELIVERED, State.ACCEPTED, State.LEFT_OUT}
            or (
                each.state in {State.QUEUED, State.SENDING}
                and each.destination not in broken
                and now - each.queued_at < LATE
            )
        )
    )


def is_unreached(trouble: Trouble, reached_by: Collection[str], now: datetime) -> bool:
    """Whether a problem deserves an alert that has not reached anybody. `reached_by`: the destinations that it has `reached`."""
    return trouble.gone_at is None and not reached_by and _deserves_alert(trouble, now)


def due_failures(
    unreported: Iterable[Failures],
    *,
    fallbacks: Mapping[str, str],
    last_alerts: Mapping[str, datetime],
    now: datetime,
) -> dict[str, list[Failures]]:
    """The failures for which an alert is due now, by destination.

    `fallbacks`: of each destination that has one. `last_alerts`: when the last alert about its failures was made.
    """
    by_destination: dict[str, list[Failures]] = {}
    for failures in unreported:
        # A failed delivery went to the fallback; one that is unsure or quarantined did not.
        if failures.state is not State.FAILED or not fallbacks.get(failures.destination):
            by_destination.setdefault(failures.destination, []).append(failures)
    return {
        name: some
        for name, some in by_destination.items()
        if now - min(failures.first for failures in some) >= BUNDLED
        and now - last_alerts.get(name, now - QUIET) >= QUIET
    }
