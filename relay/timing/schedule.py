"""Weekly schedules such as office hours: whether one is open, and when it opens next, also across clock changes."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

Span = tuple[int, int]
"""Start and end in minutes of the day. If the end is before the start, the span goes over midnight."""

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_MINUTES_OF_A_DAY = 24 * 60
_HOUR = re.compile(r"(?<=\d)([T ])(\d):")
LOOKED_AHEAD = 366 * _DAY
"""A schedule that does not open within this time is treated as one that never opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hours on certain days in local time of `zone`: clock changes don't shift them."""

    name: str
    zone: ZoneInfo
    days: frozenset[int] = frozenset(range(7))
    """Days of the week; 0 is Monday."""
    hours: tuple[Span, ...] = ((0, _MINUTES_OF_A_DAY),)
    closed: tuple[tuple[date, date], ...] = ()
    """First and last day of each exception without hours."""
    special: tuple[tuple[date, date, tuple[Span, ...]], ...] = ()
    """First day, last day and hours of each exception with its own hours.

    They take precedence over `closed`. A single day has these hours whatever `days` says; a period
    only on its days in `days`.
    """
    also: tuple["Schedule", ...] = ()
    """Further schedules; this one is open when any of them is: `hours: [office, saturday]`."""

    @property
    def names(self) -> str:
        """The names of the schedules: `office`, or `office, saturday`."""
        return ", ".join((self.name, *(each.name for each in self.also)))

    def holds(self, instant: datetime) -> bool:
        """Whether the schedule is open at an aware time. The minute of closing is outside."""
        try:
            local = instant.astimezone(self.zone)
            today, minute = local.date(), local.hour * 60 + local.minute
            return (
                self._opens(today, minute)
                or self._goes_on(today, minute)
                or any(each.holds(instant) for each in self.also)
            )
        except OverflowError:  # the first or last day of the calendar
            return False

    def next_opening(self, at: datetime) -> datetime | None:
        """Return the first open moment from `at` on, in UTC; None if there is none within 366 days."""
        moment = at.astimezone(UTC)
        try:
            end = moment + LOOKED_AHEAD
            while moment <= end:
                if self.holds(moment):
                    return moment
                moment = self.next_change(moment)
        except OverflowError:  # the end of the calendar
            pass
        return None

    def next_change(self, at: datetime) -> datetime:
        """Return a moment after `at`, in UTC, before which the schedule neither opens nor closes."""
        at = at.astimezone(UTC)
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        marks = {_MINUTES_OF_A_DAY, *(mark for span in self._all_hours() for mark in span)}
        mark = min(each for each in marks if each > minute)
        since = timedelta(seconds=local.second, microseconds=local.microsecond)
        until = at + (mark - minute) * _MINUTE - since
        own = _first_with_other_offset(at, until, self.zone) or until
        return min(own, *(each.next_change(at) for each in self.also)) if self.also else own

    def _opens(self, today: date, minute: int) -> bool:
        return any(
            begin <= minute < (end if begin < end else _MINUTES_OF_A_DAY)
            for begin, end in self.hours_of(today)
        )

    def _goes_on(self, today: date, minute: int) -> bool:
        """Whether hours that began the day before and go over midnight are still running."""
        if not any(minute < end < begin for begin, end in self._all_hours()):
            return False
        return any(minute < end < begin for begin, end in self.hours_of(today - _DAY))

    def _all_hours(self) -> tuple[Span, ...]:
        return (*self.hours, *(span for _, _, hours in self.special for span in hours))

    def hours_of(self, day: date) -> tuple[Span, ...]:
        """Return the open hours of a day; empty if it is closed."""
        for first, last, hours in self.special:
            if first <= day <= last and (first == last or day.weekday() in self.days):
                return hours
        if day.weekday() not in self.days:
            return ()
        return () if any(first <= day <= last for first, last in self.closed) else self.hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The `silence:` of the rules file: how long no chat may arrive before an alert, and in which schedules."""

    longer_than: timedelta
    within: tuple[Schedule, ...]
    """The schedules whose time counts; time in any of them counts."""

    @property
    def schedules(self) -> tuple[str, ...]:
        """The names of the schedules; empty if all time counts."""
        return tuple(each.name for each in self.within if each.name)

    def begins(self, last: datetime, now: datetime) -> datetime | None:
        """Return when the silence after `last` became too long; None if it is not too long by `now`. Both are aware."""
        left, at = self.longer_than, last.astimezone(UTC)
        while at < now:
            until = min(now, *(each.next_change(at) for each in self.within))
            if any(each.holds(at) for each in self.within):
                if left <= until - at:
                    return at + left
                left -= until - at
            at = until
        return None


def first_existing(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return when local clocks in `zone` first show this minute of this day, in UTC; 24 * 60 is the next midnight.

    Of a time that exists twice, it is the first; for a skipped time, the first existing minute after it.
    """
    wall = datetime(day.year, day.month, day.day) + minute * _MINUTE  # noqa: DTZ001 - on the wall
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # With the offset before the change it falls after the change, and the other way round.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_with_other_offset(before, moment, zone) or moment


def wall_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return `2026-12-04 18:00` in `zone`, or with its own offset, in UTC. Raises ValueError, OverflowError.

    Skipped and repeated times are handled as in `first_existing`.
    """
    wall = datetime.fromisoformat(_HOUR.sub(r"\g<1>0\2:", text.strip()))
    if wall.tzinfo is not None:
        return wall.astimezone(UTC)
    moment = first_existing(wall.date(), wall.hour * 60 + wall.minute, zone)
    return moment + timedelta(seconds=wall.second, microseconds=wall.microsecond)


def _first_with_other_offset(at: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the clocks change after `at` and up to `until`; None if they don't."""
    offset = at.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == offset:
        return None
    low, high = at.replace(microsecond=0), until
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        is_before = middle.astimezone(zone).utcoffset() == offset
        low, high = (middle, high) if is_before else (low, middle)
    return high
