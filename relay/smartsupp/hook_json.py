"""Parses the JSON of a hook within limits, and describes the hook as Smartsupp documents it.

Only this module has Smartsupp's field names. A hook of the documented format is decoded in one
pass; `lenient` fills the same structs from any other.
"""

import json
import math
import re
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn, get_args

import msgspec
from msgspec import Meta, Struct

MAX_DEPTH = 64
MAX_DIGITS = 4_000
"""The most digits of a number; Python refuses more than 4,300."""

_STRINGS = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)')
"""JSON strings. An unterminated one matches to the end, so that each byte is examined once."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class UnreadableHook(Exception):
    """Raised for bytes that are no JSON object or are nested too deep; the text gives the reason."""


def parse_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object in a hook's bytes. Raises only UnreadableHook."""
    check_depth(body)
    return decode_object(body)


def check_depth(body: bytes) -> None:
    """Raise UnreadableHook if JSON is nested too deep.

    Checked before decoding, because decoders use stack for each level and may crash the process.
    The check is exact for valid JSON; with invalid JSON, a decoder stops before it reaches a
    greater depth.
    """
    # Fewer brackets than allowed levels: their nesting need not be examined.
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            raise UnreadableHook(f"nested deeper than {MAX_DEPTH} levels")


def decode_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object in bytes that passed `check_depth`. Raises UnreadableHook."""
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
    """Decode JSON that msgspec refuses although the grammar allows it: lone surrogates, huge numbers, a BOM."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableHook(
            f"not UTF-8: byte {error.start} is 0x{body[error.start]:02x}"
        ) from None
    try:
        # Numbers that are too large become texts: an ID must not be rounded.
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
    """Return a short description of a JSON value for an oddity: `the number 4`, `a list`."""
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


MAX_OBJECTS = 10_000
"""The most messages or pages of a chat that are read, half from the start and half from the end. A
hook could hold 300,000.
"""
MAX_VARIABLES = 1_000
MAX_NUMBER = 2**53
"""Whole numbers below this are exact in every language and database."""
EARLIEST, LATEST = 10**11, 253_402_300_800_000
"""The allowed times in milliseconds since 1970: from 1973, since smaller numbers are seconds, to the year 9999."""

# The types of values that need no conversion. `lenient` has a reader for each.
Flag = bool | None
Name = int | str | None
Text = str | None
Number = Annotated[int, Meta(gt=-MAX_NUMBER, lt=MAX_NUMBER)] | None
Count = Annotated[int, Meta(ge=0, lt=MAX_NUMBER)] | None
Seconds = Annotated[int, Meta(gt=-(10**9), lt=10**9)] | None
Milliseconds = Annotated[int, Meta(ge=EARLIEST, lt=LATEST)] | None
"""A time in milliseconds since 1970."""
Scalar = bool | int | float | str | None
Author = Literal["visitor", "agent", "system"]
AUTHORS = get_args(Author)


class Message(Struct, kw_only=True):
    """A message of a chat as Smartsupp writes it; any key may be missing."""

    type: Author
    name: Text = None
    content: Text = None
    sentAt: Milliseconds = None
    triggeredBy: Text = None


class Page(Struct, kw_only=True):
    """A visited page as Smartsupp writes it."""

    url: Text = None
    title: Text = None


class Variable(Struct, kw_only=True):
    """A variable of the visitor as Smartsupp writes it."""

    label: Text = None
    value: Scalar = None


Messages = Annotated[list[Message], Meta(max_length=MAX_OBJECTS)]
Pages = Annotated[list[Page], Meta(max_length=MAX_OBJECTS)]
Variables = (
    Annotated[dict[str, Variable], Meta(max_length=MAX_VARIABLES)]
    | Annotated[list[Variable], Meta(max_length=0)]
)
"""The variables of a visitor. PHP writes an empty object as []."""


class Visitor(Struct, kw_only=True):
    """The visitor as Smartsupp writes it; any key may be missing."""

    id: Name = None
    name: Text = None
    email: Text = None
    note: Text = None
    group: Text = None
    groupKey: Text = None
    ipAddress: Text = None
    city: Text = None
    countryCode: Text = None
    country: Text = None
    platform: Text = None
    userAgent: Text = None
    referer: Text = None
    variables: Variables = []


class Channel(Struct, kw_only=True):
    """The chat itself as Smartsupp writes it; any key may be missing."""

    id: Name = None
    isMissed: Flag = None
    isOffline: Flag = None
    isDropped: Flag = None
    isCompleted: Flag = None
    isTriggered: Flag = None
    isChat: Flag = None
    duration: Seconds = None
    firstResponse: Seconds = None
    avgResponse: Seconds = None
    messagesCount: Count = None
    wordsCount: Count = None
    rating: Number = None
    ratingDesc: Text = None


class Hook(Struct, kw_only=True):
    """A hook as Smartsupp posts it."""

    channel: Channel
    accountId: Name = None
    beginAt: Milliseconds = None
    endAt: Milliseconds = None
    visitor: Visitor
    paths: Pages = []
    messages: Messages = []


_documented_decode = msgspec.json.Decoder(Hook).decode


def decoded(body: bytes) -> Hook | None:
    """Return the hook if its format is exactly the documented one; else None.

    Bytes that may be nested too deep must first pass `check_depth`.
    """
    try:
        if not body.isascii():
            body.decode()  # the decoder skips fields that are not in the struct
        return _documented_decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def as_of_now(hook: bytes, now: datetime, *, chat: int | None = None) -> bytes:
    """Return a hook's bytes with its chat ended at `now`, and with the number `chat` if given.

    Bytes that are no hook are returned unchanged.
    """
    try:
        read = json.loads(hook)
        shift = int(now.timestamp() * 1000) - int(read["endAt"])
        if chat is not None:
            read["channel"]["id"] = chat
    except (ValueError, KeyError, TypeError, RecursionError):
        return hook
    return json.dumps(_moved(read, shift)).encode()


def _moved(value: Any, shift: int, name: str = "") -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _moved(each, shift, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, shift) for each in value]
    return value + shift if name.endswith("At") and isinstance(value, int) else value
