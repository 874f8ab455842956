"""Hook bytes -> JSON within bounds, or a refusal that says why; and the hook as Smartsupp documents it.

Every name of the wire is spelled here and nowhere else. A hook of exactly the documented shape is decoded in one pass;
`lenient` fills in the same structs from any other.
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
"""Most digits of a number; Python refuses 4,300."""

_STRINGS = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)')
"""One that does not end reaches to the end, so that each byte is looked at once."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class UnreadableHook(Exception):
    """The bytes are not a JSON object, or nested too deep. Says why, in a few words."""


def parse_object(body: bytes) -> dict[str, Json]:
    """The JSON object in a hook's bytes. Raises UnreadableHook, and nothing else."""
    check_depth(body)
    return decode_object(body)


def check_depth(body: bytes) -> None:
    """Raise UnreadableHook for bytes whose JSON is nested too deep.

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


MAX_OBJECTS = 10_000
"""Messages or pages of one chat that are read: the first and the last half; a hook of empty ones holds 300,000."""
MAX_VARIABLES = 1_000
MAX_NUMBER = 2**53
"""Below it, whole numbers are exact in every language and database."""
EARLIEST, LATEST = 10**11, 253_402_300_800_000
"""Milliseconds since 1970: from 1973, for what is less was meant in seconds, to the end of the calendar, the year 9999."""

# The kinds of values, each in the form that needs no second look. `lenient` has a reader for each.
Flag = bool | None
Name = int | str | None
Text = str | None
Number = Annotated[int, Meta(gt=-MAX_NUMBER, lt=MAX_NUMBER)] | None
Count = Annotated[int, Meta(ge=0, lt=MAX_NUMBER)] | None
Seconds = Annotated[int, Meta(gt=-(10**9), lt=10**9)] | None
Milliseconds = Annotated[int, Meta(ge=EARLIEST, lt=LATEST)] | None
"""Since 1970."""
Scalar = bool | int | float | str | None
Author = Literal["visitor", "agent", "system"]
AUTHORS = get_args(Author)


class Message(Struct, kw_only=True):
    type: Author
    name: Text = None
    content: Text = None
    sentAt: Milliseconds = None
    triggeredBy: Text = None


class Page(Struct, kw_only=True):
    url: Text = None
    title: Text = None


class Variable(Struct, kw_only=True):
    label: Text = None
    value: Scalar = None


Messages = Annotated[list[Message], Meta(max_length=MAX_OBJECTS)]
Pages = Annotated[list[Page], Meta(max_length=MAX_OBJECTS)]
Variables = (
    Annotated[dict[str, Variable], Meta(max_length=MAX_VARIABLES)]
    | Annotated[list[Variable], Meta(max_length=0)]
)
"""PHP writes an empty object as []."""


class Visitor(Struct, kw_only=True):
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
    channel: Channel
    accountId: Name = None
    beginAt: Milliseconds = None
    endAt: Milliseconds = None
    visitor: Visitor
    paths: Pages = []
    messages: Messages = []


_documented_decode = msgspec.json.Decoder(Hook).decode


def decoded(body: bytes) -> Hook | None:
    """A hook of exactly the documented shape; None for any other body.

    One that may be nested too deep must pass `check_depth` first.
    """
    try:
        if not body.isascii():
            body.decode()  # what is not asked for, the decoder passes by
        return _documented_decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def as_of_now(hook: bytes, now: datetime, *, chat: int | None = None) -> bytes:
    """A hook's bytes as if its chat had just ended; `chat`: under another number. What is no hook stays as it is."""
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
