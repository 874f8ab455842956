"""What a finished chat is, once its hook has been read. Plain frozen values, no behaviour of the wire.

What a chat's messages tell, beyond what Smartsupp says of it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field


class Author(StrEnum):
    """Who said a message."""

    VISITOR = "visitor"
    AGENT = "agent"
    AUTOMATIC = "automatic"
    """Sent by a trigger in an agent's place."""
    SYSTEM = "system"
    """Not said by anybody: `text` is a code such as `agent.join`."""
    UNKNOWN = "unknown"
    """The hook named a type that is not documented."""


class Message(Struct, frozen=True, kw_only=True):
    """One thing said in a chat."""

    author: Author
    name: str = ""
    """The name as sent; often empty, for visitors too."""
    text: str = ""
    """Cleaned, may hold line breaks. For `Author.SYSTEM` a code such as `close.visitorClose`."""
    sent_at: datetime | None = None
    """Aware, UTC; None where the hook's time can't be used."""
    trigger: str = ""
    """The trigger's name, where a trigger said it."""


class Page(Struct, frozen=True, kw_only=True):
    """A page the visitor looked at."""

    url: str = ""
    title: str = ""


class Variable(Struct, frozen=True, kw_only=True):
    """What the shop's own code told Smartsupp about the visitor."""

    label: str = ""
    value: str | int | float | bool = ""


class Visitor(Struct, frozen=True, kw_only=True):
    """The customer in the chat. Any text may be empty."""

    id: str = ""
    name: str = ""
    email: str = ""
    """As typed: not necessarily an address."""
    note: str = ""
    group: str = ""
    ip: str = ""
    city: str = ""
    country_code: str = ""
    country: str = ""
    """As sent; Smartsupp's own example has city and country swapped, only the code can be trusted."""
    platform: str = ""
    user_agent: str = ""
    referer: str = ""
    variables: Mapping[str, Variable] = field(default_factory=dict)


class Chat(Struct, frozen=True, kw_only=True):
    """One chat, as a hook described it.

    None means that the hook did not say, or not in a form that can be used; `oddities` then says what
    stood there. `account` and `id` together name the chat for good.
    """

    account: str
    id: str
    began: datetime | None = None
    """Aware, UTC."""
    ended: datetime | None = None
    """Aware, UTC."""
    missed: bool | None = None
    """The agent did not answer the visitor's last message."""
    offline: bool | None = None
    """A message left while nobody was there."""
    dropped: bool | None = None
    completed: bool | None = None
    """Closed, and every message of the visitor was answered."""
    triggered: bool | None = None
    """At least one automatic message."""
    answered_chat: bool | None = None
    """Visitor and agent both wrote."""
    duration: timedelta | None = None
    first_response: timedelta | None = None
    average_response: timedelta | None = None
    message_count: int | None = None
    word_count: int | None = None
    rating: int | float | None = None
    rating_comment: str = ""
    visitor: Visitor = field(default_factory=Visitor)
    pages: tuple[Page, ...] = ()
    messages: tuple[Message, ...] = ()
    oddities: tuple[str, ...] = ()
    """Where the hook did not have the documented shape, in words: `channel.rating: expected a number, got a list`."""


def written(chat: Chat, *authors: Author) -> tuple[str, ...]:
    """The texts that these authors wrote, in their order."""
    return tuple(message.text for message in chat.messages if message.author in authors)


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """The words without empty ones, each once, in their order."""
    return tuple(dict.fromkeys(word for word in words if word))


def agents(chat: Chat) -> tuple[str, ...]:
    """The names of agents who wrote or were put to the chat."""
    return distinct(message.name for message in chat.messages if _of_agent(message))


def _of_agent(message: Message) -> bool:
    system = message.author is Author.SYSTEM and message.text.startswith("agent.")
    return system or message.author is Author.AGENT


def unanswered(chat: Chat) -> bool | None:
    """Whether the visitor wrote and no agent ever did; None where the hook has no messages."""
    if not chat.messages:
        return None
    authors = {message.author for message in chat.messages}
    return Author.VISITOR in authors and Author.AGENT not in authors


def bot_only(chat: Chat) -> bool | None:
    """Whether nobody but a bot answered: automatic messages were sent, and none by an agent."""
    lonely = unanswered(chat)
    return lonely and any(message.author is Author.AUTOMATIC for message in chat.messages)


CHAT_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("stars", "score", "review"), "rating"),
    **dict.fromkeys(("response", "response_time", "waiting_time", "wait"), "first_response"),
    **dict.fromkeys(("operator", "operators", "user"), "agent"),
    **dict.fromkeys(("customer", "client", "fullname", "first_name", "last_name"), "visitor.name"),
    **dict.fromkeys(("town", "location", "place", "region"), "visitor.city"),
    **dict.fromkeys(("mail", "e-mail", "email_address", "address"), "visitor.email"),
    **dict.fromkeys(("nation", "country_name", "countrycode"), "visitor.country_code"),
    **dict.fromkeys(("os", "device", "browser", "system", "mobile"), "visitor.platform"),
    **dict.fromkeys(("referrer", "source", "origin", "came_from"), "visitor.referer"),
    **dict.fromkeys(("link", "site", "website", "domain"), "page.url"),
    **dict.fromkeys(("feedback", "comment"), "rating_comment"),
    **dict.fromkeys(("length", "time_spent"), "duration"),
    **dict.fromkeys(("phone", "telephone", "order", "plan", "cart"), "visitor.variables.<key>"),
    **dict.fromkeys(("department", "team", "tag", "tags"), "visitor.group"),
    **dict.fromkeys(("bot", "automatic"), "bot_only"),
}
"""What people call a part of a chat -> its name in rules; templates have most of the same names."""
