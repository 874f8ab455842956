"""Personal data: finds, exports and erases everything that is stored about one visitor."""

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
from relay.outbox.database_session import Sessions
from relay.outbox.erase_on_request import Erased, erase_chats, erase_mute, erase_set_aside
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
from relay.rules import RuleBook
from relay.services import Progress, in_thread, read_all, read_in_thread, unwatched
from relay.services.find_deliveries import Details, attempt_json, delivery_json, set_aside_json
from relay.services.muting import mute_json, timings_of
from relay.smartsupp import UnreadableHook, read_chat
from relay.smartsupp.hook_json import parse_object

log = logging.getLogger(__name__)

Name = tuple[str, str]
"""The name of a chat: the account and the chat's id."""
AT_ONCE = 50
"""Chats per transaction. A longer one would let SQLite's log grow without end."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person, identified by email addresses, visitor ids, or one chat."""

    emails: frozenset[str]
    visitors: frozenset[str]
    chat: Name | None

    @classmethod
    def named(
        cls, emails: Iterable[str] = (), visitors: Iterable[str] = (), chat: Name | None = None
    ) -> "Person":
        """A person identified by email addresses, Smartsupp's visitor ids, or one chat.

        Raises ValueError where nothing is given.
        """
        named = [canonical_addresses(email) for email in emails]
        addresses = frozenset(chain(*named))
        ids = frozenset(each.strip() for each in visitors)
        if not (addresses or ids or chat) or not all((*named, *ids)):
            raise ValueError("nobody is named")
        return cls(addresses, ids, chat)

    @classmethod
    def of_chat(cls, chat: Name, email: str = "") -> "Person":
        """The visitor of a chat and of all other chats with the address `email`; the chat alone without a valid address."""
        try:
            return cls.named([email] if email else (), chat=chat)
        except ValueError:
            return cls.named(chat=chat)

    def has_chat(self, chat: Chat) -> bool:
        """Whether a chat belongs to this person."""
        visitor = chat.visitor
        return (
            (chat.account, chat.id) == self.chat
            or visitor.id in self.visitors
            or not self.emails.isdisjoint(canonical_addresses(visitor.email))
        )

    def may_have_sent(self, hook: SetAside) -> bool:
        """Whether an unreadable hook contains one of the email addresses. Ids are not searched, as they would be found in many."""
        return not self.emails.isdisjoint(chain(*map(canonical_addresses, _texts(hook.body))))


@dataclass(frozen=True, slots=True)
class PersonalData:
    """The chats, unreadable hooks and mutes of a person that are stored, oldest first."""

    chats: list[Name]
    set_aside: list[SetAside]
    """Hooks that could not be read."""
    mutes: list[int] = field(default_factory=list)
    """The numbers of mutes whose condition or reason contains one of the addresses."""


async def find_personal_data(
    sessions: Sessions, person: Person, progress: Progress = unwatched
) -> PersonalData:
    """Everything that is stored about a person. Progress is that of reading the hooks that no index covers."""

    def work(report: Progress) -> PersonalData:
        if not (person.emails or person.visitors):
            return PersonalData([person.chat] if person.chat else [], [])
        first = find_chats(sessions, emails=person.emails, visitors=person.visitors)
        for which in (NOT_KNOWN_BY_VISITOR, OF_SEVERAL_ADDRESSES):
            for hook in read_all(sessions, report, which=which):
                if person.has_chat(_read(hook.body)):
                    first.setdefault((hook.account, hook.chat), hook.id)
        if person.chat:
            first.setdefault(person.chat, 0)
        aside = [hook for hook in read_set_aside(sessions) if person.may_have_sent(hook)]
        mutes = _mutes_about(sessions, person.emails)
        return PersonalData(sorted(first, key=first.__getitem__), aside, mutes)

    return await in_thread(work, progress)


async def find_mutes(sessions: Sessions, numbers: Sequence[int]) -> list[KeptMute]:
    """The mutes with these numbers; missing ones are left out."""
    kept = await read_in_thread(
        sessions, lambda session: all_mutes(session.operations.sql, session.cursor)
    )
    return [each for each in kept if each.mute.id in numbers]


def _mutes_about(sessions: Sessions, emails: frozenset[str]) -> list[int]:
    with sessions.reading() as session:
        kept = all_mutes(session.operations.sql, session.cursor)
    words = ((each.mute.id, f"{each.mute.when} {each.mute.because}") for each in kept)
    return [number for number, text in words if not emails.isdisjoint(canonical_addresses(text))]


def _read(body: bytes) -> Chat:
    try:
        return read_chat(body)
    except UnreadableHook:  # an older relay could read it
        return Chat(account="", id="")


_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def _texts(body: bytes) -> Iterator[str]:
    """Possible texts of bytes that are not JSON: in UTF-8, UTF-16 or an old encoding, escaped as in JSON or as in a form."""
    for encoding in ("utf-8", "cp1252"):
        text = body.replace(b"\0", b"").decode(encoding, "replace")
        yield _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    yield unquote_plus(text.replace("&", " ").replace("=", " "))


@dataclass(frozen=True, slots=True)
class KeptChat:
    """A chat with everything that is stored of it, oldest first."""

    name: Name
    hooks: list[StoredHook]
    deliveries: list[Details]


async def export(
    sessions: Sessions, chats: Sequence[Name], progress: Progress = unwatched
) -> list[KeptChat]:
    """Return everything that is stored of `chats`, in their order; chats that don't exist are left out."""

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
            stored = [Details(each, attempts.get(each.id, [])) for each in deliveries.get(name, ())]
            yield KeptChat(name, hooks[name], stored)


_HALF_LETTER = re.compile("[\ud800-\udfff]")


def exported(
    chats: Iterable[KeptChat], set_aside: Iterable[SetAside] = (), mutes: Iterable[KeptMute] = ()
) -> str:
    """Everything that is stored about a person as JSON: `chats` with their hooks as they came, `set_aside` and `mutes`."""
    every = {
        "chats": [_chat_json(each) for each in chats],
        "set_aside": [set_aside_json(each) for each in set_aside],
        "mutes": [mute_json(each) for each in mutes],
    }
    # A hook may contain lone surrogates, which can't be printed; JSON's escapes preserve them.
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
    return {"id": hook.id, "received_at": at, "hook": hook_as_json(hook.body)}


def hook_as_json(body: bytes) -> dict[str, Any] | str:
    """The JSON object of a hook; of one that only an older relay could read, its bytes as text."""
    try:
        return parse_object(body)
    except UnreadableHook:
        return body.decode("utf-8", "replace")


@dataclass(slots=True)
class ErasedData:
    """The result of `erase`: numbers of what was erased, and what could not be."""

    chats: list[Erased] = field(default_factory=list)
    set_aside: int = 0
    """How many unreadable hooks were erased."""
    mutes: int = 0
    """How many mutes were ended and blanked."""
    mutes_of_the_file: list[int] = field(default_factory=list)
    """Mutes of the rules file, which somebody has to remove there."""
    being_sent: list[Name] = field(default_factory=list)
    """Chats that were not erased, as their messages would be sent without a trace."""
    left_in: Path | None = None
    """SQLite's log, if it still holds erased data because another program is reading it."""
    trouble: str = ""
    """Why the database failed before everything was erased; empty as a rule."""


async def erase(
    sessions: Sessions,
    stored: PersonalData,
    *,
    by: str,
    rules: RuleBook | None = None,
    now: datetime,
    progress: Progress = unwatched,
) -> ErasedData:
    """Erase chats and unreadable hooks with all that belongs to them. What is queued for them is not sent.

    What an erased mute held back is sent by `rules`, within its destination's hours. Works in short transactions,
    between which a relay can write; those that are done stay.
    """

    def work(report: Progress) -> ErasedData:
        done = ErasedData()
        try:
            _erase(sessions, stored, done, report)
            end = partial(erase_mute, by=by, timings=timings_of(rules), now=now)
            _erase_mutes(sessions, stored, done, end)
            done.left_in = sessions.empty_log()
        except (StorageRefused, StorageUnavailable) as error:
            done.trouble = str(error)
        return done

    done = await in_thread(work, progress)
    log.info("%s erases chats: %d, and unreadable posts: %d", by, len(done.chats), done.set_aside)
    return done


def _erase(sessions: Sessions, stored: PersonalData, done: ErasedData, report: Progress) -> None:
    with closing(erase_chats(sessions, stored.chats)) as erasing:
        for number, (name, erased) in enumerate(erasing):
            report(number, len(stored.chats))
            if erased is None:
                done.being_sent.append(name)
            else:
                done.chats.append(erased)
    if stored.set_aside:
        with sessions.writing() as session:
            done.set_aside = sum(erase_set_aside(session, hook.id) for hook in stored.set_aside)


def _erase_mutes(
    sessions: Sessions, stored: PersonalData, done: ErasedData, end: Callable[..., bool]
) -> None:
    if not stored.mutes:
        return
    with sessions.writing() as session:
        for number in stored.mutes:
            sql, cursor = session.operations.sql, session.cursor
            if end(sql, cursor, number):
                done.mutes += 1
            else:
                done.mutes_of_the_file.append(number)
