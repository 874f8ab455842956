"""`relay check --connect`: whether each destination's server is there and lets us in, and whether the database holds
deliveries for destinations that the rules file does not have. Nothing is sent.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from relay.cli.checking import warning
from relay.delivery.retry import stranded
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.command_session import reading
from relay.outbox.requeue import waiting
from relay.rules import Problem, RuleBook
from relay.rules.reading.problem import Place
from relay.runtime.startup import known_secret
from relay.settings.database import Database
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.outcome import Outcome
from relay.transports.registry import Access, cure_of, open_transport

PATIENCE = 20.0
"""Seconds for each answer of a mail server."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A destination, and what came of connecting to it."""

    destination: str
    transport: str
    detail: str
    well: bool
    cure: tuple[str, ...] = ()
    """What to do, and the command to run then."""


def connect_all(book: RuleBook, settings: Settings, variables: Mapping[str, str]) -> list[Tried]:
    """Connects to all destinations at a time; those of one mail server share a login."""
    return asyncio.run(_connect_all(book, settings, variables))


async def _connect_all(
    book: RuleBook, settings: Settings, variables: Mapping[str, str]
) -> list[Tried]:
    secret = partial(known_secret, Environment(variables))
    access = Access(settings, secret, smtp_timeouts=SmtpTimeouts().at_most(PATIENCE))
    try:
        # One after the other at the mail server: the next one finds the connection that the first one opened.
        mail = asyncio.Lock()
        found = await asyncio.gather(
            *(_connect(book, name, access, mail) for name in book.destinations)
        )
    finally:
        await access.close()
    return list(found)


async def _connect(book: RuleBook, name: str, access: Access, mail: asyncio.Lock) -> Tried:
    destination = book.destinations[name]
    try:
        transport = open_transport(destination, access)
    except ValueError as error:
        # The name of a secret, or a sentence about settings.
        why = str(error) if " " in str(error) else f"{error} is not set"
        return Tried(name, destination.transport, f"not tried: {why}", well=False)
    async with mail if destination.transport == "email" else nullcontext():
        found = await transport.connect()
    if isinstance(found, Outcome):
        row = cure_of(found.detail)
        cure = row.lines(name) if row else ()
        return Tried(name, destination.transport, found.detail, well=False, cure=cure)
    return Tried(name, destination.transport, found, well=True)


def stranded_deliveries(book: RuleBook, database: Database) -> list[Problem]:
    """A warning for each destination that deliveries wait for and the rules file does not have; none without a database."""
    if isinstance(database, Path) and not database.exists():
        return []
    try:
        with reading(database) as session:
            found = stranded(waiting(session), book.destinations)
    except (StorageRefused, StorageUnavailable) as error:
        return [warning(Place("database"), f"what waits can't be looked at: {error}")]
    return [warning(Place("database"), f"{name}: {words}") for name, words in found.items()]


def told(tried: Sequence[Tried]) -> Iterator[str]:
    """A line for each."""
    for one in tried:
        word = click.style("ok", fg="green") if one.well else click.style("no", fg="red", bold=True)
        yield f"{one.destination} ({one.transport}): {word}: {one.detail}"
        yield from (f"  {line}" for line in one.cure)


def as_json(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    return [
        {
            "destination": one.destination,
            "transport": one.transport,
            "ok": one.well,
            "detail": one.detail,
            "cure": " ".join(one.cure),
        }
        for one in tried
    ]
