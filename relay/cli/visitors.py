"""`relay export` and `relay erase`, and the options by which commands name a visitor.

Whose data it is: the options by which commands name a visitor, and the chats that are theirs.

`relay export`: all that is kept of one visitor, as they may ask to see it.

`relay erase`: all that is kept of one visitor, gone before its time.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import click

from relay.chat import Chat
from relay.cli import deliveries_words as words
from relay.cli.open_outbox import CHAT, database, open_store, past_hooks
from relay.cli.printing import FINE, FOUND, as_json, could_not_run, counted, print_lines
from relay.mail_address import canonical_addresses
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.erasing import Erased, erase_chats, erase_set_aside
from relay.outbox.history import (
    Record,
    SetAside,
    StoredHook,
    Wanted,
    attempts_for,
    find,
    stored_hooks,
)
from relay.outbox.past_chats import (
    NOT_KNOWN_BY_VISITOR,
    OF_SEVERAL_ADDRESSES,
    find_chats,
    read_set_aside,
)
from relay.outbox.session import empty_log
from relay.smartsupp import read_chat
from relay.smartsupp.hook_json import UnreadableHook, parse_object

Name = tuple[str, str]
"""A chat's: the account and the chat's id."""
Command = Callable[..., Any]


def whose(command: Command) -> Command:
    """The options, given to a command as `emails`, `visitors` and `chat`."""
    for option in (
        CHAT,
        click.option(
            "--visitor",
            "visitors",
            multiple=True,
            metavar="ID",
            help="Of the visitor with this id of Smartsupp's; may be repeated.",
        ),
        click.option(
            "--email",
            "emails",
            multiple=True,
            metavar="ADDRESS",
            help="Of the visitor who gave this address; may be repeated.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Whose:
    """What a person is known by."""

    emails: frozenset[str]
    visitors: frozenset[str]
    chat: Name | None

    @classmethod
    def asked(
        cls, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None
    ) -> "Whose":
        """Ends the command where nobody is named."""
        named = [canonical_addresses(email) for email in emails]
        addresses = frozenset(chain(*named))
        ids = frozenset(each.strip() for each in visitors)
        if not (addresses or ids or chat) or not all((*named, *ids)):
            raise click.UsageError("say whose: --email ADDRESS, --visitor ID or --chat ACCOUNT/ID")
        return cls(addresses, ids, chat)

    def had(self, chat: Chat) -> bool:
        """Whether it is a chat of theirs."""
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
    """What the database has of them, in the order in which it came."""

    chats: list[Name]
    set_aside: list[SetAside]
    """Hooks that could not be read."""


def find_theirs(whose: Whose) -> Theirs:
    """Ends the command where that can't be found out."""
    there = database()
    try:
        if not (whose.emails or whose.visitors):
            return Theirs([whose.chat] if whose.chat else [], [])
        first = find_chats(there, emails=whose.emails, visitors=whose.visitors)
        for which in (NOT_KNOWN_BY_VISITOR, OF_SEVERAL_ADDRESSES):
            with past_hooks(there, which=which) as hooks:
                for hook in hooks:
                    if whose.had(_read(hook.body)):
                        first.setdefault((hook.account, hook.chat), hook.id)
        if whose.chat:
            first.setdefault(whose.chat, 0)
        aside = [hook for hook in read_set_aside(there) if whose.may_have_sent(hook)]
        return Theirs(sorted(first, key=first.__getitem__), aside)
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error)])


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


ALL = 1_000_000
AT_ONCE = 50
"""Chats per read. Each is a transaction of its own: a long one would let SQLite's log grow without end."""
_HALF_LETTER = re.compile("[\ud800-\udfff]")


@click.command()
@whose
def export(*, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None) -> None:
    """Print all that is kept of a visitor as JSON: the hooks as they came, the deliveries, every attempt.

    The relay may run meanwhile.

    Exit code: 0 done, 1 nothing is kept of them, 2 could not run.
    """
    theirs = find_theirs(Whose.asked(emails, visitors, chat))
    chats = [
        each
        for start in range(0, len(theirs.chats), AT_ONCE)
        for each in _chats(theirs.chats[start : start + AT_ONCE])
    ]
    aside = [words.set_aside_as_json(hook) for hook in theirs.set_aside]
    # A hook may hold half letters, which no output takes; as JSON's escapes they stay what they were.
    click.echo(_HALF_LETTER.sub(_escaped, as_json({"chats": chats, "set_aside": aside})))
    sys.exit(FINE if chats or aside else FOUND)


def _chats(names: Sequence[Name]) -> list[dict[str, Any]]:
    """The stored chats among `names`, each as JSON values with its hooks."""
    with open_store() as session:
        stored = stored_hooks(session, names=names)
        records = find(session, Wanted(chats=names), limit=ALL)
        tries = attempts_for(session, names)
    hooks: dict[Name, list[StoredHook]] = {}
    for hook in stored:
        hooks.setdefault((hook.account, hook.chat), []).append(hook)
    deliveries: dict[Name, list[Record]] = {}
    for record in reversed(records):
        deliveries.setdefault((record.account, record.chat), []).append(record)
    return [
        {
            "account": name[0],
            "chat": name[1],
            "hooks": [_hook(hook) for hook in hooks[name]],
            "deliveries": [
                {
                    **words.as_json(record),
                    "tries": [words.attempt_as_json(each) for each in tries.get(record.id, ())],
                }
                for record in deliveries.get(name, ())
            ],
        }
        for name in names
        if name in hooks
    ]


def _hook(hook: StoredHook) -> dict[str, Any]:
    try:
        came: object = parse_object(hook.body)
    except UnreadableHook:  # one that an older relay could read
        came = hook.body.decode("utf-8", "replace")
    return {"id": hook.id, "received_at": hook.received_at.isoformat(), "hook": came}


def _escaped(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"


@click.command()
@whose
@click.option("--yes", is_flag=True, help="Don't ask.")
def erase(
    *, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None, yes: bool
) -> None:
    """Erase all that is kept of a visitor: chats, hooks, deliveries and attempts, for good.

    It shows the chats and asks first. What is still queued for them is not sent any more. The relay may run meanwhile.
    What was sent stays where it went, and backups hold what they hold.

    Exit code: 0 done, 1 nothing is kept of them or not all could be erased, 2 could not run.
    """
    theirs = find_theirs(Whose.asked(emails, visitors, chat))
    if theirs.chats or theirs.set_aside:
        print_lines(_listed(theirs))
        if not yes:
            click.confirm("Erase them for good?", abort=True)
    done = _erased(theirs)
    print_lines(_told(done))
    troubles = [*_troubles(done), *_left()]
    print_lines(troubles, err=True)
    sys.exit(FINE if (done.chats or done.set_aside) and not troubles else FOUND)


@dataclass(slots=True)
class _Done:
    chats: list[Erased] = field(default_factory=list)
    being_sent: list[Name] = field(default_factory=list)
    set_aside: int = 0


def _erased(theirs: Theirs) -> _Done:
    done = _Done()
    try:
        for name, erased in erase_chats(database(), theirs.chats):
            if erased is None:
                done.being_sent.append(name)
            else:
                done.chats.append(erased)
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([*(_told(done) if done.chats else ()), str(error)])
    if theirs.set_aside:
        with open_store(write=True) as session:
            done.set_aside = sum(erase_set_aside(session, hook.id) for hook in theirs.set_aside)
    return done


def _left() -> Iterator[str]:
    """SQLite's log still holds what was erased, until it is written into the file."""
    path = database()
    if not isinstance(path, Path):
        return
    if not empty_log(path):
        yield (
            f"what was erased is still in {path}-wal, which another program is reading: "
            "run this again later"
        )


# -- in words ----------------------------------------------------------------------------------------------


def _listed(theirs: Theirs) -> Iterator[str]:
    yield from (f"chat {'/'.join(name)}" for name in theirs.chats)
    yield from (f"unreadable post {hook.id}" for hook in theirs.set_aside)


def _told(done: _Done) -> Iterator[str]:
    if done.chats:
        hooks, deliveries, queued = (
            sum(getattr(chat, what) for chat in done.chats)
            for what in ("hooks", "deliveries", "queued")
        )
        unsent = f", {queued} of which were still queued and are not sent" if queued else ""
        yield (
            f"erased {counted(len(done.chats), 'chat')} with {counted(hooks, 'hook')} and "
            f"{counted(deliveries, 'delivery')}{unsent}"
        )
    if done.set_aside:
        yield f"erased {counted(done.set_aside, 'hook')} that could not be read"
    if not (done.chats or done.set_aside or done.being_sent):
        yield "nothing is kept of them"


def _troubles(done: _Done) -> Iterator[str]:
    for name in done.being_sent:
        yield f"chat {'/'.join(name)} is being sent right now and was left: run this again in a minute"
