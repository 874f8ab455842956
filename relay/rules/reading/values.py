"""Texts of a rules file -> values. Each raises BadValue, which says what was there and what may be there."""

import math
import re
from datetime import timedelta

from relay.destination import UNLIMITED, Rate, WhenUnsure
from relay.rules.reading.phrases import did_you_mean, listed, shown

_YES_NO = {"true": True, "yes": True, "false": False, "no": False}
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_DURATION = re.compile(r"(?:(\d{1,9}(?:\.\d{1,3})?)\s*(d|h|min|m|s))", re.IGNORECASE)
_RATE = re.compile(r"(\d{1,6})\s*/\s*(\d{0,6})\s*(s|sec|min|m|h)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_SIGNS = {"<=": "at_most", ">=": "at_least", "<": "less_than", ">": "more_than"}
_EMPTY_HINT = "for a field without a value write {empty: true}"


class BadValue(Exception):
    """A value that can't be used."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def yes_no(text: str) -> bool:
    """`true`, `false`, `yes`, `no`, in any case."""
    if (value := _YES_NO.get(text.casefold())) is None:
        raise BadValue(f"expected true or false, got {_got(text)}")
    return value


def number(text: str) -> int | float:
    """`4`, `4.5`, `-1`."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise BadValue(f"expected a number, got {_got(text)}", _number_hint(text))
    value = float(text)
    return int(value) if value.is_integer() else value


def _number_hint(text: str) -> str:
    if between := re.fullmatch(r"(\d+)\s*(?:-|\.\.|to)\s*(\d+)", text):
        return f"write {{at_least: {between[1]}, at_most: {between[2]}}}"
    for sign, name in _SIGNS.items():
        if text.startswith(sign):
            return f"write {{{name}: {text[len(sign) :].strip()[:20]}}}"
    return _no_value_hint(text) or ("a decimal point is written as a point" if "," in text else "")


def when_unsure(text: str) -> WhenUnsure:
    """`repeat`, `once`, `hold`."""
    try:
        return WhenUnsure(text.casefold())
    except ValueError:
        near = did_you_mean(text, WhenUnsure)
        hint = near if near.startswith("did") else "it says what follows when an answer was lost"
        raise BadValue(f"expected {listed(WhenUnsure)}, got {_got(text)}", hint) from None


def duration(text: str) -> timedelta:
    """`90s`, `2m`, `1h30m`, `1d`."""
    rest = _DURATION.sub("", text).strip()
    if rest or not text.strip():
        what = f"expected a duration, got {_got(text)}"
        raise BadValue(what, _no_value_hint(text) or "write 90s, 2m or 1h30m")
    parts = ((float(count), unit.lower()) for count, unit in _DURATION.findall(text))
    return _within_reason(math.fsum(count * _SECONDS[unit] for count, unit in parts), text)


def text(value: str) -> str:
    """Any text but an empty one."""
    if not value.strip():
        raise BadValue("expected a text, got nothing", _EMPTY_HINT)
    return value


def rate(text: str) -> Rate | None:
    """`5/s`, `30/min`, `50/30s`; None for `unlimited`."""
    if text.strip().casefold() == "unlimited":
        return None
    found = _RATE.fullmatch(text.strip())
    if not found or not int(found[1]) or found[2] in {"0", "00"}:
        raise BadValue(f"expected a rate, got {_got(text)}", "write 5/s, 30/min or unlimited")
    seconds = int(found[2] or 1) * _SECONDS[found[3].lower()]
    return Rate(int(found[1]), _within_reason(seconds, text))


def most_per_hour(text: str) -> int:
    """`200`; UNLIMITED for `unlimited`."""
    if text.strip().casefold() == "unlimited":
        return UNLIMITED
    if not re.fullmatch(r"[1-9]\d{0,5}", text.strip(), re.ASCII):
        per_hour = re.match(r"(\d{1,6})\s*(?:/|per|an|a)\s*h", text)
        hint = f"write {per_hour[1]}" if per_hour else "write 200, or unlimited"
        raise BadValue(f"expected how many in an hour, got {_got(text)}", hint)
    return int(text)


def _within_reason(seconds: float, written: str) -> timedelta:
    if seconds > 366 * 86400:
        raise BadValue(f"{shown(written)} is longer than a year")
    return timedelta(seconds=seconds)


def _no_value_hint(text: str) -> str:
    return _EMPTY_HINT if text.casefold() in {"", "~", "null", "none"} else ""


def _got(text: str) -> str:
    return shown(text) if text else "nothing"
