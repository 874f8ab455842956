"""Who gets which alert, and when: one for each trouble, and one more when it is over. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.alerts.seeing import Kind
from relay.outbox.troubles import Failures, Trouble
from relay.outbox.values import State

TOLD_AFTER = {Kind.RULES: timedelta(minutes=1), Kind.LATE: timedelta(minutes=1)}
"""What is mended sooner gets no alert: somebody who edits the rules file saves it more than once."""
OVER_AFTER = {kind: timedelta(minutes=2) for kind in (Kind.BROKEN, Kind.LATE, Kind.STORAGE)}
"""What comes back sooner was never over."""
BUNDLED = timedelta(minutes=1)
"""Failures are collected for so long, and come as one alert."""
QUIET = timedelta(hours=1)
"""Between two alerts about failures at one destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What follows for one trouble."""

    trouble: Trouble
    """As it is known from now on; as it was at its end, if that is over."""
    is_new: bool = False
    over: bool = False
    tell: tuple[str, ...] = ()
    """Destinations."""


def steps(
    known: Mapping[tuple[str, str], Trouble],
    wrong: Mapping[tuple[str, str], Trouble],
    *,
    alerts_to: Collection[str],
    broken: Collection[str],
    destinations: Collection[str],
    now: datetime,
) -> Iterator[Step]:
    """Nothing for a trouble about which there is nothing new to say or remember.

    `broken`: destinations that can tell nobody anything; `destinations`: those of the rules file.
    """
    able = tuple(name for name in alerts_to if name not in broken)
    for key, seen in wrong.items():
        yield from _goes_on(known.get(key), seen, able, now)
    for key, trouble in known.items():
        if key not in wrong:
            yield from _is_gone(trouble, able, destinations, now)


def _goes_on(
    before: Trouble | None, seen: Trouble, able: Collection[str], now: datetime
) -> Iterator[Step]:
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
        # Over another way than the one that is in trouble.
        tell = tuple(name for name in able if name not in {trouble.subject, *trouble.told})
    trouble = replace(trouble, told=(*trouble.told, *tell))
    if trouble != before:
        yield Step(trouble=trouble, is_new=before is None, tell=tell)


def _is_worth_telling(trouble: Trouble, until: datetime) -> bool:
    return until - trouble.since >= TOLD_AFTER.get(Kind(trouble.kind), timedelta())


def _is_gone(
    trouble: Trouble, able: tuple[str, ...], destinations: Collection[str], now: datetime
) -> Iterator[Step]:
    kind = Kind(trouble.kind)
    if kind.is_of_a_destination and trouble.subject not in destinations:
        yield Step(trouble=trouble, over=True)  # with the destination itself
        return
    gone_at = trouble.gone_at or now
    if now - gone_at >= OVER_AFTER.get(kind, timedelta()):
        worth = trouble.told or _is_worth_telling(trouble, gone_at)
        yield Step(trouble=replace(trouble, gone_at=gone_at), over=True, tell=able if worth else ())
    elif trouble.gone_at is None:
        yield Step(trouble=replace(trouble, gone_at=gone_at))


def untold(
    known: Iterable[Trouble], *, alerts_to: Collection[str], broken: Collection[str]
) -> list[Trouble]:
    """Those that nobody can have heard about, although somebody should: all ways are in trouble themselves."""
    return [
        trouble
        for trouble in known
        if alerts_to and trouble.gone_at is None and not {*trouble.told} - {*broken}
    ]


def failures_to_tell(
    found: Iterable[Failures],
    *,
    fallbacks: Mapping[str, str],
    told_at: Mapping[str, datetime],
    now: datetime,
) -> dict[str, list[Failures]]:
    """By destination, those that an alert is due for now.

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
