"""Finds chats by what was said in them, reading them from the newest on, as no index has visitors' words."""

from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from relay.chat import Author
from relay.outbox.database_session import CommandSessions
from relay.outbox.history import StoredHook
from relay.outbox.past_chats import PastHook
from relay.services import read_all
from relay.services.child_process import Reporter
from relay.services.find_chats import StoredChat, place_in, plain
from relay.settings.database import Database
from relay.smartsupp import UnreadableHook, read_chat
from relay.text import ELLIPSIS, cut

MOST_HITS = 100
AROUND = 59
MOST_AFTER = 100
LONGEST_WORDS = 300
"""Characters shown before the words that were found, after them, and of themselves."""
LOOKED_AT = 200_000
"""How many hooks, the newest, are read at most."""


class WordSearch(Struct, frozen=True, kw_only=True):
    """A search for words in chats."""

    database: Database
    words: str


class Hit(Struct, frozen=True, kw_only=True):
    """Where the words stand in a chat, in numbers: it contains nothing that was said."""

    account: str
    chat: str
    hook: int
    """The number of the hook that was read."""
    text: int
    """The index of the text among those that people said in the chat."""
    begin: int
    end: int
    """Indexes of the first character, and behind the last."""


class FoundWords(Struct, frozen=True, kw_only=True):
    """The words that were found, with what stands around them in the same text, in one line."""

    before: str
    """The text before the words, at most 60 characters."""
    words: str
    """At most 300 characters, as they were written."""
    after: str
    """The text after the words, at most 100 characters."""


class WordHits(Struct, frozen=True, kw_only=True):
    """The chats that a search has found so far. Contains nothing that was said."""

    chats: tuple[Hit, ...]
    """A hit in each chat, newest first."""
    back_to: datetime | None
    """When the oldest hook that was read came in."""
    is_cut: bool = False
    """Whether the search stopped at a limit and there are older chats."""


def search_words(search: WordSearch, reporter: Reporter) -> WordHits:
    """Chats with these words in a message or in the rating's comment, whatever case and accents; at most 100.

    Runs in a child process. Raises StorageRefused and StorageUnavailable.
    """
    wanted, hits = plain(search.words), dict[tuple[str, str], Hit]()
    back_to: datetime | None = None
    sessions = CommandSessions(search.database)

    def progress(done: int, total: int) -> None:
        reporter.progress(min(done, LOOKED_AT), min(total, LOOKED_AT))
        reporter.report_when_due(lambda: WordHits(chats=tuple(hits.values()), back_to=back_to))

    for number, hook in enumerate(read_all(sessions, progress, newest_first=True)):
        if number >= LOOKED_AT or len(hits) >= MOST_HITS:
            return WordHits(chats=tuple(hits.values()), back_to=back_to, is_cut=True)
        back_to = hook.received_at
        name = hook.account, hook.chat
        if name not in hits and (hit := _hit(hook, wanted)):
            hits[name] = hit
    return WordHits(chats=tuple(hits.values()), back_to=back_to)


def _hit(hook: PastHook, wanted: str) -> Hit | None:
    for number, text in enumerate(_texts(hook)):
        if wanted in plain(text) and (place := place_in(text, wanted)):
            begin, end = place
            return Hit(
                account=hook.account,
                chat=hook.chat,
                hook=hook.id,
                text=number,
                begin=begin,
                end=end,
            )
    return None


def _texts(hook: PastHook | StoredHook) -> list[str]:
    """What people said, message by message, and the rating's comment; empty where the hook can't be read."""
    with suppress(UnreadableHook):
        chat = read_chat(hook.body, hook.received_at)
        texts = [each.text for each in chat.messages if each.author is not Author.SYSTEM]
        return [*texts, chat.rating_comment]
    return []


def words_of_hit(chat: StoredChat, hit: Hit) -> FoundWords | None:
    """The words of a hit, read from the stored hook; None where that is no longer kept. Takes about a millisecond."""
    hook = next((each for each in chat.chat.hooks if each.id == hit.hook), None)
    texts = _texts(hook) if hook else []
    if hit.text >= len(texts):
        return None
    text = texts[hit.text]
    start = max(0, hit.begin - AROUND)
    before = text[start : hit.begin]
    if start:  # from a word's beginning
        before = ELLIPSIS + (before.split(maxsplit=1)[1:] or [before])[0]
    after = text[hit.end : hit.end + 2 * MOST_AFTER]
    return FoundWords(
        before=_single_spaced(before),
        words=cut(_single_spaced(text[hit.begin : hit.end]), LONGEST_WORDS),
        after=cut(_single_spaced(after), MOST_AFTER),
    )


def _single_spaced(text: str) -> str:
    """The text with each run of white space as one space, also at its ends."""
    return " ".join(f"x{text}x".split())[1:-1]
