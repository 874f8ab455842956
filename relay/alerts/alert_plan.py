"""Decides which destinations get which alert, and when: one for each problem, and one more when it is over. No I/O."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.alerts.problem_detection import LATE, Kind
from relay.outbox.delivery_types import State
from relay.outbox.troubles import AlertDelivery, Failures, Trouble
from relay.rules import RuleBook

TOLD_AFTER = {kind: timedelta(minutes=1) for kind in (Kind.RULES, Kind.LATE, Kind.REMOVED)}
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
    tell: tuple[str, ...] = ()
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
            name: one.fallback
            for name, one in rules.destinations.items()
            if one.fallback and rules.recipients[one.fallback].fixed
        }
        return cls(alerts_to=rules.alerts_to, fallbacks=fallbacks, broken=broken)

    def beside(self, subject: str = "") -> tuple[str, ...]:
        """The destinations for an alert about `subject`: those of `alerts_to`, each replaced by a fallback if it can't be used."""
        found: dict[str, None] = {}
        for name in self.alerts_to:
            way = name
            while way and (way == subject or way in self.broken):
                way = self.fallbacks.get(way, "")
            if way:
                found[way] = None
        return tuple(found)


def steps(
    known: Mapping[tuple[str, str], Trouble],
    wrong: Mapping[tuple[str, str], Trouble],
    *,
    ways: Ways,
    destinations: Collection[str],
    now: datetime,
) -> Iterator[Step]:
    """What to do about each problem that is new, has changed or is over. `destinations`: those of the rules file."""
    for key, seen in wrong.items():
        was_held_back = seen.kind == Kind.LATE and any(
            (kind, seen.subject) in known for kind in _HOLDS_BACK
        )
        if key in known or not was_held_back:
            yield from _goes_on(known.get(key), seen, ways, now)
    for key, trouble in known.items():
        if key not in wrong:
            yield from _is_gone(trouble, ways.beside(), destinations, now)


def _goes_on(before: Trouble | None, seen: Trouble, ways: Ways, now: datetime) -> Iterator[Step]:
    trouble = seen
    if before:
        trouble = replace(
            before,
            gone_at=None,
            why=seen.why or before.why,
            waiting=max(before.waiting, seen.waiting),
        )
    tell: tuple[str, ...] = ()
    if _is_worth_telling(trouble, now):
        # The hourly limit does not apply to alerts.
        beside = "" if trouble.kind == Kind.CEILING else trouble.subject
        tell = tuple(name for name in ways.beside(beside) if name not in trouble.told)
    trouble = replace(trouble, told=(*trouble.told, *tell))
    if trouble != before:
        yield Step(trouble=trouble, is_new=before is None, tell=tell)


def _is_worth_telling(trouble: Trouble, until: datetime) -> bool:
    return until - trouble.since >= TOLD_AFTER.get(Kind(trouble.kind), timedelta())


def _is_gone(
    trouble: Trouble, able: tuple[str, ...], destinations: Collection[str], now: datetime
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
        worth = trouble.told or _is_worth_telling(trouble, gone_at)
        yield Step(trouble=replace(trouble, gone_at=gone_at), over=True, tell=able if worth else ())
    elif trouble.gone_at is None:
        yield Step(trouble=replace(trouble, gone_at=gone_at))


def reached(
    deliveries: Iterable[AlertDelivery], *, broken: Collection[str], now: datetime
) -> tuple[str, ...]:
    """The destinations where an alert has arrived, was left out on purpose, or waits without being late or held up."""
    return tuple(
        dict.fromkeys(
            one.destination
            for one in deliveries
            if one.state in {State.DELIVERED, State.ACCEPTED, State.LEFT_OUT}
            or (
                one.state in {State.QUEUED, State.SENDING}
                and one.destination not in broken
                and now - one.queued_at < LATE
            )
        )
    )


def is_untold(trouble: Trouble, heard: Collection[str], now: datetime) -> bool:
    """Whether a problem deserves an alert that has not reached anybody. `heard`: the destinations that it has `reached`."""
    return trouble.gone_at is None and not heard and _is_worth_telling(trouble, now)


def failures_to_tell(
    found: Iterable[Failures],
    *,
    fallbacks: Mapping[str, str],
    told_at: Mapping[str, datetime],
    now: datetime,
) -> dict[str, list[Failures]]:
    """The failures for which an alert is due now, by destination.

    `fallbacks`: of each destination that has one. `told_at`: when there was last an alert about failures at a
    destination.
    """
    by_destination: dict[str, list[Failures]] = {}
    for failures in found:
        # A failed delivery went to the fallback; one that is unsure or quarantined did not.
        if failures.state is not State.FAILED or not fallbacks.get(failures.destination):
            by_destination.setdefault(failures.destination, []).append(failures)
    return {
        name: those
        for name, those in by_destination.items()
        if now - min(failures.first for failures in those) >= BUNDLED
        and now - told_at.get(name, now - QUIET) >= QUIET
    }
