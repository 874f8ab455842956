"""Hook bytes -> a JSON object, within bounds, or a refusal that says why."""

import json
import math
import re
from typing import NoReturn

import msgspec

MAX_DEPTH = 64
MAX_DIGITS = 4_000
"""Most digits of a number; Python refuses 4,300."""

_STRINGS = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)')
"""One that does not end reaches to the end, so that each byte is looked at once."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class UnreadableHook(Exception):
    """The bytes are not a JSON object, or nested too deep. Says why, in a few words."""


def parse_object(body: bytes) -> dict[str, Json]:
    """Raises UnreadableHook, and nothing else."""
    check_depth(body)
    return decode_object(body)


def check_depth(body: bytes) -> None:
    """Raises UnreadableHook for what is nested too deep.

    Before it is decoded: decoders go one level deeper on the stack for each, and a small stack ends the process. For
    JSON it is exact. Where something is none, a decoder stops there, and has not gone deeper before.
    """
    # Fewer brackets than levels allowed: no need to look how they are nested.
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            raise UnreadableHook(f"nested deeper than {MAX_DEPTH} levels")


def decode_object(body: bytes) -> dict[str, Json]:
    """The JSON object in bytes that `check_depth` let pass. Raises UnreadableHook."""
    wire = _decode(body)
    if not isinstance(wire, dict):
        raise UnreadableHook(f"expected a JSON object, got {in_words(wire)}")
    return wire


def _decode(body: bytes) -> Json:
    try:
        decoded: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_slowly(body)
    return decoded


def _decode_slowly(body: bytes) -> Json:
    """What msgspec refuses though JSON's grammar allows it: lone surrogates, huge numbers, a BOM before it."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableHook(
            f"not UTF-8: byte {error.start} is 0x{body[error.start]:02x}"
        ) from None
    try:
        # Numbers that are too large to be any are texts: an id must not be rounded.
        decoded: Json = json.loads(
            text, parse_constant=_no_constant, parse_int=_int, parse_float=_float
        )
    except json.JSONDecodeError as error:
        raise UnreadableHook(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    return decoded


def _no_constant(name: str) -> NoReturn:
    raise UnreadableHook(f"not JSON: {name} is not a JSON number")


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) < MAX_DIGITS else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def in_words(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {str(value)[:20]}"
        case str():
            return f"the text {value[:20]!r}" if value.isascii() else "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
