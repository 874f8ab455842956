"""Who gets which alert, and when: one for each trouble, and one more when it is over. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.alerts.detection import LATE, Kind
from relay.outbox.rows import State
from relay.outbox.troubles import AlertDelivery, Failures, Trouble
from relay.rules import RuleBook

TOLD_AFTER = {kind: timedelta(minutes=1) for kind in (Kind.RULES, Kind.LATE, Kind.REMOVED)}
"""What is fixed sooner gets no alert: somebody who edits the rules file saves it more than once."""
OVER_AFTER = {
    kind: timedelta(minutes=2)
    for kind in (Kind.BROKEN, Kind.LATE, Kind.REMOVED, Kind.CEILING, Kind.STORAGE)
}
"""What comes back sooner was never over."""
BUNDLED = timedelta(minutes=1)
"""Failures are collected for so long, and come as one alert."""
QUIET = timedelta(hours=1)
"""Between two alerts about failures at one destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a look does about one trouble: whether it is new or over, and which destinations hear of it."""

    trouble: Trouble
    """As it is known from now on; as it was at its end, if that is over."""
    is_new: bool = False
    over: bool = False
    tell: tuple[str, ...] = ()
    """Destinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The destinations by which somebody can be told of trouble."""

    alerts_to: Collection[str]
    fallbacks: Mapping[str, str]
    """The fallback of each destination that has one; they don't go round in a circle."""
    broken: Collection[str]
    """Destinations by which nobody can be told anything."""

    @classmethod
    def of(cls, rules: RuleBook, *, broken: Collection[str]) -> "Ways":
        """The fallbacks of `rules`. A fallback whose recipients the chat chooses is none: an alert chooses nobody."""
        fallbacks = {
            name: one.fallback
            for name, one in rules.destinations.items()
            if one.fallback and rules.recipients[one.fallback].fixed
        }
        return cls(alerts_to=rules.alerts_to, fallbacks=fallbacks, broken=broken)

    def beside(self, subject: str = "") -> tuple[str, ...]:
        """All but the one that is in trouble itself. The fallback of one that can't be used takes its place."""
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
    """Nothing for a trouble about which there is nothing new to say or remember.

    `destinations`: those of the rules file.
    """
    for key, seen in wrong.items():
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
        # For an alert no ceiling holds.
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
        yield Step(trouble=trouble, over=True)  # with the destination itself
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
    """The destinations where an alert has arrived, or is on its way and neither late nor held up, or is muted."""
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
    """Whether nobody can have heard of it, although somebody should. `heard`: where an alert about it has `reached`."""
    return trouble.gone_at is None and not heard and _is_worth_telling(trouble, now)


def failures_to_tell(
    found: Iterable[Failures],
    *,
    fallbacks: Mapping[str, str],
    told_at: Mapping[str, datetime],
    now: datetime,
) -> dict[str, list[Failures]]:
    """The failures for which an alert is due now, by their destination.

    `fallbacks`: of each destination, empty where it has none. `told_at`: when there was last an alert about failures there.
    """
    by_destination: dict[str, list[Failures]] = {}
    for failures in found:
        # What failed went to the fallback; what may have arrived, or was set aside, did not.
        if failures.state is not State.FAILED or not fallbacks.get(failures.destination):
            by_destination.setdefault(failures.destination, []).append(failures)
    return {
        name: those
        for name, those in by_destination.items()
        if now - min(failures.first for failures in those) >= BUNDLED
        and now - told_at.get(name, now - QUIET) >= QUIET
    }
