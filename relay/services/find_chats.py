"""Chats as people look for them: by a visitor's name, address or id, with the rules that held and what was sent."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import islice

from relay.chat import Author, Chat
from relay.mail_address import canonical_addresses
from relay.outbox.chat_list import (
    ChatPage,
    Named,
    chat_called,
    chat_page,
    chat_rows,
    count_troubled,
)
from relay.outbox.history import Attempt, Held, Record, StoredHook, attempts_for, held, stored_hooks
from relay.outbox.past_chats import ChatRow, PastChat, WantedChats, find_chats, past_chats
from relay.outbox.session import Sessions
from relay.rules import read_record
from relay.services import Progress, in_thread, read_all, unwatched
from relay.smartsupp import UnreadableHook, read_chat


@dataclass(frozen=True)
class FoundChat:
    """A chat with all that came of it."""

    chat: PastChat

    @cached_property
    def rules(self) -> Mapping[str, list[Record]]:
        """The rules that held, each with its deliveries; a rule may have none."""
        rules: dict[str, list[Record]] = {name: [] for name in self._held()}
        for record in self.chat.deliveries:
            rules.setdefault(record.rule, []).append(record)
        return rules

    def _held(self) -> Iterator[str]:
        for hook in self.chat.hooks:
            with suppress(ValueError):  # the rules could not be asked
                yield from (each.rule for each in read_record(hook.verdicts).verdicts if each.holds)

    @property
    def name(self) -> str:
        """The account and the chat's id: `208/910001`."""
        return "/".join(self.chat.about.name)

    @cached_property
    def read(self) -> Chat | None:
        """The chat as its newest hook tells it; None where that can't be read."""
        newest = self.chat.hooks[-1]
        with suppress(UnreadableHook):
            return read_chat(newest.body, newest.received_at)
        return None

    @property
    def email(self) -> str:
        """What the visitor gave as their address, by the newest hook; may be empty."""
        return self.read.visitor.email if self.read else ""

    @property
    def question(self) -> str:
        """The first words of the visitor; may be empty."""
        said = self.read.messages if self.read else ()
        return next((one.text for one in said if one.author is Author.VISITOR and one.text), "")

    @property
    def trouble(self) -> str:
        """Why the rules could not be asked about the newest hook; empty where they could."""
        return self.chat.hooks[-1].trouble


@dataclass(frozen=True, slots=True)
class FoundChats:
    """Chats, newest first."""

    chats: list[FoundChat]
    more: bool
    """Whether there are older ones."""
    broken: Mapping[str, Held]
    """The destinations that are broken, by name."""


async def last_hook(sessions: Sessions, chat: tuple[str, str]) -> StoredHook | None:
    """The newest hook of a chat, which is named by its account and id; None where there is no such chat."""

    def work(_: Progress) -> StoredHook | None:
        with sessions.reading() as session:
            hooks = stored_hooks(session, names=[chat])
        return hooks[-1] if hooks else None

    return await in_thread(work)


async def search_chats(
    sessions: Sessions,
    text: str,
    wanted: WantedChats,
    *,
    no_match: bool = False,
    limit: int,
    progress: Progress = unwatched,
) -> FoundChats:
    """The newest `limit` of the wanted chats whose visitor has `text` in the name or address, or that have it as an id.

    An empty text is not looked for. `no_match`: only chats for which no rule held. Progress is that of reading all
    hooks, which it takes where only a part of an address may be meant.
    """

    def work(report: Progress) -> FoundChats:
        among = _among(sessions, text, report) if text.strip() else wanted.among
        asked = replace(wanted, undelivered=wanted.undelivered or no_match, among=among)
        with sessions.reading() as session:
            found = map(FoundChat, past_chats(session, asked))
            chosen = (each for each in found if not (no_match and each.rules))
            some = list(islice(chosen, limit + 1))
            broken = {one.destination: one for one in held(session) if one.gate.broken_since}
        return FoundChats(some[:limit], len(some) > limit, broken)

    return await in_thread(work, progress)


LOOKED_AT = 20_000
"""Chats among which one page is looked for at most."""
LOOKS = 5
"""So many times, where a name is looked for."""
MOST_TODAY = 2_000


@dataclass(frozen=True, slots=True)
class ChatList:
    """Chats in the order in which they came, the newest first."""

    chats: list[FoundChat]
    before: int | None
    """The number before which to go on; None where there are no more."""
    is_cut: bool
    """Enough were looked at, and older ones may fit as well."""


async def list_chats(
    sessions: Sessions, text: str, wanted: WantedChats, *, before: int | None, limit: int
) -> ChatList:
    """The newest `limit` wanted chats that came before the one numbered `before`.

    `text`: an address, a chat's id, or a part of a name; not looked for where it is empty. What is read is bounded, however
    many chats there are.
    """
    text, looks, named = text.strip(), 1, None
    if "@" in text:
        wanted = replace(wanted, names=await in_thread(partial(_with_email, sessions, text, limit)))
    elif text:
        looks, named = LOOKS, _called(text)
    found: list[FoundChat] = []
    for _ in range(looks):
        # Each look is a transaction of its own, and others read between them.
        work = partial(_page, sessions, wanted, named, before, limit - len(found))
        page = await in_thread(work)
        found += map(FoundChat, page.chats)
        before = page.before
        if len(found) >= limit or before is None:
            break
    return ChatList(found, before, page.is_cut)


def _with_email(
    sessions: Sessions, text: str, limit: int, _: Progress
) -> Sequence[tuple[str, str]]:
    """The newest chats of whoever has this address."""
    known = find_chats(sessions, emails=canonical_addresses(text), visitors=[])
    return sorted(known, key=lambda name: -known[name])[:limit]


def _called(text: str) -> Named:
    wanted = plain(text)
    return lambda account, chat, visitor: (
        wanted in plain(visitor) or text in {chat, f"{account}/{chat}"}
    )


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
    """How many chats came in since a moment, and of which kinds."""

    chats: int
    missed: int
    offline: int
    low_rated: int
    """Rated 2 or lower."""
    failed: int
    """Deliveries that ended badly."""
    is_more: bool
    """There were more; so many were counted."""
    newest: int
    """The number of the newest chat of all; 0 where there is none."""


async def count_chats(sessions: Sessions, since: datetime) -> Today:
    """The chats that came in since a moment, counted. `since`: aware."""

    def work(_: Progress) -> Today:
        with sessions.reading() as session:
            rows = chat_rows(session, limit=MOST_TODAY)
            failed = count_troubled(session, since)
        new = [row for row in rows if row.first_hook >= since]
        return Today(
            chats=len(new),
            missed=sum(row.missed for row in new),
            offline=sum(row.offline for row in new),
            low_rated=sum(row.rating is not None and row.rating <= 2 for row in new),
            failed=failed,
            is_more=len(new) == MOST_TODAY,
            newest=rows[0].id if rows else 0,
        )

    return await in_thread(work)


async def count_of_email(sessions: Sessions, email: str) -> int:
    """How many chats the visitor with this address has, by the indexes."""

    def work(_: Progress) -> int:
        return len(find_chats(sessions, emails=canonical_addresses(email), visitors=[]))

    return await in_thread(work)


async def count_newer(sessions: Sessions, after: int) -> int:
    """How many chats came after the one with this number; at most 100."""

    def work(_: Progress) -> int:
        with sessions.reading() as session:
            return len(chat_rows(session, after=after, limit=100))

    return await in_thread(work)


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """A chat with all that came of it, each attempt included."""

    chat: FoundChat
    attempts: Mapping[int, list[Attempt]]
    """By the id of the delivery, first to last."""


async def chat_history(sessions: Sessions, number: int) -> ChatHistory | None:
    """The chat with this number; None where there is none, perhaps because it was erased."""

    def work(_: Progress) -> ChatHistory | None:
        with sessions.reading() as session:
            chat = chat_called(session, number=number)
            if chat is None:
                return None
            return ChatHistory(FoundChat(chat), attempts_for(session, [chat.about.name]))

    return await in_thread(work)


def _among(sessions: Sessions, text: str, report: Progress) -> Callable[[ChatRow], bool]:
    """By name and ids; by an address that has an index; and only where these find nothing, by a part of an address."""
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


def plain(text: str) -> str:
    """Without case, accents and double blanks: as people type a name that they remember."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in folded if not unicodedata.combining(c)).split())
