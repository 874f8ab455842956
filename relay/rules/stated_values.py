"""How a chat that a test makes up gets the values that the test states."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable
from relay.rules.field_type import Put, Raw


def plain(name: str) -> Put:
    """`rating` of the chat, `visitor.name` of its visitor."""
    part, _, inner = name.rpartition(".")

    def put(chat: Chat, value: Raw) -> Chat:
        changes: dict[str, Any] = {inner: value}
        if part:
            changes = {part: replace(getattr(chat, part), **changes)}
        return replace(chat, **changes)

    return put


def variable(key: str) -> Put:
    """One of the visitor's variables."""

    def put(chat: Chat, value: Raw) -> Chat:
        stated = {key: Variable(label=key, value=str(value))}
        variables = {**chat.visitor.variables, **stated}
        return replace(chat, visitor=replace(chat.visitor, variables=variables))

    return put


def wrote(author: Author) -> Put:
    """Messages of an author."""

    def put(chat: Chat, value: Raw) -> Chat:
        return _more(chat, (Message(author=author, text=text) for text in _texts(value)))

    return put


def joined(chat: Chat, value: Raw) -> Chat:
    """Agents by name, who need not have written."""
    return _more(
        chat,
        (Message(author=Author.SYSTEM, name=name, text="agent.join") for name in _texts(value)),
    )


def triggered(chat: Chat, value: Raw) -> Chat:
    """Automatic messages of triggers by name."""
    return _more(
        chat,
        (Message(author=Author.AUTOMATIC, trigger=name) for name in _texts(value)),
    )


def visited(part: str) -> Put:
    """Pages, by `url` or `title`; the first title belongs to the first address, and so on."""

    def put(chat: Chat, value: Raw) -> Chat:
        pages = zip_longest(chat.pages, _texts(value), fillvalue=None)
        changes: Any = ((page or Page(), {part: text or ""}) for page, text in pages)
        return replace(chat, pages=tuple(replace(page, **change) for page, change in changes))

    return put


def _more(chat: Chat, messages: Iterable[Message]) -> Chat:
    return replace(chat, messages=(*chat.messages, *messages))


def _texts(value: Raw) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
