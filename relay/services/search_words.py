"""Finds chats by what was said in them, reading them from the newest on, as no index has visitors' words."""

from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from relay.chat import Author, Chat
from relay.outbox.session import CommandSessions
from relay.services import read_all
from relay.services.child_process import Telling
from relay.services.find_chats import plain
from relay.settings.database import Database
from relay.smartsupp import UnreadableHook, read_chat

MOST_FOUND = 100
LOOKED_AT = 200_000
"""How many hooks, the newest, are read at most."""


class WordSearch(Struct, frozen=True, kw_only=True):
    """A search for words in chats."""

    database: Database
    words: str


class WordsFound(Struct, frozen=True, kw_only=True):
    """The chats that a search has found so far. Contains nothing that was said."""

    chats: tuple[tuple[str, str], ...]
    """The account and id of each, newest first."""
    back_to: datetime | None
    """When the oldest hook that was read came in."""
    is_cut: bool = False
    """Whether the search stopped at a limit and there are older chats."""


def search_words(search: WordSearch, telling: Telling) -> WordsFound:
    """Chats with these words in a message or in the rating's comment, whatever case and accents; at most 100.

    Runs in a child process. Raises StorageRefused and StorageUnavailable.
    """
    wanted, found = plain(search.words), dict[tuple[str, str], None]()
    back_to: datetime | None = None
    sessions = CommandSessions(search.database)

    def progress(done: int, total: int) -> None:
        telling.progress(min(done, LOOKED_AT), min(total, LOOKED_AT))
        telling.report_when_due(lambda: WordsFound(chats=tuple(found), back_to=back_to))

    for number, hook in enumerate(read_all(sessions, progress, newest_first=True)):
        if number >= LOOKED_AT or len(found) >= MOST_FOUND:
            return WordsFound(chats=tuple(found), back_to=back_to, is_cut=True)
        back_to = hook.received_at
        with suppress(UnreadableHook):
            if wanted in _said(read_chat(hook.body, hook.received_at)):
                found[hook.account, hook.chat] = None
    return WordsFound(chats=tuple(found), back_to=back_to)


def _said(chat: Chat) -> str:
    """Everything that people said, one message per line, simplified by `plain`."""
    said = [one.text for one in chat.messages if one.author is not Author.SYSTEM]
    return "\n".join(map(plain, (*said, chat.rating_comment)))
