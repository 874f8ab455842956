"""Whose data it is: the options by which commands name a visitor, and the chats that are theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from relay.chat import Chat
from relay.cli.printing import could_not_run
from relay.cli.store import CHAT, database, past_hooks
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.past_hooks import read_set_aside
from relay.outbox.records import SetAside
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
        addresses = frozenset(_address(email) for email in emails)
        ids = frozenset(each.strip() for each in visitors)
        if not (addresses or ids or chat) or "" in addresses | ids:
            raise click.UsageError("say whose: --email ADDRESS, --visitor ID or --chat ACCOUNT/ID")
        return cls(addresses, ids, chat)

    def had(self, chat: Chat) -> bool:
        """Whether it is a chat of theirs."""
        visitor = chat.visitor
        return (
            (chat.account, chat.id) == self.chat
            or visitor.id in self.visitors
            or _address(visitor.email) in self.emails
        )

    def may_have_sent(self, hook: SetAside) -> bool:
        """A hook that can't be read holds one of the addresses; an id alone would be found in many."""
        said = hook.body.lower().replace(rb"\u0040", b"@")
        return any(address.encode() in said for address in self.emails)


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the database has of them, in the order in which it came."""

    chats: list[Name]
    set_aside: list[SetAside]
    """Hooks that could not be read."""


def find_theirs(whose: Whose) -> Theirs:
    """Reads every hook that is kept, some 6 s for 100,000; ends the command where that can't be done."""
    there = database()
    try:
        if not (whose.emails or whose.visitors):
            return Theirs([whose.chat] if whose.chat else [], [])
        chats: dict[Name, None] = {}
        with past_hooks(there) as hooks:
            for hook in hooks:
                if whose.had(_read(hook.body)):
                    chats[hook.account, hook.chat] = None
        return Theirs(
            [*chats], [hook for hook in read_set_aside(there) if whose.may_have_sent(hook)]
        )
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error)])


def _read(body: bytes) -> Chat:
    try:
        return read_chat(body)
    except UnreadableHook:  # one that an older relay could read
        return Chat(account="", id="")


def _address(text: str) -> str:
    return text.strip().casefold()
