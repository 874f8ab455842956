"""Trials outside the outbox, which are not stored: sent deliveries, a posted hook, and logins at servers.

For `relay send-test`, `relay preview`, `relay post`, `relay check --connect`, the demo, and the console.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from urllib.parse import urlsplit

import msgspec
from yarl import URL

from relay.chat import Chat
from relay.delivery.attempt import attempt_once
from relay.delivery.renderer import Renderer, describe_replacement
from relay.destination import Destination, Secret
from relay.intake import new_deliveries
from relay.languages import language_called
from relay.outbox import Delivery, NewHook
from relay.rules import Match, RuleBook
from relay.rules.reading.value_parsers import BadValue, listed
from relay.rules.recipients import address
from relay.runtime.startup import known_secret
from relay.services import Progress, unwatched
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.smartsupp import read_chat
from relay.text import clean_line
from relay.transports import Ending, Outcome, Transport, clean_answer
from relay.transports.access import Access
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.http import NO_ANSWER, HttpClient, is_page, without_answer
from relay.transports.registry import TRANSPORTS, cure_of, open_transport


def as_queued(
    chat: Chat, body: bytes, matches: Iterable[Match], mail_domain: str, now: datetime
) -> list[Delivery]:
    """Return a delivery for each match, as if claimed for the first attempt. `now`: aware, UTC.

    Message-IDs depend only on the chat and the rules.
    """
    hook = NewHook(body=body, chat=chat, received_at=now, rules_hash="")
    return [
        new.first_attempt(hook, delivery_id=number)
        for number, new in enumerate(new_deliveries(chat, matches, mail_domain), 1)
    ]


# -- a test for one destination --------------------------------------------------------------------------------

GOOD = {Ending.DELIVERED, Ending.ACCEPTED}
TEST_TEMPLATE = "missed"
WAITED = timedelta(minutes=3)
"""How long the test chat's visitor has waited."""
_NEXT = {
    Ending.DELIVERED: "",
    Ending.ACCEPTED: "look in the channel, this does not prove that it was posted",
    Ending.LATER: "not delivered, for a reason that may pass; try again in a few minutes",
    Ending.RATE_LIMITED: "not delivered; try again after {after}",
    Ending.MAYBE_DELIVERED: "check whether it arrived before you send another one",
    Ending.REFUSED: "not delivered, and it would be refused again; fix what the answer names",
    Ending.DESTINATION_BROKEN: "nothing is delivered there until that is fixed; look at {needs}",
}


class CantTest(Exception):
    """Raised where nobody can be sent a test. `problems`: why, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a test message to one recipient."""

    recipient: str
    ending: Ending
    detail: str
    """The answer of the server, or the transport's description."""
    next: str
    """What to do now; empty after a success."""
    cure: tuple[str, ...]
    """How to fix the cause, and the command to run then; empty after a success."""
    trouble: str
    """The error in the template, as `file:line: what`; empty without one."""
    sent_instead: str
    """The notification that was sent because the template is broken; empty where it is not."""

    @property
    def is_good(self) -> bool:
        """Whether the server accepted the message."""
        return self.ending in GOOD

    @property
    def in_words(self) -> str:
        """The result in words: the detail in parentheses, and what to do now."""
        return f"({self.detail})" + (f": {self.next}" if self.next else "")


def queued_test(
    book: RuleBook,
    name: str,
    *,
    to: str | None,
    template: str = TEST_TEMPLATE,
    mail_domain: str,
    now: datetime,
) -> list[Delivery]:
    """Deliveries of a made-up chat: one for each fixed recipient of a destination, or for `to` alone.

    The chat says that it is a test. Raises CantTest where nobody can be sent it.
    """
    body = _test_hook(book.destinations[name], template, now)
    chat = read_chat(body)
    match = Match(
        rule=f"relay send-test {name}",
        template=template,
        destination=name,
        recipients=_test_recipients(book, name, chat, to),
    )
    return as_queued(chat, body, [match], mail_domain, now)


def _test_recipients(book: RuleBook, name: str, chat: Chat, to: str | None) -> tuple[str, ...]:
    recipients = book.recipients[name]
    fixed = recipients.fixed
    if to is None:
        if not fixed:
            _, left_out = recipients.resolve(chat)
            raise CantTest([*left_out, "name a recipient"])
        return fixed
    try:
        wanted = to if to in fixed else address(to)
    except BadValue as bad:
        raise CantTest([str(bad)]) from None
    domains = {domain for pattern in recipients.patterns for domain in pattern.domains}
    if chosen := [each for each in fixed if each.casefold() == wanted.casefold()]:
        return tuple(chosen)
    if wanted.rpartition("@")[2] in domains:
        return (wanted,)
    raise CantTest([f"{to} is not a recipient of {name}; there are: {listed(fixed)}"])


def _test_hook(destination: Destination, template: str, now: datetime) -> bytes:
    """The hook of a made-up chat, which says in every text that people read that it is a test."""
    ended, began = (int(at.timestamp() * 1000) for at in (now, now - WAITED))
    offline, rated = template == "offline", template == "low_rating"
    _ = language_called(destination.language).gettext
    words = _(
        "This is a test: somebody ran `relay send-test {destination}` to see whether it arrives here."
        " There was no such chat, and nobody needs to answer.",
        destination=destination.name,
    )
    channel = {
        "id": f"send-test-{ended}",
        "isMissed": not (offline or rated),
        "isOffline": offline,
        "rating": 1 if rated else None,
        "ratingDesc": words if rated else None,
        "messagesCount": 1,
    }
    message = {"type": "visitor", "content": words, "sentAt": began}
    return json.dumps(
        {
            "accountId": "test",
            "beginAt": began,
            "endAt": ended,
            "channel": channel,
            "visitor": {"name": "TEST (relay send-test)", "note": words},
            "messages": [message],
            "paths": [],
        }
    ).encode()


def needed_names(destination: Destination) -> list[str]:
    """The names of the variables that a destination needs."""
    spec = TRANSPORTS[destination.transport]
    needs = [value.name for value in destination.options.values() if isinstance(value, Secret)]
    return needs + [need for option in destination.options for need in spec.needs.get(option, ())]


async def trial_of(
    delivery: Delivery,
    destination: Destination,
    transport: Transport,
    renderer: Renderer,
    patience: float,
) -> TrialResult:
    """Send one delivery of `queued_test` once, with the real transport. `patience`: seconds that the server may take."""
    attempt = await attempt_once(delivery, destination, transport, renderer, patience)
    outcome = attempt.outcome
    row = None if outcome.ending in GOOD else cure_of(outcome.detail)
    seconds = (outcome.after or timedelta(minutes=1)).total_seconds()
    after, needs = f"{seconds:.0f} s", listed(needed_names(destination))
    return TrialResult(
        recipient=delivery.recipient,
        ending=outcome.ending,
        detail=outcome.detail,
        next=_NEXT[outcome.ending].format(after=after, needs=needs),
        cure=row.lines(destination.name, is_retried=False) if row else (),
        trouble=attempt.trouble,
        sent_instead=describe_replacement(attempt.notification) if attempt.trouble else "",
    )


# -- a hook for a running relay ----------------------------------------------------------------------------------

MAX_WORDS = 2_000
_HEADERS = {"Content-Type": "application/json"}
TAKEN = {200, 202}


@dataclass(frozen=True, slots=True)
class PostedHook:
    """The result of posting a hook."""

    status: int
    """The HTTP status; 0 where no answer came."""
    words: str
    """The relay's answer, which is JSON, or a sentence that says what is wrong; on one line."""
    deliveries: int | None = None
    """How many deliveries were queued; None where the hook was refused."""
    is_ours: bool = True
    """Whether a relay answered, not another program."""
    chat: str = ""
    """Account and id of the chat; empty where the hook was refused."""


class _Taken(msgspec.Struct):
    chat: str
    deliveries: int


class _Refused(msgspec.Struct):
    error: str


async def post_hook(http: HttpClient, url: str, body: bytes) -> PostedHook:
    """Post a hook to a relay, once. Never raises, and reveals nothing of the URL but its host."""
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
            words = clean_line(text, MAX_WORDS)
            return PostedHook(status, words, taken.deliveries, chat=taken.chat)
        msgspec.json.decode(text, type=_Refused)
        return PostedHook(status, clean_answer(text, [url]))
    except (msgspec.MsgspecError, RecursionError):
        answer = "a web page" if is_page(text) else clean_answer(text, [url]) or "nothing"
        return PostedHook(status, f"this is not an answer of the relay: {answer}", is_ours=False)


# -- a login at each server --------------------------------------------------------------------------------------

CONNECTING = 20.0
"""Time limit for each answer of a mail server, in seconds."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A destination, and the result of connecting to it."""

    destination: str
    transport: str
    detail: str
    well: bool
    cure: tuple[str, ...] = ()
    """What to do, and the command to run then; empty after a success."""


async def connect_all(
    book: RuleBook,
    settings: Settings,
    variables: Mapping[str, str],
    progress: Progress = unwatched,
) -> list[Tried]:
    """Connect to all destinations concurrently. Destinations of one mail server share a login. Nothing is sent."""
    secret = partial(known_secret, Environment(variables))
    access = Access(settings, secret, smtp_timeouts=SmtpTimeouts().at_most(CONNECTING))
    # One after the other at the mail server, so that all use the connection that the first has opened.
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
        answer = await transport.connect()
    if isinstance(answer, Outcome):
        row = cure_of(answer.detail)
        cure = row.lines(name, is_retried=False) if row else ()
        return Tried(name, destination.transport, answer.detail, well=False, cure=cure)
    return Tried(name, destination.transport, answer, well=True)
