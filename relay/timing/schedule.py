"""Times of the week, such as office hours: whether they hold, and when they next do, on days of a clock change too."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

Span = tuple[int, int]
"""Minutes of the day, from and until. Until before from: over midnight, into the next day."""

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_ONE_DAY = 24 * 60
_HOUR = re.compile(r"(?<=\d)([T ])(\d):")
LOOKED_AHEAD = 366 * _DAY
"""What does not open within this time is taken for something that never opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hours of certain days, by the clock on the wall in `zone`: a change to summer time moves nothing."""

    name: str
    zone: ZoneInfo
    days: frozenset[int] = frozenset(range(7))
    """0 is Monday."""
    hours: tuple[Span, ...] = ((0, _ONE_DAY),)
    closed: tuple[tuple[date, date], ...] = ()
    """First and last day of each exception without hours."""
    special: tuple[tuple[date, date, tuple[Span, ...]], ...] = ()
    """First and last day of each exception with hours of its own, and these hours.

    They hold before `closed`. A single day has them whatever `days` says; of several days only those of `days` do.
    """
    also: tuple["Schedule", ...] = ()
    """It holds where one of these does, too: `hours: [office, saturday]`."""

    @property
    def names(self) -> str:
        """`office`, or `office, saturday`."""
        return ", ".join((self.name, *(each.name for each in self.also)))

    def holds(self, instant: datetime) -> bool:
        """Whether an aware time lies within. The minute at which the hours end is outside."""
        try:
            local = instant.astimezone(self.zone)
            today, minute = local.date(), local.hour * 60 + local.minute
            return (
                self._opens(today, minute)
                or self._goes_on(today, minute)
                or any(each.holds(instant) for each in self.also)
            )
        except OverflowError:  # the first and the last day of the calendar
            return False

    def next_opening(self, at: datetime) -> datetime | None:
        """The first moment at or after `at` that lies within, in UTC; None where there is none for 366 days."""
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
        """A moment after `at`, in UTC, until which the schedule holds, or does not, without a change."""
        at = at.astimezone(UTC)
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        marks = {_ONE_DAY, *(mark for span in self._all_hours() for mark in span)}
        mark = min(each for each in marks if each > minute)
        since = timedelta(seconds=local.second, microseconds=local.microsecond)
        until = at + (mark - minute) * _MINUTE - since
        own = _first_with_other_offset(at, until, self.zone) or until
        return min(own, *(each.next_change(at) for each in self.also)) if self.also else own

    def _opens(self, today: date, minute: int) -> bool:
        return any(
            begin <= minute < (end if begin < end else _ONE_DAY)
            for begin, end in self.hours_of(today)
        )

    def _goes_on(self, today: date, minute: int) -> bool:
        """Whether hours that began the day before, and go over midnight, have not ended yet."""
        if not any(minute < end < begin for begin, end in self._all_hours()):
            return False
        return any(minute < end < begin for begin, end in self.hours_of(today - _DAY))

    def _all_hours(self) -> tuple[Span, ...]:
        return (*self.hours, *(span for _, _, hours in self.special for span in hours))

    def hours_of(self, day: date) -> tuple[Span, ...]:
        """When it holds on a day; empty where it does not."""
        for first, last, hours in self.special:
            if first <= day <= last and (first == last or day.weekday() in self.days):
                return hours
        if day.weekday() not in self.days:
            return ()
        return () if any(first <= day <= last for first, last in self.closed) else self.hours


def first_existing(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """When the clock on the wall in `zone` first shows this minute of this day, in UTC; 24 * 60 is the next midnight.

    A time that exists twice is the first of the two. One that a clock change leaves out is the first existing minute after it.
    """
    wall = datetime(day.year, day.month, day.day) + minute * _MINUTE  # noqa: DTZ001 - on the wall
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # Read by the offset before the change it lies after the change, and the other way round.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_with_other_offset(before, moment, zone) or moment


def wall_moment(text: str, zone: ZoneInfo) -> datetime:
    """`2026-12-04 18:00` on the wall in `zone`, or with an offset of its own, in UTC; raises ValueError, OverflowError.

    What a clock change leaves out or repeats is as `first_existing` has it.
    """
    found = datetime.fromisoformat(_HOUR.sub(r"\g<1>0\2:", text.strip()))
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    moment = first_existing(found.date(), found.hour * 60 + found.minute, zone)
    return moment + timedelta(seconds=found.second, microseconds=found.microsecond)


def _first_with_other_offset(at: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment after `at`, up to `until`, at which the clocks are changed; None if they are not."""
    offset = at.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == offset:
        return None
    low, high = at.replace(microsecond=0), until
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        is_before = middle.astimezone(zone).utcoffset() == offset
        low, high = (middle, high) if is_before else (low, middle)
    return high
