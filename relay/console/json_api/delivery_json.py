"""Deliveries, as the JSON API tells them."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from relay.outbox.history import Attempt as KeptAttempt
from relay.outbox.history import Record
from relay.outbox.rows import State

_DUE = {State.QUEUED, State.SCHEDULED}


class Delivery(Struct, kw_only=True):
    """What is or was sent to one destination."""

    id: int
    """The relay's number of the delivery."""
    alert: bool
    """Whether it is about trouble with the relay, not about a chat."""
    account: str
    """Empty for an alert and for a digest."""
    chat: str
    """The chat's id; of an alert its trouble, of a digest `digest:` and its number."""
    visitor: str
    """The visitor's name; may be empty."""
    hook: int
    """The number of the hook that led to it."""
    rule: str
    """The name of the rule that asked for it; empty for an alert."""
    template: str
    """The name of the template by which it is rendered."""
    destination: str
    """The name of the destination in the rules file."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    state: State
    """Where it stands; queued, scheduled and sending are under way, the others are its end."""
    created_at: datetime
    """When it was made, in UTC."""
    due_at: datetime | None
    """While it waits: when it is sent, at the earliest."""
    released_at: datetime | None
    """When it was queued, where it waited for its time before."""
    settled_at: datetime | None
    """When it reached its end, in UTC; null while it is under way."""
    why: str | None
    """Why it was not queued at once."""
    digest: int | None
    """The delivery of the digest that its chat is in."""
    attempts: int
    """How many attempts were made."""
    detail: str
    """What the server said last, or why it was given up."""
    message_id: str
    """The Message-ID of its mail, which stays the same in each attempt; others keep it by this id, too."""
    generation: int
    """1, and one more for each time that it was sent again by hand."""
    instead_of: str | None
    """The destination where it failed, if this one is its fallback."""


class Attempt(Struct, kw_only=True):
    """One attempt at a delivery."""

    number: int
    """From 1, of its delivery."""
    started_at: datetime
    """When it began, in UTC."""
    ended_at: datetime | None
    """When its answer came, in UTC; null while it is under way, or where none came."""
    ending: str | None
    """Null while it is under way."""
    detail: str
    """The server's words; empty while it is under way."""


class TriedDelivery(Struct, kw_only=True):
    """A delivery with its attempts, first to last."""

    delivery: Delivery
    """The delivery."""
    attempts: list[Attempt]
    """The first one first."""


def delivery_of(record: Record) -> Delivery:
    """A delivery as it is told."""
    return Delivery(
        id=record.id,
        alert=record.is_alert,
        account=record.account,
        chat=record.chat,
        visitor=record.visitor,
        hook=record.hook_id,
        rule=record.rule,
        template=record.template,
        destination=record.destination,
        recipient=record.recipient,
        state=record.state,
        created_at=record.created_at,
        due_at=record.due_at if record.state in _DUE else None,
        released_at=record.released_at,
        settled_at=record.settled_at,
        why=record.why or None,
        digest=record.digest,
        attempts=record.attempts,
        detail=record.detail,
        message_id=record.message_id,
        generation=record.generation,
        instead_of=record.instead_of or None,
    )


def tried(record: Record, attempts: Iterable[KeptAttempt]) -> TriedDelivery:
    """A delivery with its attempts."""
    return TriedDelivery(
        delivery=delivery_of(record), attempts=[attempt_of(each) for each in attempts]
    )


def attempt_of(kept: KeptAttempt) -> Attempt:
    return Attempt(
        number=kept.number,
        started_at=kept.started_at,
        ended_at=kept.ended_at,
        ending=kept.ending or None,
        detail=kept.detail,
    )
