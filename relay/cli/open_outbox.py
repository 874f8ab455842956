"""Common parts of commands about deliveries: the database of the settings, who acts, and options for times and chats."""

import asyncio
import contextlib
import getpass
import os
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from relay.cli.printing import ERASED, could_not_run
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.database_session import CommandSessions
from relay.rules.reading.value_parsers import BadValue, did_you_mean, duration, quoted
from relay.services.find_deliveries import UnknownName
from relay.settings.database import Database
from relay.settings.table import SettingsError, read_settings

T = TypeVar("T")


def database() -> Database:
    """The database that RELAY_DATABASE names; ends the command where the settings are bad."""
    try:
        return read_settings(os.environ).database
    except SettingsError as error:
        raise click.UsageError("\n".join(error.problems)) from None


def sessions() -> CommandSessions:
    """Sessions of the database that RELAY_DATABASE names; ends the command where the settings are bad."""
    return CommandSessions(database())


def author(by: str | None) -> str:
    """The name of the acting person: `by`, or else the login name."""
    if by and by.strip():
        return by.strip()
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def answer_of(service: Coroutine[Any, Any, T], *advice: str) -> T:
    """The result of a service; ends the command, with `advice`, where the database can't be used."""
    try:
        return asyncio.run(service)
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error), *advice])
    except UnicodeEncodeError:
        raise click.UsageError("what was typed is not UTF-8 text") from None


def unknown_name_words(unknown: UnknownName) -> str:
    """A sentence that says that a name does not exist, with the nearest known names."""
    if unknown.kind == "chat":
        return f"there is no chat {unknown.name}; {ERASED}, and `relay chats` lists those that are there"
    hint = did_you_mean(unknown.name, unknown.known)
    return f"there is no {unknown.kind} {quoted(unknown.name)}; {hint}"


def acting_user() -> str:
    """The name of the acting person for services and the log."""
    return f"user {os.getuid()}, by a command,"


def _since(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text.strip()).astimezone()
    try:
        return datetime.now(UTC) - duration(text)
    except (BadValue, OverflowError):
        raise click.BadParameter(
            f"{text!r} is not a time; write 2d, 12h, 30m or 2026-11-22, which begins at midnight here"
        ) from None


def _chat(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[str, str] | None:
    if text is None:
        return None
    account, _, chat = text.partition("/")
    if not account or not chat:
        raise click.BadParameter(
            f"{text!r} is not a chat; write the account and the id, as in 208/910001"
        )
    return account, chat


class _Number(click.IntRange):
    """A number whose help text shows only the lower bound, as nobody gets near the upper one."""

    def _describe_range(self) -> str:
        return f"x>={self.min}"


NUMBER = _Number(1, 2**62)
"""The number of a row, or of rows, within the range of both databases."""
SINCE = click.option(
    "--since", metavar="2d", callback=_since, help="Only since then: 2d, 12h, 30m or 2026-11-22."
)
CHAT = click.option(
    "--chat", metavar="ACCOUNT/ID", callback=_chat, help="Of this chat, such as 208/910001."
)
