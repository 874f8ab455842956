"""Hook bytes -> a JSON object, within bounds, or a refusal that says why."""

import json
from typing import NoReturn

import msgspec

MAX_DEPTH = 64

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class UnreadableHook(Exception):
    """The bytes are not a JSON object, or nested too deep. Says why, in a few words."""


def parse_object(body: bytes) -> dict[str, Json]:
    """Raises UnreadableHook, and nothing else."""
    try:
        wire = _decode(body)
    except RecursionError:
        raise UnreadableHook(f"nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(wire, dict):
        raise UnreadableHook(f"expected a JSON object, got {in_words(wire)}")
    # Fewer brackets than levels allowed: no need to look how they are nested.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _refuse_depth(wire)
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


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else _float(digits)


def _float(digits: str) -> float:
    return float(digits)


def _refuse_depth(wire: Json) -> None:
    level: list[Json] = [wire]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[union-attr]
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise UnreadableHook(f"nested deeper than {MAX_DEPTH} levels")


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
