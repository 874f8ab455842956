"""Parses values of a rules file, and writes values and suggestions for messages.

Each parser raises BadValue, which says what was written and what is allowed.
"""

import math
import re
from collections.abc import Iterable
from datetime import timedelta

from relay.destination import UNLIMITED, Rate, WhenUnsure
from relay.redaction import redact_line
from relay.text import clean_line, nearest

MAX_SHOWN = 80
"""The most characters of a value that a message shows."""


def shown(text: str) -> str:
    """Return a text of a rules file for a message: quoted, shortened, without secrets."""
    return f"'{redact_line(clean_line(text[:1000], MAX_SHOWN))}'"


def quoted(text: str) -> str:
    """Return a text of a chat or condition for an explanation, quoted and shortened."""
    return f"“{clean_line(text[:1000], MAX_SHOWN)}”"


def listed(words: Iterable[str], last: str = "or") -> str:
    """Return words as a list: `a`, `a or b`, `a, b or c`."""
    *most, end = list(words) or ["none"]
    return f"{', '.join(most)} {last} {end}" if most else end


def there_are(names: Iterable[str], limit: int = 12) -> str:
    """Return the existing names as a phrase: `there are: a, b, c`; with many names, a count of the rest."""
    words = [shown(name)[1:-1] for name in names]
    if not words:
        return "there are none"
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return f"there {'is' if len(words) == 1 else 'are'}: {', '.join(words[:limit])}{more}"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return a hint for an unknown name: the nearest names, or else all names."""
    names = list(candidates)
    near = nearest(word, names)
    return f"did you mean {listed(near)}?" if near else there_are(names)


_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def duration_words(value: timedelta) -> str:
    """Return a duration in words: `3 min 20 s`, `2 h`, `0 s`."""
    rest = abs(value.total_seconds())
    parts = []
    for unit, seconds in _UNITS:
        whole, rest = divmod(rest, seconds)
        if whole:
            parts.append(f"{int(whole)} {unit}")
    if rest or not parts:
        parts.append(f"{number_words(round(rest, 3))} s")
    return ("-" if value < timedelta(0) else "") + " ".join(parts)


def number_words(value: float) -> str:
    """Return a number as text: `4`, `4.5`; without exponent and trailing zeros."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return f"{value:.6f}".rstrip("0").rstrip(".")


_YES_NO = {"true": True, "yes": True, "false": False, "no": False}
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_DURATION = re.compile(r"(?:(\d{1,9}(?:\.\d{1,3})?)\s*(d|h|min|m|s))", re.IGNORECASE)
_RATE = re.compile(r"(\d{1,6})\s*/\s*(\d{0,6})\s*(s|sec|min|m|h)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_SIGNS = {"<=": "at_most", ">=": "at_least", "<": "less_than", ">": "more_than"}
_EMPTY_HINT = "for a field without a value write {empty: true}"


class BadValue(Exception):
    """Raised for an unusable value; has what was written and a hint of what is allowed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def yes_no(text: str) -> bool:
    """Parse a yes or no: `true`, `false`, `yes`, `no`, in any case. Raises BadValue."""
    if (value := _YES_NO.get(text.casefold())) is None:
        raise BadValue(f"expected true or false, got {_quoted(text)}")
    return value


def number(text: str) -> int | float:
    """Parse a number: `4`, `4.5`, `-1`. Raises BadValue."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise BadValue(f"expected a number, got {_quoted(text)}", _number_hint(text))
    value = float(text)
    return int(value) if value.is_integer() else value


def _number_hint(text: str) -> str:
    if between := re.fullmatch(r"(\d+)\s*(?:-|\.\.|to)\s*(\d+)", text):
        return f"write {{at_least: {between[1]}, at_most: {between[2]}}}"
    for sign, name in _SIGNS.items():
        if text.startswith(sign):
            return f"write {{{name}: {text[len(sign) :].strip()[:20]}}}"
    return _no_value_hint(text) or (
        "write it with a decimal point, such as 4.5" if "," in text else ""
    )


def when_unsure(text: str) -> WhenUnsure:
    """Parse the value of `when_unsure:`: `repeat`, `once`, `hold`. Raises BadValue."""
    try:
        return WhenUnsure(text.casefold())
    except ValueError:
        near = did_you_mean(text, WhenUnsure)
        hint = near if near.startswith("did") else "it says what follows when an answer was lost"
        raise BadValue(f"expected {listed(WhenUnsure)}, got {_quoted(text)}", hint) from None


def duration(text: str) -> timedelta:
    """Parse a duration: `90s`, `2m`, `1h30m`, `1d`. Raises BadValue."""
    rest = _DURATION.sub("", text).strip()
    if rest or not text.strip():
        message = f"expected a duration, got {_quoted(text)}"
        raise BadValue(message, _no_value_hint(text) or "write 90s, 2m or 1h30m")
    parts = ((float(count), unit.lower()) for count, unit in _DURATION.findall(text))
    return _within_reason(math.fsum(count * _SECONDS[unit] for count, unit in parts), text)


def text(value: str) -> str:
    """Return the text unchanged. Raises BadValue if it is empty."""
    if not value.strip():
        raise BadValue("expected a text, got nothing", _EMPTY_HINT)
    return value


def rate(text: str) -> Rate | None:
    """Parse a rate: `5/s`, `30/min`, `50/30s`; None for `unlimited`. Raises BadValue."""
    if text.strip().casefold() == "unlimited":
        return None
    match = _RATE.fullmatch(text.strip())
    if not match or not int(match[1]) or match[2] in {"0", "00"}:
        hint = "write 5/s, 30/min or unlimited"
        if re.match(r"\s*\d+\s+(per|an?|every)\b", text):
            hint += "; a rate only slows down, `limit: 5 per hour` collects the rest in a digest"
        raise BadValue(f"expected a rate, got {_quoted(text)}", hint)
    seconds = int(match[2] or 1) * _SECONDS[match[3].lower()]
    return Rate(int(match[1]), _within_reason(seconds, text))


def most_per_hour(text: str) -> int:
    """Parse the value of `most_per_hour:`: `200`; UNLIMITED for `unlimited`. Raises BadValue."""
    if text.strip().casefold() == "unlimited":
        return UNLIMITED
    if not re.fullmatch(r"[1-9]\d{0,5}", text.strip(), re.ASCII):
        per_hour = re.match(r"(\d{1,6})\s*(?:/|per|an|a)\s*h", text)
        hint = f"write {per_hour[1]}" if per_hour else "write 200, or unlimited"
        raise BadValue(f"expected how many in an hour, got {_quoted(text)}", hint)
    return int(text)


def _within_reason(seconds: float, written: str) -> timedelta:
    if seconds > 366 * 86400:
        raise BadValue(f"{shown(written)} is longer than a year")
    return timedelta(seconds=seconds)


def _no_value_hint(text: str) -> str:
    return _EMPTY_HINT if text.casefold() in {"", "~", "null", "none"} else ""


def _quoted(text: str) -> str:
    return shown(text) if text else "nothing"
