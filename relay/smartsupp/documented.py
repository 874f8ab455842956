"""The hook as Smartsupp documents it: every name of the wire, spelled here and nowhere else.

A hook of exactly this shape is decoded in one pass. `lenient` fills in the same structs from any other.
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

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


_decode = msgspec.json.Decoder(Hook).decode


def decoded(body: bytes) -> Hook | None:
    """None for a body of any other shape, or of none. Nested deeper than the stack: see `hook_json.check_depth`."""
    try:
        if not body.isascii():
            body.decode()  # what is not asked for, the decoder passes by
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
