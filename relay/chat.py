"""Immutable values for a finished chat, and what can be derived from its messages."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field


class Author(StrEnum):
    """The author of a message."""

    VISITOR = "visitor"
    AGENT = "agent"
    AUTOMATIC = "automatic"
    """A message that a trigger sent in an agent's name."""
    SYSTEM = "system"
    """An event that nobody wrote: the message's `text` is a code such as `agent.join`."""
    UNKNOWN = "unknown"
    """The hook named a message type that is not documented."""


class Message(Struct, frozen=True, kw_only=True):
    """One message or event of a chat."""

    author: Author
    """The author of the message."""
    name: str = ""
    """The author's name as sent by Smartsupp; often empty, also for visitors."""
    text: str = ""
    """Cleaned text, possibly several lines. For `Author.SYSTEM` a code such as `close.visitorClose`."""
    sent_at: datetime | None = None
    """Time of the message, in UTC; None if the hook has no valid time."""
    trigger: str = ""
    """The name of the trigger that sent the message; empty for other messages."""


class Page(Struct, frozen=True, kw_only=True):
    """A page that the visitor looked at."""

    url: str = ""
    """The URL of the page, as sent by Smartsupp."""
    title: str = ""
    """The title of the page; may be empty."""


class Variable(Struct, frozen=True, kw_only=True):
    """A fact about the visitor that the shop's own code passed to Smartsupp."""

    label: str = ""
    """The name of the variable for people; may be empty."""
    value: str | int | float | bool = ""
    """The value that the shop's code passed."""


class Visitor(Struct, frozen=True, kw_only=True):
    """The customer in the chat. Every text may be empty."""

    id: str = ""
    """Smartsupp's ID of the visitor."""
    name: str = ""
    """The name as the visitor typed it; may be empty."""
    email: str = ""
    """The email address as the visitor typed it: not necessarily a valid one."""
    note: str = ""
    """The agents' note about the visitor."""
    group: str = ""
    """The group that the chat was sent to."""
    ip: str = ""
    """The visitor's IP address."""
    city: str = ""
    """The city of the IP address, as sent by Smartsupp."""
    country_code: str = ""
    """The country of the IP address as two letters, such as `CZ`."""
    country: str = ""
    """The country's name as sent by Smartsupp. Only `country_code` is reliable: Smartsupp's own
    example has city and country swapped.
    """
    platform: str = ""
    """The visitor's operating system and browser."""
    user_agent: str = ""
    """The browser's User-Agent header."""
    referer: str = ""
    """The URL of the page from which the visitor came."""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    """The facts that the shop's own code passed to Smartsupp, by key."""


class Chat(Struct, frozen=True, kw_only=True):
    """A finished chat, as a hook described it.

    A field is None if the hook lacks it or its value is unusable; `oddities` then describes the
    value. `account` and `id` together identify the chat.
    """

    account: str
    """Smartsupp's ID of the account."""
    id: str
    """Smartsupp's ID of the chat."""
    began: datetime | None = None
    """When the chat began, in UTC."""
    ended: datetime | None = None
    """When the chat ended, in UTC."""
    missed: bool | None = None
    """Whether the agent did not answer the visitor's last message."""
    offline: bool | None = None
    """Whether the visitor left a message while no agent was online."""
    dropped: bool | None = None
    """Whether Smartsupp calls the chat dropped; its documentation does not say when it does."""
    completed: bool | None = None
    """Whether the chat was closed with every message of the visitor answered."""
    triggered: bool | None = None
    """Whether at least one automatic message was sent."""
    answered_chat: bool | None = None
    """Whether both the visitor and an agent wrote."""
    duration: timedelta | None = None
    """The time from the beginning to the end of the chat."""
    first_response: timedelta | None = None
    """The time until an agent's first answer."""
    average_response: timedelta | None = None
    """The average response time of the agents."""
    message_count: int | None = None
    """The number of messages, as counted by Smartsupp."""
    word_count: int | None = None
    """The number of words, as counted by Smartsupp."""
    rating: int | float | None = None
    """The visitor's rating of the chat, 1 to 5."""
    rating_comment: str = ""
    """The visitor's comment on the rating; may be empty."""
    visitor: Visitor = field(default_factory=Visitor)
    """The customer in the chat."""
    pages: tuple[Page, ...] = ()
    """The pages that the visitor looked at, in the order of the hook."""
    messages: tuple[Message, ...] = ()
    """The messages and events of the chat, in order."""
    oddities: tuple[str, ...] = ()
    """Deviations of the hook from the documented format, such as `channel.rating: expected a number, got a list`."""


def written(chat: Chat, *authors: Author) -> tuple[str, ...]:
    """Return the texts of all messages by these authors, in order."""
    return tuple(message.text for message in chat.messages if message.author in authors)


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words without duplicates and empty strings, in order."""
    return tuple(dict.fromkeys(word for word in words if word))


def agents(chat: Chat) -> tuple[str, ...]:
    """Return the names of the agents who wrote or were assigned to the chat."""
    return distinct(message.name for message in chat.messages if _of_agent(message))


def _of_agent(message: Message) -> bool:
    system = message.author is Author.SYSTEM and message.text.startswith("agent.")
    return system or message.author is Author.AGENT


def unanswered(chat: Chat) -> bool | None:
    """Whether the visitor wrote and no agent did; None if the hook has no messages."""
    if not chat.messages:
        return None
    authors = {message.author for message in chat.messages}
    return Author.VISITOR in authors and Author.AGENT not in authors


def bot_only(chat: Chat) -> bool | None:
    """Whether only a bot answered: automatic messages were sent, but none by an agent.

    None if the hook has no messages.
    """
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
"""Maps words that people use for a part of a chat to its name in rules; templates use most of the same names."""
