"""Shows a delivery as its medium does: rendered as for an attempt, packed by its transport, and shown as a look-alike."""

import json
from datetime import datetime
from typing import Any

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from relay.delivery.renderer import NothingLeft
from relay.languages import N_, Language
from relay.notification import Notification
from relay.outbox import Delivery
from relay.outbox.database_session import Session
from relay.outbox.history import Record, stored_hooks
from relay.preview.lookalike import LOOKALIKES
from relay.transports.registry import REGISTRATIONS
from relay.web.app import Running


class Look(Struct, frozen=True, kw_only=True):
    """A delivery as its medium shows it, or why it can't be shown."""

    transport: str = ""
    """The transport's name; empty where the delivery can't be shown."""
    subject: str = ""
    text: str = ""
    html: Markup | None = None
    """A look-alike, which is safe HTML."""
    trouble: str = ""
    """The error in the template; empty without one."""
    why_not: str = ""


async def look_of(running: Running, record: Record, language: Language) -> Look:
    """A delivery as its medium shows it, by the present rules and templates."""
    _ = language.gettext
    try:
        notification, transport, trouble = await rendered(running, record)
    except CantBeShown as error:
        return Look(why_not=_(str(error)))
    return packed_look(notification, transport, record.created_at, trouble)


def packed_look(
    notification: Notification, transport: str, created_at: datetime, trouble: str
) -> Look:
    """A notification as the medium of a transport shows it. `created_at`: of its delivery, aware."""
    look = Look(transport=transport, trouble=trouble)
    message = packed_json(notification, transport, created_at)
    if message is None:
        return replace(look, subject=notification.subject, text=notification.text)
    if transport in LOOKALIKES:
        html = Markup(LOOKALIKES[transport](message))  # noqa: S704 - escapes all it is given
        return replace(look, html=html)
    return replace(look, text=json.dumps(message, indent=2, ensure_ascii=False))


def packed_json(notification: Notification, transport: str, created_at: datetime) -> Any:  # noqa: ANN401 - JSON
    """The JSON that the transport posts; None for an email. `created_at`: aware."""
    message = REGISTRATIONS[transport].message
    return message and message(notification, created_at)


async def mail_of(running: Running, record: Record) -> str:
    """The HTML of a delivery's email; empty where there is none."""
    try:
        notification, transport, _ = await rendered(running, record)
    except CantBeShown:
        return ""
    return notification.html if transport == "email" else ""


class CantBeShown(Exception):
    """Raised where the chat or the rule of a notification no longer exists; the message says why, in English."""


async def rendered(running: Running, record: Record) -> tuple[Notification, str, str]:
    """The notification, its transport's name, and the error in the template. Raises CantBeShown."""
    in_force = running.parts.in_force
    destination = in_force.rules.destinations.get(record.destination)
    if destination is None:
        raise CantBeShown(N_("This destination is no longer in the rules."))
    body = await running.parts.outbox.read(lambda read: _body(read, record))
    if body is None:
        raise CantBeShown(N_("Its chat was erased."))
    delivery = _delivery(record, body)
    if delivery.is_alert or delivery.is_digest:
        try:
            notification = await in_force.renderer.render(delivery, destination, bodies=True)
        except NothingLeft:
            raise CantBeShown(N_("Its chats were erased.")) from None
        return notification, destination.transport, ""
    notification, trouble = await in_force.renderer.try_out(delivery, destination, bodies=True)
    return notification, destination.transport, trouble


def _delivery(record: Record, body: bytes) -> Delivery:
    """A stored delivery as for its first attempt."""
    return Delivery(
        id=record.id,
        account=record.account,
        chat=record.chat,
        hook_id=record.hook_id,
        rule=record.rule,
        template=record.template,
        destination=record.destination,
        recipient=record.recipient,
        message_id=record.message_id,
        created_at=record.created_at,
        released_at=record.released_at,
        body=body,
        instead_of=record.instead_of,
        why=record.why,
    )


def _body(read: Session, record: Record) -> bytes | None:
    hooks = stored_hooks(read, ids=[record.hook_id])
    return hooks[0].body if hooks else None
