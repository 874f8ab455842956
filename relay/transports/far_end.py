"""What a far end says: its words made fit to be shown, the wait it asks for made fit to be kept."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlsplit

import regex

from relay.text import clean_line

MAX_WORDS = 300
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)

_URL = regex.compile(r"(?i)\b(https?://)[^\s/?#<>\"']+[^\s<>\"']*")
_TOKEN = regex.compile(r"\bxox[a-z.]*-[\w.-]+")


def in_its_words(text: str, secrets: Iterable[str] = ()) -> str:
    """What a far end said, on one line of at most 300 characters, without addresses, tokens or `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _TOKEN.sub("xox***", _URL.sub(r"\1***", text[: 20 * MAX_WORDS]))
    return clean_line(text, MAX_WORDS)


def secret_parts(url: str) -> tuple[str, ...]:
    """What of a webhook's URL must not be shown, longest first: a far end may echo just a part of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,)
    found = {url, parts.path, parts.query, *parts.path.split("/")}
    found.update(value for _, value in parse_qsl(parts.query))
    if parts.query:
        found.add(f"{parts.path}?{parts.query}")
    return tuple(sorted((part for part in found if len(part) >= 6), key=len, reverse=True))


def wait_named(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that an answer asks for beside anything but "too many"; None where it asks for none."""
    header = retry_after(headers)
    return wait_asked(header, now, SHORTEST_WAIT) if header else None


def retry_after(headers: Mapping[str, str]) -> str | None:
    """The Retry-After header, however its name is spelled."""
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def wait_asked(header: str | None, now: datetime, default: timedelta) -> timedelta:
    """The wait of a Retry-After header: seconds, a fraction of them or an HTTP date; from 1 s to 1 h.

    `default` where there is none, or one that says nothing (a word, a negative number, a date gone by).
    """
    seconds = _seconds(header.strip(), now) if header else None
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return default
    if seconds >= LONGEST_WAIT.total_seconds():
        return LONGEST_WAIT
    return max(timedelta(seconds=seconds), SHORTEST_WAIT)


def _seconds(header: str, now: datetime) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": no zone told, which HTTP takes for GMT
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
