"""Finds chats by a visitor's name, email address or id, with the rules that matched and what was sent."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import islice

import regex

from relay.chat import Author, Chat
from relay.mail_address import canonical_addresses
from relay.outbox import chat_list
from relay.outbox.chat_list import (
    MOST_COUNTED,
    ChatPage,
    Named,
    chat_called,
    chat_page,
    count_new,
    count_troubled,
)
from relay.outbox.database_session import Session, Sessions
from relay.outbox.history import Attempt, Held, Record, StoredHook, attempts_for, held, stored_hooks
from relay.outbox.past_chats import ChatRow, PastChat, WantedChats, find_chats, past_chats
from relay.rules import read_record
from relay.services import Progress, in_thread, read_all, read_in_thread, unwatched
from relay.smartsupp import UnreadableHook, read_chat


@dataclass(frozen=True)
class StoredChat:
    """A chat with its hooks, deliveries and matching rules."""

    chat: PastChat

    @cached_property
    def rules(self) -> Mapping[str, list[Record]]:
        """The rules that matched, each with its deliveries; a rule may have none."""
        rules: dict[str, list[Record]] = {name: [] for name in self._held()}
        for record in self.chat.deliveries:
            rules.setdefault(record.rule, []).append(record)
        return rules

    def _held(self) -> Iterator[str]:
        for hook in self.chat.hooks:
            with suppress(ValueError):  # the rules could not be checked
                yield from (each.rule for each in read_record(hook.verdicts).verdicts if each.holds)

    @property
    def name(self) -> str:
        """The account and the chat's id: `208/910001`."""
        return "/".join(self.chat.about.name)

    @cached_property
    def read(self) -> Chat | None:
        """The chat as its newest hook describes it; None where that can't be read."""
        newest = self.chat.hooks[-1]
        with suppress(UnreadableHook):
            return read_chat(newest.body, newest.received_at)
        return None

    @property
    def email(self) -> str:
        """The visitor's email address as entered, by the newest hook; may be empty."""
        return self.read.visitor.email if self.read else ""

    @property
    def confirmations(self) -> set[str]:
        """What a person may type to confirm that the chat is to be erased: its name or the email address, case-folded."""
        return {self.name.casefold(), self.email.strip().casefold()} - {""}

    @property
    def question(self) -> str:
        """The visitor's first message; may be empty."""
        messages = self.read.messages if self.read else ()
        return next((m.text for m in messages if m.author is Author.VISITOR and m.text), "")

    @property
    def trouble(self) -> str:
        """Why the rules could not be checked for the newest hook; empty where they could."""
        return self.chat.hooks[-1].trouble


@dataclass(frozen=True, slots=True)
class ChatSearchPage:
    """One page of the chats that were found, newest first."""

    chats: list[StoredChat]
    more: bool
    """Whether there are older matches."""
    broken: Mapping[str, Held]
    """The broken destinations, by name."""


async def last_hook(sessions: Sessions, chat: tuple[str, str]) -> StoredHook | None:
    """The newest hook of a chat named by account and id; None where there is no such chat."""
    hooks = await read_in_thread(sessions, lambda session: stored_hooks(session, names=[chat]))
    return hooks[-1] if hooks else None


async def search_chats(
    sessions: Sessions,
    text: str,
    wanted: WantedChats,
    *,
    no_match: bool = False,
    limit: int,
    progress: Progress = unwatched,
) -> ChatSearchPage:
    """The newest `limit` wanted chats whose visitor's name or email address contains `text`, or whose id is `text`.

    An empty text matches all. `no_match`: only chats that no rule matched. Progress is that of reading all hooks,
    which is needed only for a part of an address.
    """
    search = partial(_search, sessions, text, wanted, no_match=no_match, limit=limit)
    return await in_thread(search, progress)


def _search(
    sessions: Sessions,
    text: str,
    wanted: WantedChats,
    report: Progress,
    *,
    no_match: bool,
    limit: int,
) -> ChatSearchPage:
    among = _among(sessions, text, report) if text.strip() else wanted.among
    asked = replace(wanted, undelivered=wanted.undelivered or no_match, among=among)
    with sessions.reading() as session:
        chats = map(StoredChat, past_chats(session, asked))
        chosen = (each for each in chats if not (no_match and each.rules))
        some = list(islice(chosen, limit + 1))
        broken = {each.destination: each for each in held(session) if each.gate.broken_since}
    return ChatSearchPage(some[:limit], len(some) > limit, broken)


LOOKED_AT = 20_000
"""The most chats that one search looks at."""
LOOKS = 5
"""How many searches of LOOKED_AT chats are made for a name."""


@dataclass(frozen=True, slots=True)
class ChatList:
    """A page of chats, newest first by their first hook."""

    chats: list[StoredChat]
    before: int | None
    """The number with which the next page is requested; None on the last page."""
    is_cut: bool
    """Whether the search stopped at its limit of chats, so that older chats may match as well."""


async def list_chats(
    sessions: Sessions, text: str, wanted: WantedChats, *, before: int | None, limit: int
) -> ChatList:
    """The newest `limit` wanted chats with numbers below `before`.

    `text`: an email address, a chat's id, or a part of a name; empty matches all. Reads a bounded number of chats,
    however many there are.
    """
    text, looks, named = text.strip(), 1, None
    if "@" in text:
        wanted = replace(wanted, names=await in_thread(partial(_with_email, sessions, text, limit)))
    elif text:
        looks, named = LOOKS, Named(text, plain)
    chats: list[StoredChat] = []
    for _ in range(looks):
        # Each in a transaction of its own, so that others can read in between.
        page = await in_thread(partial(_page, sessions, wanted, named, before, limit - len(chats)))
        chats += map(StoredChat, page.chats)
        before = page.before
        if len(chats) >= limit or before is None:
            break
    return ChatList(chats, before, page.is_cut)


def _with_email(
    sessions: Sessions, text: str, limit: int, _: Progress
) -> Sequence[tuple[str, str]]:
    """The newest chats of the visitor with this email address, as account and id."""
    known = find_chats(sessions, emails=canonical_addresses(text), visitors=[])
    return sorted(known, key=lambda name: -known[name])[:limit]


def _page(
    sessions: Sessions,
    wanted: WantedChats,
    named: Named | None,
    before: int | None,
    limit: int,
    _: Progress,
) -> ChatPage:
    with sessions.reading() as session:
        return chat_page(session, wanted, named, before=before, limit=limit, look_at=LOOKED_AT)


@dataclass(frozen=True, slots=True)
class Today:
    """Counts of the chats that came in since a time."""

    chats: int
    missed: int
    offline: int
    low_rated: int
    """How many chats are rated 2 or lower."""
    failed: int
    """How many deliveries ended badly."""
    is_more: bool
    """Whether there are more chats than were counted."""
    newest: int
    """The number of the newest chat of all; 0 where there is none."""


async def count_chats(sessions: Sessions, since: datetime) -> Today:
    """Counts of the chats that came in at `since`, aware, or later."""

    def work(session: Session) -> Today:
        newest, every, missed, offline, low_rated = count_new(session, since)
        return Today(
            chats=every,
            missed=missed,
            offline=offline,
            low_rated=low_rated,
            failed=count_troubled(session, since),
            is_more=every == MOST_COUNTED,
            newest=newest,
        )

    return await read_in_thread(sessions, work)


async def count_of_email(sessions: Sessions, email: str) -> int:
    """How many chats the visitor with this email address has, found by index."""
    return await in_thread(
        lambda _: len(find_chats(sessions, emails=canonical_addresses(email), visitors=[]))
    )


async def count_newer(sessions: Sessions, after: int) -> int:
    """How many chats have a number above `after`; at most 100."""
    return await read_in_thread(
        sessions, lambda session: chat_list.count_newer(session, after, 100)
    )


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """A chat with its deliveries and every attempt."""

    chat: StoredChat
    attempts: Mapping[int, list[Attempt]]
    """The attempts, oldest first, by the number of the delivery."""


async def chat_history(sessions: Sessions, number: int) -> ChatHistory | None:
    """The chat with this number; None where there is none, perhaps because it was erased."""

    def work(session: Session) -> ChatHistory | None:
        chat = chat_called(session, number=number)
        if chat is None:
            return None
        return ChatHistory(StoredChat(chat), attempts_for(session, [chat.about.name]))

    return await read_in_thread(sessions, work)


def _among(sessions: Sessions, text: str, report: Progress) -> Callable[[ChatRow], bool]:
    """A filter for chats that match a text: by name, ids or a whole email address; only if none does, by a part of an address."""
    wanted = plain(text)
    known = find_chats(sessions, emails=canonical_addresses(text), visitors=[text.strip()])

    def by_row(row: ChatRow) -> bool:
        ids = {row.chat, "/".join(row.name)}
        return wanted in plain(row.visitor) or text.strip() in ids or row.name in known

    with sessions.reading() as session:
        if next(past_chats(session, WantedChats(among=by_row)), None):
            return by_row
    by_address = set(_with_address(sessions, wanted, report))
    return lambda row: row.name in by_address


def _with_address(sessions: Sessions, wanted: str, report: Progress) -> Iterator[tuple[str, str]]:
    for hook in read_all(sessions, report):
        with suppress(UnreadableHook):
            if wanted in plain(read_chat(hook.body).visitor.email):
                yield hook.account, hook.chat


_COMBINING = regex.compile(r"\P{Canonical_Combining_Class=0}+")


def place_in(text: str, wanted: str) -> tuple[int, int] | None:
    """Where `wanted`, simplified by `plain`, first stands in a text: indexes of its first character and behind its last.

    None where it does not.
    """
    letters, places = [" "], [0]
    for place, character in enumerate(text):
        for letter in _COMBINING.sub("", unicodedata.normalize("NFKD", character).casefold()):
            if not letter.isspace():
                letters.append(letter)
                places.append(place)
            elif letters[-1] != " ":
                letters.append(" ")
                places.append(place)
    begin = "".join(letters).find(wanted, 1)
    if begin < 0 or not wanted:
        return None
    end = places[begin + len(wanted) - 1] + 1
    while end < len(text) and _COMBINING.match(text[end]):
        end += 1
    return places[begin], end


def plain(text: str) -> str:
    """The text without case, accents and repeated spaces, as people type a name that they remember."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(_COMBINING.sub("", folded).split())
