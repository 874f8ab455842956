"""What is sent on trial: a notification outside the outbox, and a hook to a running relay.

A notification told outside the outbox, for `relay preview` and `relay send-test`: one attempt, and nothing is kept.

Posts hooks to a running relay, as Smartsupp would: for `relay post` and the demo.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
from yarl import URL

from relay.chat import Chat
from relay.delivery.attempt import identity_of
from relay.delivery.renderer import Renderer
from relay.destination import Destination
from relay.intake import new_deliveries
from relay.notification import Notification
from relay.outbox import Delivery, NewHook
from relay.rules import Match
from relay.text import clean_line
from relay.transports import Transport
from relay.transports.http import NO_ANSWER, HttpClient, is_page, without_answer
from relay.transports.outcome import Ending, Outcome, in_its_words
from relay.transports.registry import TRANSPORTS


@dataclass(frozen=True, slots=True)
class Told:
    """How it ended, and what was wrong with the template: `file:line: what`, or empty."""

    notification: Notification
    trouble: str
    outcome: Outcome


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


async def tell_once(
    delivery: Delivery,
    destination: Destination,
    transport: Transport,
    renderer: Renderer,
    patience: float,
) -> Told:
    """As the dispatcher does it. Never raises for anything that a template or a server does.

    `patience`: seconds that the server may take.
    """
    notification, trouble = await renderer.try_out(
        delivery, destination, bodies=TRANSPORTS[destination.transport].bodies
    )
    identity = identity_of(delivery, notification.visitor_id)
    try:
        async with asyncio.timeout(patience):
            outcome = await transport.send(notification, delivery.recipient, identity)
    except TimeoutError:
        outcome = Outcome(Ending.MAYBE_DELIVERED, f"no answer within {patience:g} s")
    return Told(notification, trouble, outcome)


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
        return PostedHook(status, f"this is no answer of the relay: {what}", is_ours=False)
