"""What a far end says: its words made fit to be shown, the wait it asks for made fit to be kept."""

import errno
import math
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from relay.redaction import redact_answer
from relay.text import clean_line
from relay.transports.tls import is_plain_text

MAX_WORDS = 300
MAX_TEXT = 100_000
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)


def in_its_words(text: str, secrets: Iterable[str] = ()) -> str:
    """What a far end said, on one line of at most 300 characters, without addresses, tokens or `secrets`."""
    # First: a control or a line's end within a secret would hide it.
    text = clean_line(text, MAX_TEXT)
    return clean_line(redact_answer(text[: 20 * MAX_WORDS], secrets), MAX_WORDS)


def unreachable(error: BaseException) -> str:
    """Why no connection was made: the cause in words, and the system's own words behind it."""
    said = str(getattr(error, "strerror", None) or error or type(error).__name__)
    if isinstance(error, socket.gaierror):
        passing = error.errno == socket.EAI_AGAIN
        cause = "its name can't be looked up now" if passing else "there is no host of this name"
    elif isinstance(error, UnicodeError):
        cause = "this is no host name"
    elif is_plain_text(error):
        cause = "this port does not encrypt"
    else:
        cause = _CAUSES.get(getattr(error, "errno", None) or 0, "")
    return f"could not be reached: {cause} ({said})" if cause else f"could not be reached: {said}"


_CAUSES = {
    errno.ECONNREFUSED: "nothing listens on this port",
    errno.ECONNRESET: "it dropped the connection",
    errno.EHOSTUNREACH: "no way leads there",
    errno.ENETUNREACH: "no way leads there",
    errno.ETIMEDOUT: "it did not answer in time",
}


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
