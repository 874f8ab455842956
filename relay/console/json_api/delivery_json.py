"""The JSON of deliveries, their attempts, and rendered notifications."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from relay.console.json_api.api_request import copied
from relay.console.notification_look import packed_json
from relay.notification import Notification
from relay.outbox.delivery_types import State
from relay.outbox.history import Attempt as KeptAttempt
from relay.outbox.history import Record

_DUE = {State.QUEUED, State.SCHEDULED}


class Delivery(Struct, kw_only=True):
    """A delivery: one notification to one recipient of a destination."""

    id: int
    """The relay's number of the delivery."""
    alert: bool
    """Whether it is an alert of the relay about itself, not about a chat."""
    account: str
    """Smartsupp's id of the account; empty for an alert and for a digest."""
    chat: str
    """Smartsupp's id of the chat; for an alert the problem, for a digest `digest:` and its number."""
    visitor: str
    """The visitor's name; may be empty."""
    hook: int
    """The number of the hook that led to it."""
    rule: str
    """The name of the rule that made it; empty for an alert."""
    template: str
    """The name of the template that renders it."""
    destination: str
    """The name of the destination in the rules file."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    state: State
    """The state; queued, scheduled and sending are under way, the others are final."""
    created_at: datetime
    """When it was made, in UTC."""
    due_at: datetime | None
    """When it is sent, at the earliest, in UTC; null unless it waits."""
    released_at: datetime | None
    """When it was queued after it had been scheduled, in UTC; null for others."""
    settled_at: datetime | None
    """When it reached a final state, in UTC; null while it is under way."""
    why: str | None
    """Why it was not queued at once; null where it was."""
    digest: int | None
    """The number of the digest's delivery that contains its chat; null for none."""
    attempts: int
    """How many attempts were made."""
    detail: str
    """The last answer of the server, or why the delivery was given up."""
    message_id: str
    """The Message-ID of its email, the same in each attempt; deliveries by other transports have one, too."""
    generation: int
    """1, and one more for each time that it was sent again."""
    instead_of: str | None
    """The name of the destination that failed, if this delivery goes to its fallback; else null."""


class Attempt(Struct, kw_only=True):
    """One attempt at a delivery."""

    number: int
    """The number of the attempt within its delivery, from 1."""
    started_at: datetime
    """When it began, in UTC."""
    ended_at: datetime | None
    """When its answer came, in UTC; null while it is under way, or where none came."""
    ending: str | None
    """How the attempt ended; null while it is under way."""
    detail: str
    """The server's answer; empty while it is under way."""


class TriedDelivery(Struct, kw_only=True):
    """A delivery with its attempts."""

    delivery: Delivery
    """The delivery, without its attempts."""
    attempts: list[Attempt]
    """The attempts, oldest first."""


def delivery_of(record: Record) -> Delivery:
    """A stored delivery as JSON."""
    return copied(
        Delivery,
        record,
        alert=record.is_alert,
        hook=record.hook_id,
        due_at=record.due_at if record.state in _DUE else None,
        why=record.why or None,
        instead_of=record.instead_of or None,
    )


def tried(record: Record, attempts: Iterable[KeptAttempt]) -> TriedDelivery:
    """A stored delivery with its attempts as JSON."""
    return TriedDelivery(
        delivery=delivery_of(record), attempts=[attempt_of(each) for each in attempts]
    )


def attempt_of(kept: KeptAttempt) -> Attempt:
    """A stored attempt as the API shows it."""
    return copied(Attempt, kept, ending=kept.ending or None)


class ShownNotification(Struct, kw_only=True):
    """A notification as one transport would send it. Visitors' texts are unescaped: escape them before showing."""

    transport: str
    """The transport's name in the rules file, such as email."""
    subject: str
    """The subject of an email; for other transports the first line."""
    text: str
    """The whole notification as plain text."""
    html: str
    """The HTML document of an email, in which visitors' words are escaped; empty for other transports."""
    message: dict[str, Any] | None
    """The JSON that is posted; null for an email."""
    trouble: str
    """The error in the template, as `file:line: what`; empty without one."""


def shown_notification(
    notification: Notification, transport: str, made_at: datetime, trouble: str
) -> ShownNotification:
    """A rendered notification as JSON. `made_at`: when its delivery was made, aware."""
    return ShownNotification(
        transport=transport,
        subject=notification.subject,
        text=notification.text,
        html=notification.html if transport == "email" else "",
        message=packed_json(notification, transport, made_at),
        trouble=trouble,
    )
