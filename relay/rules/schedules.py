"""How the rules file writes times of the week, and how long no chat may come in within them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from relay.rules.reading.values import BadValue, shown
from relay.timing.schedule import Schedule, Span

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_HINT = "write mon-fri, or [mon, wed, sat-sun]"
_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-\u2013]\s*(\d{1,2})(?::(\d\d))?")
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:\s+to\s+(\d{4}-\d\d-\d\d))?")


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


def hours(text: str) -> Span:
    """`08:00-17:00`, `22:00-06:00`, in minutes of the day; raises BadValue."""
    found = _HOURS.fullmatch(text.strip())
    begin = _minute(found[1], found[2]) if found else -1
    end = _minute(found[3], found[4]) if found else -1
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
    """`2026-12-24` or `2026-12-24 to 2027-01-01`; raises BadValue."""
    found = _DATES.fullmatch(text.strip())
    try:
        first = date.fromisoformat(found[1] if found else "")
        last = date.fromisoformat(found[2]) if found and found[2] else first
    except ValueError:
        raise BadValue(
            f"expected a day, got {shown(text)}",
            "write 2026-12-24, 2026-12-24 to 2027-01-01, or holidays CZ",
        ) from None
    if last < first:
        raise BadValue(f"{shown(text)} ends before it begins")
    return first, last


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """`silence:` of the rules file."""

    longer_than: timedelta
    within: tuple[Schedule, ...]
    """Time within any of them counts."""

    @property
    def schedules(self) -> tuple[str, ...]:
        """The names that the file gave; none where all time counts."""
        return tuple(each.name for each in self.within if each.name)

    def begins(self, last: datetime, now: datetime) -> datetime | None:
        """When it had been silent for too long after `last`; None if it is not so by `now`. Both aware."""
        left, at = self.longer_than, last.astimezone(UTC)
        while at < now:
            until = min(now, *(each.next_change(at) for each in self.within))
            if any(each.holds(at) for each in self.within):
                if left <= until - at:
                    return at + left
                left -= until - at
            at = until
        return None
