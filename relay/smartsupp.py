"""Hook bytes -> Chat: the only place that spells the wire (docs/glossary.md has both names).

Lenient by design: JSON that is an object is always a chat, however its shape has changed. What did not fit
is left out and named in `Chat.oddities`; the raw bytes are kept elsewhere.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.hook_json import Json, UnreadableHook, in_words, parse_object
from relay.text import clean, clean_line

__all__ = ["UnreadableHook", "read_chat"]

MAX_TEXT = 100_000
"""Characters of one message that are kept in the chat (the raw bytes keep all)."""
MAX_OBJECTS = 10_000
"""Messages or pages of one chat that are read: the first and the last half; a hook of empty ones holds 300,000."""
MAX_VARIABLES = 1_000
MAX_ODDITIES = 20
MAX_ID = 100

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_chat(body: bytes) -> Chat:
    """Raises UnreadableHook, and nothing else."""
    wire = parse_object(body)
    oddities = _Oddities()
    channel = _Reader(wire, "", oddities).object("channel")
    root = _Reader(wire, "", oddities)
    return Chat(
        account=root.identifier("accountId") or "unknown",
        # Without an id the bytes themselves are the identity: the same hook twice is still one chat.
        id=channel.identifier("id") or f"sha256-{hashlib.sha256(body).hexdigest()[:16]}",
        began=root.time("beginAt"),
        ended=root.time("endAt"),
        missed=channel.flag("isMissed"),
        offline=channel.flag("isOffline"),
        dropped=channel.flag("isDropped"),
        completed=channel.flag("isCompleted"),
        triggered=channel.flag("isTriggered"),
        answered_chat=channel.flag("isChat"),
        duration=channel.seconds("duration"),
        first_response=channel.seconds("firstResponse"),
        average_response=channel.seconds("avgResponse"),
        message_count=channel.count("messagesCount"),
        word_count=channel.count("wordsCount"),
        rating=channel.number("rating"),
        rating_comment=channel.text("ratingDesc"),
        visitor=_visitor(root.object("visitor")),
        pages=tuple(
            Page(url=page.line("url", 2000), title=page.line("title"))
            for page in root.objects("paths")
        ),
        messages=tuple(_message(message) for message in root.objects("messages")),
        oddities=oddities.found(),
    )


def _visitor(wire: "_Reader") -> Visitor:
    return Visitor(
        id=wire.identifier("id"),
        name=wire.line("name"),
        email=wire.line("email"),
        note=wire.text("note"),
        group=wire.line("group") or wire.line("groupKey"),
        ip=wire.line("ipAddress"),
        city=wire.line("city"),
        country_code=wire.line("countryCode"),
        country=wire.line("country"),
        platform=wire.line("platform"),
        user_agent=wire.line("userAgent"),
        referer=wire.line("referer", 2000),
        variables=_variables(wire),
    )


def _variables(visitor: "_Reader") -> Mapping[str, Variable]:
    found = {}
    for key, wire in visitor.entries("variables"):
        value = wire.scalar("value")
        found[clean_line(key)] = Variable(label=wire.line("label") or clean_line(key), value=value)
    return found


_AUTHORS = {"visitor": Author.VISITOR, "agent": Author.AGENT, "system": Author.SYSTEM}


def _message(wire: "_Reader") -> Message:
    kind = wire.line("type")
    author = _AUTHORS.get(kind, Author.UNKNOWN)
    if author is Author.UNKNOWN:
        wire.odd("type", "'visitor', 'agent' or 'system'")
    trigger = wire.line("triggeredBy")
    if trigger and author is Author.AGENT:
        author = Author.AUTOMATIC
    return Message(
        author=author,
        name=wire.line("name"),
        text=wire.text("content"),
        sent_at=wire.time("sentAt"),
        trigger=trigger,
    )


# -- JSON -> values, never failing --------------------------------------------------------------------------


class _Oddities:
    """What did not have the documented shape; the first few are named, all are survived."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, path: str, expected: str, got: Json) -> None:
        if len(self._found) < MAX_ODDITIES:
            self.note(f"{path}: expected {expected}, got {in_words(got)}")

    def note(self, words: str) -> None:
        if len(self._found) < MAX_ODDITIES:
            self._found[words] = None

    def found(self) -> tuple[str, ...]:
        return tuple(self._found)


class _Reader:
    """One JSON object, read key by key. A missing key or null is no oddity; a wrong type is."""

    __slots__ = ("_oddities", "_path", "_wire")

    def __init__(self, wire: Mapping[str, Json], path: str, oddities: _Oddities) -> None:
        self._wire = wire
        self._path = path
        self._oddities = oddities

    def odd(self, key: str, expected: str) -> None:
        self._oddities.add(f"{self._path}{key}", expected, self._wire.get(key))

    def flag(self, key: str) -> bool | None:
        value = self._wire.get(key)
        if value is None or isinstance(value, bool):
            return value
        if value in (0, 1, "0", "1", "true", "false"):
            return value in (1, "1", "true")
        self.odd(key, "true or false")
        return None

    def number(self, key: str) -> int | float | None:
        value = self._wire.get(key)
        if type(value) is int and -(2**53) < value < 2**53:  # as documented; a bool is an int too
            return value
        if isinstance(value, str) and value.strip():
            value = _number_in(value)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _usable(value):
            self.odd(key, "a number")
            return None
        return value

    def count(self, key: str) -> int | None:
        value = self.number(key)
        return None if value is None else int(value)

    def seconds(self, key: str) -> timedelta | None:
        return self._converted(key, _in_seconds)

    def time(self, key: str) -> datetime | None:
        """Epoch milliseconds."""
        return self._converted(key, _since_the_epoch)

    def _converted(self, key: str, convert: Callable[[float], T]) -> T | None:
        value = self.number(key)
        if value is None:
            return None
        try:
            return convert(value)
        except (OverflowError, ValueError):
            self.odd(key, "a time that a calendar can show")
            return None

    def identifier(self, key: str) -> str:
        """A number or text that names something; empty where there is none."""
        value = self._wire.get(key)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if value is None or isinstance(value, bool | list | dict):
            if value is not None:
                self.odd(key, "a number or text")
            return ""
        return clean_line(str(value), MAX_ID)

    def line(self, key: str, limit: int = 500) -> str:
        value = self._wire.get(key)
        if value is None:
            return ""
        return clean_line(value if isinstance(value, str) else self._string(key), limit)

    def text(self, key: str) -> str:
        whole = self._string(key)
        if len(whole) <= MAX_TEXT:
            return clean(whole)
        return f"{clean(whole[:MAX_TEXT])}… [{len(whole) - MAX_TEXT:,} more characters]"

    def scalar(self, key: str) -> str | int | float | bool:
        value = self._wire.get(key)
        if value is None:
            return ""
        if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return self.text(key)

    def _string(self, key: str) -> str:
        value = self._wire.get(key)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        self.odd(key, "text")
        return str(value) if isinstance(value, int | float) else ""

    def object(self, key: str) -> "_Reader":
        value = self._wire.get(key)
        # PHP writes an empty object as [].
        if value is not None and value != [] and not isinstance(value, dict):
            self.odd(key, "an object")
        return _Reader(
            value if isinstance(value, dict) else {}, f"{self._path}{key}.", self._oddities
        )

    def objects(self, key: str) -> list["_Reader"]:
        value = self._wire.get(key)
        if not isinstance(value, list):
            if value is not None:
                self.odd(key, "a list of objects")
            return []
        items = list(enumerate(value))
        if len(items) > MAX_OBJECTS:
            self._oddities.note(f"{self._path}{key}: {len(items)} of them; the middle was not read")
            items = items[: MAX_OBJECTS // 2] + items[-MAX_OBJECTS // 2 :]
        found = []
        for index, item in items:
            path = f"{self._path}{key}[{index}]"
            if isinstance(item, dict):
                found.append(_Reader(item, f"{path}.", self._oddities))
            else:
                self._oddities.add(path, "an object", item)
        return found

    def entries(self, key: str) -> list[tuple[str, "_Reader"]]:
        """The members of an object whose values are objects; a bare value counts as its `value`."""
        members = self.object(key)
        if len(members._wire) > MAX_VARIABLES:  # noqa: SLF001 - its own kind
            self._oddities.note(
                f"{self._path}{key}: {len(members._wire)} of them; only the first {MAX_VARIABLES} were read"  # noqa: SLF001
            )
        return [
            (
                name,
                _Reader(
                    value if isinstance(value, dict) else {"value": value},
                    f"{members._path}{clean_line(name, 40)}.",  # noqa: SLF001 - its own kind
                    self._oddities,
                ),
            )
            for name, value in islice(members._wire.items(), MAX_VARIABLES)  # noqa: SLF001
        ]


def _since_the_epoch(milliseconds: float) -> datetime:
    return _EPOCH + timedelta(0, 0, 0, milliseconds)


def _in_seconds(seconds: float) -> timedelta:
    return timedelta(0, seconds)


def _number_in(text: str) -> Json:
    """The number that a text spells, or the text itself."""
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _usable(value: float) -> bool:
    """Within what every database and every calendar can hold."""
    return (isinstance(value, int) or math.isfinite(value)) and abs(value) < 2**53
