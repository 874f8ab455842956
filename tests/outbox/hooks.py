"""Hooks and outcomes for tests of the outbox."""

from datetime import datetime, timedelta

from relay.outbox import Delivery, NewDelivery, NewHook, Outbox, Settlement, State
from relay.smartsupp import read_chat
from relay.transports import Ending
from tests.builders import NOON, a_hook, later

LEASE = timedelta(minutes=20)


def a_new_hook(
    chat: int = 1,
    *,
    destinations: tuple[str, ...] = ("desk",),
    rule: str = "Missed chats",
    rating: int | None = None,
    at: datetime = NOON,
    of: bytes = b"",
) -> NewHook:
    body = of or a_hook(chat, rating=rating)
    return NewHook(
        body=body,
        chat=read_chat(body),
        received_at=at,
        rules_hash="abc",
        deliveries=tuple(
            NewDelivery(
                rule=rule,
                template="missed",
                destination=name,
                recipient=f"{name}@example.com",
                message_id=f"{chat}.{name}@example.org",
            )
            for name in destinations
        ),
    )


def ended(ending: Ending, state: State, **more: object) -> Settlement:
    return Settlement(ending=ending, detail="said so", state=state, ended_at=NOON, **more)  # type: ignore[arg-type]


DELIVERED = ended(Ending.DELIVERED, State.DELIVERED)
TRY_LATER = ended(Ending.LATER, State.QUEUED, due_at=later(seconds=30), counts=True)


async def claim_one(outbox: Outbox, *, at: float = 0) -> Delivery:
    claim = await outbox.claim("desk", now=later(seconds=at), lease=LEASE, limit=1)
    (delivery,) = claim.deliveries
    return delivery
