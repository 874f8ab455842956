"""The type of a field, which is a property of a chat, and functions that set fields in made-up chats."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable


class Kind(StrEnum):
    """The type of a field's values, which decides the operators that fit."""

    YES_NO = "yes or no"
    NUMBER = "number"
    DURATION = "duration"
    TIME = "time"
    TEXT = "text"
    TEXTS = "list of texts"
    VARIABLE = "text or number"


Raw = bool | int | float | timedelta | datetime | str | tuple[str, ...] | None


Setter = Callable[[Chat, Raw], Chat]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """A property of a chat. Compared by identity, because each condition of each rule looks fields up."""

    name: str
    wire: str = ""
    """The name in Smartsupp's hook; empty for derived fields."""
    kind: Kind
    doc: str
    subject: str
    """The start of a condition's words: `rated` 2 or lower. For a yes-or-no field all of it: `missed`."""
    absent: str
    """The words for a missing value; for a yes-or-no field, the words for no."""
    get: Callable[[Chat], Raw]
    put: Setter | None = None
    """Sets the field in a made-up chat; None for fields that follow from the messages."""
    limits: tuple[float, float] | None = None
    """The lowest and the highest possible number."""
    form: str = ""
    """A regular expression of the field's usual values, for warnings."""
    form_words: str = ""


def plain(name: str) -> Setter:
    """Return a function that sets a field of a chat, such as `rating` or `visitor.name`."""
    part, _, inner = name.rpartition(".")

    def put(chat: Chat, value: Raw) -> Chat:
        changes: dict[str, Any] = {inner: value}
        if part:
            changes = {part: replace(getattr(chat, part), **changes)}
        return replace(chat, **changes)

    return put


def variable(key: str) -> Setter:
    """Return a function that sets one of the visitor's variables."""

    def put(chat: Chat, value: Raw) -> Chat:
        stated = {key: Variable(label=key, value=str(value))}
        variables = {**chat.visitor.variables, **stated}
        return replace(chat, visitor=replace(chat.visitor, variables=variables))

    return put


def wrote(author: Author) -> Setter:
    """Return a function that adds messages of an author to a chat."""

    def put(chat: Chat, value: Raw) -> Chat:
        return _more(chat, (Message(author=author, text=text) for text in _texts(value)))

    return put


def joined(chat: Chat, value: Raw) -> Chat:
    """Return the chat with agents named by `value`, who need not have written in it."""
    return _more(
        chat,
        (Message(author=Author.SYSTEM, name=name, text="agent.join") for name in _texts(value)),
    )


def triggered(chat: Chat, value: Raw) -> Chat:
    """Return the chat with automatic messages of triggers with these names."""
    return _more(
        chat,
        (Message(author=Author.AUTOMATIC, trigger=name) for name in _texts(value)),
    )


def visited(part: str) -> Setter:
    """Return a function that adds visited pages to a chat, by `url` or `title`.

    The first title belongs to the first URL, and so on.
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
