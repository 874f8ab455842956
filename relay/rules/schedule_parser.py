"""Parses the days, hours and dates of schedules, and times such as `2026-11-21 23:30`, `sat 23:30` and `23:30`."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from relay.rules.reading.value_parsers import BadValue, shown
from relay.timing.schedule import Span, first_existing, wall_moment

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_HINT = "write mon-fri, or [mon, wed, sat-sun]"
_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-\u2013]\s*(\d{1,2})(?::(\d\d))?")
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:\s+to\s+(\d{4}-\d\d-\d\d))?")


def days(words: Iterable[str]) -> frozenset[int]:
    """Return the days of the week, 0 for Monday, in words such as `mon-fri`, `sat`, `fri-mon`. Raises BadValue."""
    numbers: set[int] = set()
    for word in words:
        if len(word) > 40:
            raise BadValue(f"expected days, got {shown(word)}", _DAYS_HINT)
        first, dash, last = re.sub(r"\s*[-\u2013]\s*", "-", word.strip()).partition("-")
        begin = _day(first, word)
        length = (_day(last, word) - begin) % 7 if dash else 0
        numbers.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(numbers)


def _day(name: str, written: str) -> int:
    for names in (DAYS, _FULL):
        if name.casefold() in names:
            return names.index(name.casefold())
    raise BadValue(f"expected days, got {shown(written)}", _DAYS_HINT)


def hours(text: str) -> Span:
    """Return the hours in `08:00-17:00` or `22:00-06:00`, in minutes of the day. Raises BadValue."""
    match = _HOURS.fullmatch(text.strip())
    begin = _minute(match[1], match[2]) if match else -1
    end = _minute(match[3], match[4]) if match else -1
    if min(begin, end) < 0 or begin == 24 * 60:
        several = text.count(":") > 2 or text.count(",")
        hint = "write a list: [08:00-12:00, 13:00-17:00]" if several else "write 08:00-17:00"
        raise BadValue(f"expected hours, got {shown(text)}", hint)
    if begin == end:
        raise BadValue(f"{shown(text)} ends when it begins", "for the whole day write 00:00-24:00")
    return begin, end


def _minute(hour: str, minute: str | None) -> int:
    value = int(hour) * 60 + int(minute or 0)
    return value if int(minute or 0) < 60 and value <= 24 * 60 else -1


def closed(text: str) -> tuple[date, date]:
    """Return the first and last day of `2026-12-24` or `2026-12-24 to 2027-01-01`. Raises BadValue."""
    match = _DATES.fullmatch(text.strip())
    try:
        first = date.fromisoformat(match[1] if match else "")
        last = date.fromisoformat(match[2]) if match and match[2] else first
    except ValueError:
        raise BadValue(
            f"expected a day, got {shown(text)}",
            "write 2026-12-24, 2026-12-24 to 2027-01-01, or holidays CZ",
        ) from None
    if last < first:
        raise BadValue(f"{shown(text)} ends before it begins")
    return first, last


PLAIN_DAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday whose week is used for `sat 23:30` if a chat has no time."""

_CLOCK = re.compile(r"(?:(?P<day>[A-Za-z]+)\s+)?(?P<hour>\d{1,2}):(?P<minute>\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,20}")
_HINT = "write 2026-11-21 23:30, sat 23:30 or 23:30"


AT_ONCE = "at once"
"""The word that is accepted in place of a time."""


def is_time(text: str) -> bool:
    """Whether a text has the form of a time rather than of an address."""
    return bool(_DATE.fullmatch(text.strip()) or _CLOCK.fullmatch(text.strip()))


def moment(text: str, zone: ZoneInfo, near: datetime | None) -> datetime:
    """Return the time that a text means, aware and in UTC. Raises BadValue.

    `2026-11-21 23:30` is in `zone` unless it has an offset; `sat 23:30` is in the week of `near`,
    and `23:30` on its day.
    """
    try:
        return _moment(text.strip(), zone, near or PLAIN_DAY)
    except (ValueError, OverflowError):
        raise BadValue(f"{shown(text)} is not a time", _HINT) from None


def next_moment(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the first moment after `now` that `2026-11-21 23:30`, `sat 23:30` or `23:30` means. Raises BadValue."""
    for later in (0, 1, 7):
        if (time := moment(text, zone, now + timedelta(days=later))) > now:
            return time
    raise BadValue(f"{shown(text)} is past", _HINT)


def _moment(text: str, zone: ZoneInfo, near: datetime) -> datetime:
    if _DATE.fullmatch(text):
        return wall_moment(text, zone)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise ValueError
    day = near.astimezone(zone).date()
    if clock["day"]:
        (weekday,) = _weekday(clock["day"])
        day += timedelta(days=weekday - day.weekday())
    at = time(int(clock["hour"]), int(clock["minute"]))
    return first_existing(day, at.hour * 60 + at.minute, zone)


def _weekday(name: str) -> frozenset[int]:
    try:
        return days([name])
    except BadValue:
        raise ValueError from None
