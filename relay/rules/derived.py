"""What a chat's messages tell, beyond what Smartsupp says of it."""

from collections.abc import Iterable

from relay.chat import Author, Chat, Message


def written(chat: Chat, *authors: Author) -> tuple[str, ...]:
    """The texts of these authors, in order."""
    return tuple(message.text for message in chat.messages if message.author in authors)


def distinct(words: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order, without empty ones."""
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
    """The same, where automatic messages were sent."""
    lonely = unanswered(chat)
    return lonely and any(message.author is Author.AUTOMATIC for message in chat.messages)
