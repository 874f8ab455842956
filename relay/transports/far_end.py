"""What a far end says: its words made fit to be shown, the wait it asks for made fit to be kept."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from html import escape
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import regex

from relay.text import clean_line

MAX_WORDS = 300
MAX_TEXT = 100_000
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)

_URL = regex.compile(r"(?i)\b(https?://)[^\s/?#<>\"']+[^\s<>\"']*")
_TOKEN = regex.compile(r"\bxox[a-z.]*(?:-|%2[Dd])[\w.%-]+")


def in_its_words(text: str, secrets: Iterable[str] = ()) -> str:
    """What a far end said, on one line of at most 300 characters, without addresses, tokens or `secrets`."""
    # First: a control or a line's end within a secret would hide it.
    text = clean_line(text, MAX_TEXT)
    if known := tuple(secrets):
        text = _any_of(known).sub("***", text)
    text = _TOKEN.sub("xox***", _URL.sub(r"\1***", text[: 20 * MAX_WORDS]))
    return clean_line(text, MAX_WORDS)


@lru_cache(maxsize=64)
def _any_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Each as it is, and as it may be said back from within a URL, a form, JSON or a page."""
    found = {spelled for secret in secrets for spelled in _spellings(secret)}
    longest_first = sorted(found, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _spellings(secret: str) -> tuple[str, ...]:
    whole = quote(secret, safe="")
    quoted = json.dumps(secret)[1:-1]
    encoded = (quote(secret), quote_plus(secret), whole, quote(whole, safe=""))
    return (
        secret,
        clean_line(secret, MAX_TEXT),
        *encoded,
        quoted,
        quoted.replace("/", "\\/"),
        escape(secret),
    )


def secret_parts(url: str) -> tuple[str, ...]:
    """What of a webhook's URL must not be shown, longest first: a far end may echo just a part of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,)
    found = {url, parts.path, parts.query, *parts.path.split("/")}
    found.update(pair.partition("=")[2] for pair in parts.query.split("&"))
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
