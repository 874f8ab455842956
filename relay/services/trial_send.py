"""What is tried outside the outbox: deliveries sent once, a hook posted to a running relay, a login at each server.

Nothing of it is kept. For `relay send-test`, `relay preview`, `relay post`, the demo, and `relay check --connect`.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from urllib.parse import urlsplit

import msgspec
from yarl import URL

from relay.chat import Chat
from relay.intake import new_deliveries
from relay.outbox import Delivery, NewHook
from relay.rules import Match, RuleBook
from relay.runtime.startup import known_secret
from relay.services import Progress, unwatched
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.text import clean_line
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.http import NO_ANSWER, HttpClient, is_page, without_answer
from relay.transports.outcome import Outcome, in_its_words
from relay.transports.registry import Access, cure_of, open_transport


def as_queued(
    chat: Chat, body: bytes, matches: Iterable[Match], mail_domain: str, now: datetime
) -> list[Delivery]:
    """What the rules ask for, as if it had been taken from the outbox for the first attempt.

    `now`: aware, UTC. The same chat and rules always give the same Message-IDs.
    """
    hook = NewHook(body=body, chat=chat, received_at=now, rules_hash="")
    return [
        new.first_attempt(hook, delivery_id=number)
        for number, new in enumerate(new_deliveries(chat, matches, mail_domain), 1)
    ]


MAX_WORDS = 2_000
_HEADERS = {"Content-Type": "application/json"}
TAKEN = {200, 202}


@dataclass(frozen=True, slots=True)
class PostedHook:
    """What came of posting one hook."""

    status: int
    """0 where no answer came."""
    words: str
    """The relay's answer, which is JSON, or a sentence that says what is wrong; on one line."""
    deliveries: int | None = None
    """None where the hook was not taken."""
    is_ours: bool = True
    """False where something else than a relay answered."""


class _Taken(msgspec.Struct):
    chat: str
    deliveries: int


class _Refused(msgspec.Struct):
    error: str


async def post_hook(http: HttpClient, url: str, body: bytes) -> PostedHook:
    """Post it once. Never raises, and shows nothing of the URL but its host."""
    if objection := http.objection(url):
        return PostedHook(0, f"the hook's address {objection}")
    try:
        async with http.session(url).post(
            URL(url, encoded=True), data=body, headers=_HEADERS, ssl=http.tls
        ) as answer:
            status, text = answer.status, await answer.text()
    except NO_ANSWER as error:
        where = f"the relay at {urlsplit(url).hostname}"
        return PostedHook(0, without_answer(error, where).detail)
    return _understood(status, text, url)


def _understood(status: int, text: str, url: str) -> PostedHook:
    try:
        if status in TAKEN:
            taken = msgspec.json.decode(text, type=_Taken)
            return PostedHook(status, clean_line(text, MAX_WORDS), taken.deliveries)
        msgspec.json.decode(text, type=_Refused)
        return PostedHook(status, in_its_words(text, [url]))
    except (msgspec.MsgspecError, RecursionError):
        what = "a web page" if is_page(text) else in_its_words(text, [url]) or "nothing"
        return PostedHook(status, f"this is not an answer of the relay: {what}", is_ours=False)


CONNECTING = 20.0
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


async def connect_all(
    book: RuleBook,
    settings: Settings,
    variables: Mapping[str, str],
    progress: Progress = unwatched,
) -> list[Tried]:
    """Connect to all destinations at a time; those of one mail server share a login. Nothing is sent."""
    secret = partial(known_secret, Environment(variables))
    access = Access(settings, secret, smtp_timeouts=SmtpTimeouts().at_most(CONNECTING))
    # One after the other at the mail server: the next one finds the connection that the first one opened.
    mail, done, total = asyncio.Lock(), count(1), len(book.destinations)

    async def connect(name: str) -> Tried:
        tried = await _connect(book, name, access, mail)
        progress(next(done), total)
        return tried

    try:
        return await asyncio.gather(*map(connect, book.destinations))
    finally:
        await access.close()


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
