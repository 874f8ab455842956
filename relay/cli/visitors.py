"""Whose data it is: the options by which commands name a visitor, and the chats that are theirs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import unquote_plus

import click

from relay.chat import Chat
from relay.cli.open_outbox import CHAT, database, past_hooks
from relay.cli.printing import could_not_run
from relay.mail_address import canonical_addresses
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.history import SetAside
from relay.outbox.past_chats import (
    NOT_KNOWN_BY_VISITOR,
    OF_SEVERAL_ADDRESSES,
    find_chats,
    read_set_aside,
)
from relay.smartsupp import UnreadableHook, read_chat

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
