"""Whose data it is: what is kept of one visitor is found, exported, and erased before its time."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from relay.chat import Chat
from relay.mail_address import canonical_addresses
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.erasing import Erased, erase_chats, erase_mute, erase_set_aside
from relay.outbox.history import SetAside, StoredHook, Wanted, attempts_for, find, stored_hooks
from relay.outbox.mutes import KeptMute, all_mutes
from relay.outbox.past_chats import (
    ALL,
    NOT_KNOWN_BY_VISITOR,
    OF_SEVERAL_ADDRESSES,
    by_chat,
    find_chats,
    read_set_aside,
)
from relay.outbox.session import Sessions
from relay.rules import RuleBook
from relay.services import Progress, in_thread, read_all, unwatched
from relay.services.find_deliveries import Details, attempt_json, delivery_json, set_aside_json
from relay.services.muting import mute_json, timings_of
from relay.smartsupp import UnreadableHook, read_chat
from relay.smartsupp.hook_json import parse_object

log = logging.getLogger(__name__)

Name = tuple[str, str]
"""A chat's: the account and the chat's id."""
AT_ONCE = 50
"""Chats per read. Each is a transaction of its own: a long one would let SQLite's log grow without end."""


@dataclass(frozen=True, slots=True)
class Whose:
    """What a person is known by."""

    emails: frozenset[str]
    visitors: frozenset[str]
    chat: Name | None

    @classmethod
    def named(
        cls, emails: Iterable[str] = (), visitors: Iterable[str] = (), chat: Name | None = None
    ) -> "Whose":
        """Somebody named by addresses, Smartsupp's ids of visitors, or one chat.

        Raises ValueError where nobody is named.
        """
        named = [canonical_addresses(email) for email in emails]
        addresses = frozenset(chain(*named))
        ids = frozenset(each.strip() for each in visitors)
        if not (addresses or ids or chat) or not all((*named, *ids)):
            raise ValueError("nobody is named")
        return cls(addresses, ids, chat)

    @classmethod
    def of_chat(cls, chat: Name, email: str = "") -> "Whose":
        """Whoever wrote one chat, and all others of `email`; the chat alone where that is no address."""
        try:
            return cls.named([email] if email else (), chat=chat)
        except ValueError:
            return cls.named(chat=chat)

    def had(self, chat: Chat) -> bool:
        """Whether a chat is one of this person's."""
        visitor = chat.visitor
        return (
            (chat.account, chat.id) == self.chat
            or visitor.id in self.visitors
            or not self.emails.isdisjoint(canonical_addresses(visitor.email))
        )

    def may_have_sent(self, hook: SetAside) -> bool:
        """A hook that can't be read holds one of the addresses; an id alone would be found in many."""
        return not self.emails.isdisjoint(chain(*map(canonical_addresses, _texts(hook.body))))


@dataclass(frozen=True, slots=True)
class Theirs:
    """The chats, unreadable posts and mutes of a person that the database has, in the order in which they came."""

    chats: list[Name]
    set_aside: list[SetAside]
    """Hooks that could not be read."""
    mutes: list[int] = field(default_factory=list)
    """Numbers of mutes whose condition or reason names one of the addresses."""


async def find_theirs(sessions: Sessions, whose: Whose, progress: Progress = unwatched) -> Theirs:
    """All that is kept of a person; progress is that of reading the hooks which no index leads to."""

    def work(report: Progress) -> Theirs:
        if not (whose.emails or whose.visitors):
            return Theirs([whose.chat] if whose.chat else [], [])
        first = find_chats(sessions, emails=whose.emails, visitors=whose.visitors)
        for which in (NOT_KNOWN_BY_VISITOR, OF_SEVERAL_ADDRESSES):
            for hook in read_all(sessions, report, which=which):
                if whose.had(_read(hook.body)):
                    first.setdefault((hook.account, hook.chat), hook.id)
        if whose.chat:
            first.setdefault(whose.chat, 0)
        aside = [hook for hook in read_set_aside(sessions) if whose.may_have_sent(hook)]
        mutes = _mutes_about(sessions, whose.emails)
        return Theirs(sorted(first, key=first.__getitem__), aside, mutes)

    return await in_thread(work, progress)


async def find_mutes(sessions: Sessions, numbers: Sequence[int]) -> list[KeptMute]:
    """The mutes of these numbers."""

    def work(_: Progress) -> list[KeptMute]:
        with sessions.reading() as session:
            kept = all_mutes(session.operations.sql, session.cursor)
        return [one for one in kept if one.mute.id in numbers]

    return await in_thread(work)


def _mutes_about(sessions: Sessions, emails: frozenset[str]) -> list[int]:
    with sessions.reading() as session:
        kept = all_mutes(session.operations.sql, session.cursor)
    words = ((one.mute.id, f"{one.mute.when} {one.mute.because}") for one in kept)
    return [number for number, text in words if not emails.isdisjoint(canonical_addresses(text))]


def _read(body: bytes) -> Chat:
    try:
        return read_chat(body)
    except UnreadableHook:  # one that an older relay could read
        return Chat(account="", id="")


_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def _texts(body: bytes) -> Iterator[str]:
    """What bytes may say that are no JSON: in UTF-8 or 16 or an old encoding, escaped as in JSON or as in a form."""
    for encoding in ("utf-8", "cp1252"):
        text = body.replace(b"\0", b"").decode(encoding, "replace")
        yield _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    yield unquote_plus(text.replace("&", " ").replace("=", " "))


@dataclass(frozen=True, slots=True)
class KeptChat:
    """A chat with all that is kept of it, in the order in which it came."""

    name: Name
    hooks: list[StoredHook]
    deliveries: list[Details]


async def export(
    sessions: Sessions, chats: Sequence[Name], progress: Progress = unwatched
) -> list[KeptChat]:
    """All that is kept of these chats, in their order; those that are not there are left out."""

    def work(report: Progress) -> list[KeptChat]:
        kept: list[KeptChat] = []
        for start in range(0, len(chats), AT_ONCE):
            report(start, len(chats))
            kept += _kept(sessions, chats[start : start + AT_ONCE])
        return kept

    return await in_thread(work, progress)


def _kept(sessions: Sessions, names: Sequence[Name]) -> Iterator[KeptChat]:
    with sessions.reading() as session:
        hooks = by_chat(stored_hooks(session, names=names))
        deliveries = by_chat(reversed(find(session, Wanted(chats=names), limit=ALL)))
        attempts = attempts_for(session, names)
    for name in names:
        if name in hooks:
            theirs = [Details(each, attempts.get(each.id, [])) for each in deliveries.get(name, ())]
            yield KeptChat(name, hooks[name], theirs)


_HALF_LETTER = re.compile("[\ud800-\udfff]")


def exported(
    chats: Iterable[KeptChat], set_aside: Iterable[SetAside] = (), mutes: Iterable[KeptMute] = ()
) -> str:
    """All that is kept of somebody as JSON: `chats` with the hooks as they came, `set_aside` and `mutes`."""
    every = {
        "chats": [_chat_json(each) for each in chats],
        "set_aside": [set_aside_json(each) for each in set_aside],
        "mutes": [mute_json(each) for each in mutes],
    }
    # A hook may hold half letters, which no output takes; as JSON's escapes they stay what they were.
    text = json.dumps(every, indent=2, ensure_ascii=False)
    return _HALF_LETTER.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _chat_json(kept: KeptChat) -> dict[str, Any]:
    return {
        "account": kept.name[0],
        "chat": kept.name[1],
        "hooks": [_hook_json(hook) for hook in kept.hooks],
        "deliveries": [
            {
                **delivery_json(each.delivery),
                "tries": [attempt_json(attempt) for attempt in each.attempts],
            }
            for each in kept.deliveries
        ],
    }


def _hook_json(hook: StoredHook) -> dict[str, Any]:
    at = hook.received_at.isoformat()
    return {"id": hook.id, "received_at": at, "hook": came_as(hook.body)}


def came_as(body: bytes) -> dict[str, Any] | str:
    """The JSON object of a hook; of one that only an older relay could read, its bytes as text."""
    try:
        return parse_object(body)
    except UnreadableHook:
        return body.decode("utf-8", "replace")


@dataclass(slots=True)
class ErasedData:
    """What `erase` has erased for good, and what it has not."""

    chats: list[Erased] = field(default_factory=list)
    set_aside: int = 0
    """How many unreadable posts."""
    mutes: int = 0
    """How many were ended, and say no more what they were about."""
    mutes_of_the_file: list[int] = field(default_factory=list)
    """The rules file says what these are about: somebody has to take them out there."""
    being_sent: list[Name] = field(default_factory=list)
    """These chats were left: their messages would be sent without a trace."""
    left_in: Path | None = None
    """A log of SQLite's that still holds what was erased, because another program is reading it."""
    trouble: str = ""
    """Why the database could not be used any more before all was erased; empty as a rule."""


async def erase(
    sessions: Sessions,
    theirs: Theirs,
    *,
    by: str,
    rules: RuleBook | None = None,
    now: datetime,
    progress: Progress = unwatched,
) -> ErasedData:
    """Erase chats and unreadable posts with all that came of them. What is queued for them is not sent any more.

    What a mute held back that is ended by it is sent by `rules`, within the hours of its destination. It works in pages, between which a relay that runs can write; pages that are done stay so.
    """

    def work(report: Progress) -> ErasedData:
        done = ErasedData()
        try:
            _erase(sessions, theirs, done, report)
            end = partial(erase_mute, by=by, timings=timings_of(rules), now=now)
            _erase_mutes(sessions, theirs, done, end)
            done.left_in = sessions.empty_log()
        except (StorageRefused, StorageUnavailable) as error:
            done.trouble = str(error)
        return done

    done = await in_thread(work, progress)
    log.info("%s erases chats: %d, and unreadable posts: %d", by, len(done.chats), done.set_aside)
    return done


def _erase(sessions: Sessions, theirs: Theirs, done: ErasedData, report: Progress) -> None:
    with closing(erase_chats(sessions, theirs.chats)) as erasing:
        for number, (name, erased) in enumerate(erasing):
            report(number, len(theirs.chats))
            if erased is None:
                done.being_sent.append(name)
            else:
                done.chats.append(erased)
    if theirs.set_aside:
        with sessions.writing() as session:
            done.set_aside = sum(erase_set_aside(session, hook.id) for hook in theirs.set_aside)


def _erase_mutes(
    sessions: Sessions, theirs: Theirs, done: ErasedData, end: Callable[..., bool]
) -> None:
    if not theirs.mutes:
        return
    with sessions.writing() as session:
        for number in theirs.mutes:
            sql, cursor = session.operations.sql, session.cursor
            if end(sql, cursor, number):
                done.mutes += 1
            else:
                done.mutes_of_the_file.append(number)
