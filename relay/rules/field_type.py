"""What a field is, and how a made-up chat gets a value for one.

What a field is: something of a chat that a rule can ask about.

How a chat that a test makes up gets the values that the test states.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable


class Kind(StrEnum):
    """What sort of value a field has; it decides which operators fit."""

    YES_NO = "yes or no"
    NUMBER = "number"
    DURATION = "duration"
    TIME = "time"
    TEXT = "text"
    TEXTS = "list of texts"
    VARIABLE = "text or number"


Raw = bool | int | float | timedelta | datetime | str | tuple[str, ...] | None


Put = Callable[[Chat, Raw], Chat]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Something a chat has. Compared by identity: fields are looked up for every condition of every rule."""

    name: str
    wire: str = ""
    """Where Smartsupp's hook has it; empty for what we derive."""
    kind: Kind
    doc: str
    subject: str
    """Begins the words of a condition: `rated` 2 or lower. For yes or no the whole of it: `missed`."""
    absent: str
    """The words for a field without a value; for yes or no, the words for no."""
    get: Callable[[Chat], Raw]
    put: Put | None = None
    """The chat with this value, for chats that a test makes up; None for what follows from the messages."""
    limits: tuple[float, float] | None = None
    """The lowest and the highest number it can be."""
    form: str = ""
    """What the whole of its value looks like: a regular expression, for warnings."""
    form_words: str = ""


def plain(name: str) -> Put:
    """A function that puts a value into a chat: into `rating` of the chat, or `visitor.name` of its visitor."""
    part, _, inner = name.rpartition(".")

    def put(chat: Chat, value: Raw) -> Chat:
        changes: dict[str, Any] = {inner: value}
        if part:
            changes = {part: replace(getattr(chat, part), **changes)}
        return replace(chat, **changes)

    return put


def variable(key: str) -> Put:
    """A function that puts one of the visitor's variables into a chat."""

    def put(chat: Chat, value: Raw) -> Chat:
        stated = {key: Variable(label=key, value=str(value))}
        variables = {**chat.visitor.variables, **stated}
        return replace(chat, visitor=replace(chat.visitor, variables=variables))

    return put


def wrote(author: Author) -> Put:
    """A function that puts messages of an author into a chat."""

    def put(chat: Chat, value: Raw) -> Chat:
        return _more(chat, (Message(author=author, text=text) for text in _texts(value)))

    return put


def joined(chat: Chat, value: Raw) -> Chat:
    """The chat with agents of these names, who need not have written."""
    return _more(
        chat,
        (Message(author=Author.SYSTEM, name=name, text="agent.join") for name in _texts(value)),
    )


def triggered(chat: Chat, value: Raw) -> Chat:
    """The chat with automatic messages of triggers of these names."""
    return _more(
        chat,
        (Message(author=Author.AUTOMATIC, trigger=name) for name in _texts(value)),
    )


def visited(part: str) -> Put:
    """A function that puts visited pages into a chat, by `url` or `title`.

    The first title belongs to the first address, and so on.
    """

    def put(chat: Chat, value: Raw) -> Chat:
        pages = zip_longest(chat.pages, _texts(value), fillvalue=None)
        changes: Any = ((page or Page(), {part: text or ""}) for page, text in pages)
        return replace(chat, pages=tuple(replace(page, **change) for page, change in changes))

    return put


def _more(chat: Chat, messages: Iterable[Message]) -> Chat:
    return replace(chat, messages=(*chat.messages, *messages))


def _texts(value: Raw) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
