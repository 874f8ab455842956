"""Chats as people look for them: by a visitor's name, address or id, with the rules that held and what was sent."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from relay.mail_address import canonical_addresses
from relay.outbox.history import Held, Record, StoredHook, held, stored_hooks
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
    def email(self) -> str:
        """What the visitor gave as their address, by the newest hook; may be empty."""
        with suppress(UnreadableHook):
            return read_chat(self.chat.hooks[-1].body).visitor.email
        return ""

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


def _among(sessions: Sessions, text: str, report: Progress) -> Callable[[ChatRow], bool]:
    """By name and ids; by an address that has an index; and only where these find nothing, by a part of an address."""
    wanted = _plain(text)
    known = find_chats(sessions, emails=canonical_addresses(text), visitors=[text.strip()])

    def by_row(row: ChatRow) -> bool:
        ids = {row.chat, "/".join(row.name)}
        return wanted in _plain(row.visitor) or text.strip() in ids or row.name in known

    with sessions.reading() as session:
        if next(past_chats(session, WantedChats(among=by_row)), None):
            return by_row
    by_address = set(_with_address(sessions, wanted, report))
    return lambda row: row.name in by_address


def _with_address(sessions: Sessions, wanted: str, report: Progress) -> Iterator[tuple[str, str]]:
    for hook in read_all(sessions, report):
        with suppress(UnreadableHook):
            if wanted in _plain(read_chat(hook.body).visitor.email):
                yield hook.account, hook.chat


def _plain(text: str) -> str:
    """Without case, accents and double blanks: as people type a name that they remember."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in folded if not unicodedata.combining(c)).split())
