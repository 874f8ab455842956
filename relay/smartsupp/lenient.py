"""Converts any JSON object to the documented format of a hook. Values that don't fit are left out and reported."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import fields

from relay.smartsupp import hook_json as wire
from relay.smartsupp.hook_json import Json, in_words
from relay.text import clean_line, is_blank

MAX_ODDITIES = 20
LONGEST = 10**13
"""The most seconds that a timedelta can hold."""
_AS_DOCUMENTED = "milliseconds since 1970"
_OTHER_UNITS = {"seconds": 1, "microseconds": 10**6, "nanoseconds": 10**9}
"""How many units make a second, by the unit's name."""
_SINCE, _UNTIL = 1_262_304_000, 4_102_444_800
"""Years 2010 and 2100: between them, the unit of a time can be recognised by its size."""

S = TypeVar("S", bound=Struct)


class LenientReader:
    """Reads one hook. A wrong type is an oddity; a missing key or null is not."""

    def __init__(self) -> None:
        self._oddities: dict[str, None] = {}

    @property
    def oddities(self) -> tuple[str, ...]:
        """The oddities of the hook, such as `channel.rating: expected a number, got a list`.

        Only the first few, without duplicates.
        """
        return tuple(self._oddities)

    def hook(self, members: Mapping[str, Json]) -> wire.Hook:
        """Return the hook in the documented format, whatever the JSON contains. Never fails."""
        return self._struct(wire.Hook, members, "")

    def _struct(self, kind: type[S], members: Mapping[str, Json], path: str) -> S:
        values = {
            name: read(self, members.get(name), f"{path}{name}") for name, read in _readers(kind)
        }
        return kind(**values)

    def _odd(self, path: str, expected: str, value: Json) -> None:
        self._note(f"{path}: expected {expected}, got {in_words(value)}")

    def _note(self, words: str) -> None:
        if len(self._oddities) < MAX_ODDITIES:
            self._oddities[words] = None

    # -- values of any type ------------------------------------------------------------------------------------

    def flag(self, value: Json, path: str) -> bool | None:
        """Return true or false, also from 0, 1 and text; None if it is missing or invalid."""
        if _is_missing(value):
            return None
        if isinstance(value, bool):
            return value
        if value in (0, 1, "0", "1", "true", "false"):
            return value in (1, "1", "true")
        self._odd(path, "true or false", value)
        return None

    def number(self, value: Json, path: str) -> int | float | None:
        """Return a number, also from text; None if it is missing or invalid."""
        if _is_missing(value):
            return None
        number = _as_number(value)
        if number is None or abs(number) >= wire.MAX_NUMBER:
            self._odd(path, "a number", value)
            return None
        return number

    def count(self, value: Json, path: str) -> int | None:
        """Return a whole number; fractions are cut off. None if it is missing or invalid."""
        number = self.number(value, path)
        return None if number is None else int(number)

    def seconds(self, value: Json, path: str) -> int | float | None:
        """Return a duration in seconds; None if it is missing or too long for a timedelta."""
        number = self.number(value, path)
        if number is None or abs(number) < LONGEST:
            return number
        self._odd(path, "a duration in seconds", value)
        return None

    def time(self, value: Json, path: str) -> int | float | None:
        """Return a time in any unit or format as milliseconds since 1970; None if it is invalid."""
        if _is_missing(value):
            return None
        milliseconds, written_in = _since_1970(value)
        if milliseconds is None:
            self._odd(path, _AS_DOCUMENTED, value)
        elif written_in != _AS_DOCUMENTED:
            self._note(f"{path}: expected {_AS_DOCUMENTED}, got {written_in}")
        return milliseconds

    def name(self, value: Json, path: str) -> int | str | None:
        """Return an ID, which is a number or text; None if it is missing or invalid."""
        if isinstance(value, float):
            return int(value) if value.is_integer() and abs(value) < wire.MAX_NUMBER else str(value)
        if isinstance(value, bool | list | dict):
            self._odd(path, "a number or text", value)
            return None
        return value

    def text(self, value: Json, path: str) -> str | None:
        """Return a text; numbers become texts. None if it is missing or invalid."""
        if value is None or isinstance(value, str):
            return value
        self._odd(path, "text", value)
        return str(value) if isinstance(value, int | float) else None

    def author(self, value: Json, path: str) -> str:
        """Return the type of a message's author; an unknown type is kept and reported."""
        kind = clean_line(self.text(value, path) or "")
        if kind not in wire.AUTHORS:
            self._odd(path, "'visitor', 'agent' or 'system'", value)
        return kind

    def scalar(self, value: Json, path: str) -> bool | int | float | str | None:
        """Return a text, number or boolean; None for any other value."""
        if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return self.text(value, path)

    # -- objects and lists of them ---------------------------------------------------------------------------

    def _members(self, value: Json, path: str) -> Mapping[str, Json]:
        if isinstance(value, dict):
            return value
        if value is not None and value != []:  # PHP writes an empty object as []
            self._odd(path, "an object", value)
        return {}

    def struct(self, kind: type[S], value: Json, path: str) -> S:
        """Return an object as a struct whose fields are read leniently."""
        return self._struct(kind, self._members(value, path), f"{path}.")

    def structs(self, kind: type[S], value: Json, path: str) -> list[S]:
        """Return a list of objects as structs, without the middle of a very long list."""
        if not isinstance(value, list):
            if value is not None:
                self._odd(path, "a list of objects", value)
            return []
        items = list(enumerate(value))
        if len(items) > wire.MAX_OBJECTS:
            self._note(f"{path}: {len(items)} of them; the middle was not read")
            items = items[: wire.MAX_OBJECTS // 2] + items[-wire.MAX_OBJECTS // 2 :]
        objects = []
        for index, item in items:
            if isinstance(item, dict):
                objects.append(self._struct(kind, item, f"{path}[{index}]."))
            else:
                self._odd(f"{path}[{index}]", "an object", item)
        return objects

    def variables(self, value: Json, path: str) -> dict[str, wire.Variable]:
        """Return the visitor's variables by key; a bare value becomes the `value` of a variable."""
        members = self._members(value, path)
        if len(members) > wire.MAX_VARIABLES:
            self._note(
                f"{path}: {len(members)} of them; only the first {wire.MAX_VARIABLES} were read"
            )
        return {
            name: self._struct(
                wire.Variable,
                member if isinstance(member, dict) else {"value": member},
                f"{path}.{clean_line(name, 40)}.",
            )
            for name, member in islice(members.items(), wire.MAX_VARIABLES)
        }


_Read = Callable[[LenientReader, Json, str], Any]


def _structs(kind: type[Struct]) -> _Read:
    return lambda reader, value, path: reader.structs(kind, value, path)


def _struct(kind: type[Struct]) -> _Read:
    return lambda reader, value, path: reader.struct(kind, value, path)


_READERS: Mapping[object, _Read] = {
    wire.Flag: LenientReader.flag,
    wire.Number: LenientReader.number,
    wire.Count: LenientReader.count,
    wire.Seconds: LenientReader.seconds,
    wire.Milliseconds: LenientReader.time,
    wire.Name: LenientReader.name,
    wire.Text: LenientReader.text,
    wire.Author: LenientReader.author,
    wire.Scalar: LenientReader.scalar,
    wire.Variables: LenientReader.variables,
    wire.Messages: _structs(wire.Message),
    wire.Pages: _structs(wire.Page),
    wire.Channel: _struct(wire.Channel),
    wire.Visitor: _struct(wire.Visitor),
}
"""The reader for each type of field in `hook_json`."""


@cache
def _readers(kind: type[Struct]) -> tuple[tuple[str, _Read], ...]:
    return tuple((field.name, _READERS[field.type]) for field in fields(kind))


def _is_missing(value: Json) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))


def _as_number(value: Json) -> int | float | None:
    """Return a number, or the number that a text spells; None if it is unreasonably large."""
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        if number.is_integer() and abs(number) < wire.MAX_NUMBER:
            number = int(number)
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 10**20:
        return None
    return number


def _since_1970(value: Json) -> tuple[int | float | None, str]:
    """Return a time in milliseconds since 1970 and its original unit; None if it is invalid or before 1973."""
    number = _as_number(value)
    if number is not None:
        if wire.EARLIEST <= number < wire.LATEST:
            return number, _AS_DOCUMENTED
        for unit, in_a_second in _OTHER_UNITS.items():
            if _SINCE * in_a_second <= number < _UNTIL * in_a_second:
                return number * 1000 / in_a_second, unit
    milliseconds = _iso(value) if isinstance(value, str) else None
    if milliseconds is None or not wire.EARLIEST <= milliseconds < wire.LATEST:
        return None, ""
    return milliseconds, "a date and time"


def _iso(text: str) -> float | None:
    """Return the milliseconds since 1970 of an ISO 8601 text, in UTC unless it names a time zone; None if invalid."""
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
