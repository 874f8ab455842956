"""Times of the week, and how long no chat came in within them.

Times of the week, such as office hours: when they hold, and how the rules file writes them.

How long no chat may come in before somebody is told. Only time within a schedule counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from relay.rules.reading.values import BadValue, shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_HINT = "write mon-fri, or [mon, wed, sat-sun]"
_DAY = timedelta(days=1)
_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-\u2013]\s*(\d{1,2})(?::(\d\d))?")
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:\s+to\s+(\d{4}-\d\d-\d\d))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hours of certain days, by the clock on the wall in `zone`: a change to summer time moves nothing."""

    name: str
    zone: ZoneInfo
    days: frozenset[int] = frozenset(range(7))
    """0 is Monday."""
    hours: tuple[tuple[int, int], ...] = ((0, 24 * 60),)
    """Minutes of the day, from and until. Until before from: over midnight, into the next day."""
    closed: tuple[tuple[date, date], ...] = ()
    """First and last day of each exception."""

    def holds(self, instant: datetime) -> bool:
        """Whether an aware time lies within. The minute at which the hours end is outside."""
        try:
            local = instant.astimezone(self.zone)
            today, minute = local.date(), local.hour * 60 + local.minute
            return any(self._within(today, minute, *hours) for hours in self.hours)
        except OverflowError:  # the first and the last day of the calendar
            return False

    def _within(self, today: date, minute: int, begin: int, end: int) -> bool:
        if begin < end:
            return begin <= minute < end and self._open(today)
        if minute >= begin:
            return self._open(today)
        # Hours over midnight belong to the day on which they begin.
        return minute < end and self._open(today - _DAY)

    def _open(self, day: date) -> bool:
        return day.weekday() in self.days and not any(
            first <= day <= last for first, last in self.closed
        )


def days(words: Iterable[str]) -> frozenset[int]:
    """`mon-fri`, `sat`, `fri-mon`; raises BadValue."""
    found: set[int] = set()
    for word in words:
        if len(word) > 40:
            raise BadValue(f"expected days, got {shown(word)}", _DAYS_HINT)
        first, dash, last = re.sub(r"\s*[-\u2013]\s*", "-", word.strip()).partition("-")
        begin = _day(first, word)
        length = (_day(last, word) - begin) % 7 if dash else 0
        found.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(found)


def _day(name: str, written: str) -> int:
    for names in (DAYS, _FULL):
        if name.casefold() in names:
            return names.index(name.casefold())
    raise BadValue(f"expected days, got {shown(written)}", _DAYS_HINT)


def hours(text: str) -> tuple[int, int]:
    """`08:00-17:00`, `22:00-06:00`, in minutes of the day; raises BadValue."""
    found = _HOURS.fullmatch(text.strip())
    begin = _minute(found[1], found[2]) if found else -1
    end = _minute(found[3], found[4]) if found else -1
    if min(begin, end) < 0 or begin == 24 * 60:
        raise BadValue(f"expected hours, got {shown(text)}", "write 08:00-17:00")
    if begin == end:
        raise BadValue(f"{shown(text)} ends when it begins", "for the whole day write 00:00-24:00")
    return begin, end


def _minute(hour: str, minute: str | None) -> int:
    value = int(hour) * 60 + int(minute or 0)
    return value if int(minute or 0) < 60 and value <= 24 * 60 else -1


def closed(text: str) -> tuple[date, date]:
    """`2026-12-24` or `2026-12-24 to 2027-01-01`; raises BadValue."""
    found = _DATES.fullmatch(text.strip())
    try:
        first = date.fromisoformat(found[1] if found else "")
        last = date.fromisoformat(found[2]) if found and found[2] else first
    except ValueError:
        raise BadValue(
            f"expected a day, got {shown(text)}",
            "write 2026-12-24, or 2026-12-24 to 2027-01-01",
        ) from None
    if last < first:
        raise BadValue(f"{shown(text)} ends before it begins")
    return first, last


_MINUTE = timedelta(minutes=1)
_ONE_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """`silence:` of the rules file."""

    longer_than: timedelta
    within: Schedule

    def begins(self, last: datetime, now: datetime) -> datetime | None:
        """When it had been silent for too long after `last`; None if it is not so by `now`. Both aware."""
        left, at = self.longer_than, last.astimezone(UTC)
        while at < now:
            until = min(_next_change(self.within, at), now)
            if self.within.holds(at):
                if left <= until - at:
                    return at + left
                left -= until - at
            at = until
        return None


def _next_change(schedule: Schedule, at: datetime) -> datetime:
    """A moment after `at` until which the schedule holds, or does not, without a change."""
    local = at.astimezone(schedule.zone)
    minute = local.hour * 60 + local.minute
    ends = {_ONE_DAY, *(mark for hours in schedule.hours for mark in hours)}
    within_minute = timedelta(seconds=local.second, microseconds=local.microsecond)
    until = at + (min(mark for mark in ends if mark > minute) - minute) * _MINUTE - within_minute
    if until.astimezone(schedule.zone).utcoffset() == local.utcoffset():
        return until
    # The clocks are changed in between: minute by minute until that is past.
    return at + _MINUTE - within_minute
