"""Times as people write them for a chat or a test case: `2026-11-21 23:30`, `sat 23:30`, `23:30`."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from relay.rules import schedules
from relay.rules.reading.values import BadValue, shown
from relay.timing.schedule import first_existing, wall_moment

PLAIN_DAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday: the week of `sat 23:30` for a chat that has no time of its own."""

_CLOCK = re.compile(r"(?:(?P<day>[A-Za-z]+)\s+)?(?P<hour>\d{1,2}):(?P<minute>\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,20}")
_HINT = "write 2026-11-21 23:30, sat 23:30 or 23:30"


AT_ONCE = "at once"
"""In the place of a time."""


def is_time(text: str) -> bool:
    """Whether it is written as a time is, rather than as an address."""
    return bool(_DATE.fullmatch(text.strip()) or _CLOCK.fullmatch(text.strip()))


def moment(text: str, zone: ZoneInfo, near: datetime | None) -> datetime:
    """`2026-11-21 23:30` in `zone`, or with an offset of its own; `sat 23:30` in the week of `near`; `23:30` on its day.

    Returns an aware time in UTC; raises BadValue.
    """
    try:
        return _moment(text.strip(), zone, near or PLAIN_DAY)
    except (ValueError, OverflowError):
        raise BadValue(f"{shown(text)} is not a time", _HINT) from None


def coming(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The first moment after `now` that `2026-11-21 23:30`, `sat 23:30` or `23:30` may mean; raises BadValue."""
    for days in (0, 1, 7):
        if (found := moment(text, zone, now + timedelta(days=days))) > now:
            return found
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
        return schedules.days([name])
    except BadValue:
        raise ValueError from None
