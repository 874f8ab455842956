"""The wait that a server asks for in a Retry-After header."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)


def wait_asked(headers: Mapping[str, str], now: datetime, default: timedelta) -> timedelta:
    """Return the wait in a Retry-After header (seconds or an HTTP date), limited to 1 s to 1 h.

    Returns `default` for a missing or invalid header: a word, a negative number or a past date.
    """
    header = _header(headers)
    seconds = _seconds(header.strip(), now) if header else None
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return default
    if seconds >= LONGEST_WAIT.total_seconds():
        return LONGEST_WAIT
    return max(timedelta(seconds=seconds), SHORTEST_WAIT)


def wait_named(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return the wait that an answer other than "too many requests" asks for; None if it asks for none."""
    return wait_asked(headers, now, SHORTEST_WAIT) if _header(headers) else None


def _header(headers: Mapping[str, str]) -> str | None:
    """The Retry-After header, in any spelling."""
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def _seconds(header: str, now: datetime) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": no time zone given, which HTTP treats as GMT
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
