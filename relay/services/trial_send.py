"""A notification told outside the outbox, for `relay preview` and `relay send-test`: one attempt, and nothing is kept."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.chat import Chat
from relay.delivery.identity import identity_of
from relay.delivery.render import Renderer
from relay.destination import Destination
from relay.intake import new_deliveries
from relay.notification import Notification
from relay.outbox import Delivery, NewHook
from relay.rules import Match
from relay.transports import Transport
from relay.transports.outcome import Ending, Outcome
from relay.transports.registry import TRANSPORTS


@dataclass(frozen=True, slots=True)
class Told:
    """How it ended, and what was wrong with the template: `file:line: what`, or empty."""

    notification: Notification
    trouble: str
    outcome: Outcome


def as_owed(
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
    """As the dispatcher does it. Never raises for anything that a template or a far end does.

    `patience`: seconds that the far end may take.
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
