"""Notifications as they would be sent, as the JSON API tells them."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from relay.console.notification_look import packed_json
from relay.notification import Notification


class ShownNotification(Struct, kw_only=True):
    """A notification as one transport would send it. Texts of visitors are as they were typed: escape them."""

    transport: str
    """email, slack, teams or webhook."""
    subject: str
    """Of a mail; for others the first line."""
    text: str
    """The whole as plain text."""
    html: str
    """A mail's HTML document, in which visitors' words are escaped; empty for other transports."""
    message: dict[str, Any] | None
    """The JSON that is posted to Slack, to Teams or by a webhook; null for a mail."""
    trouble: str
    """What is wrong with the template, as `file:line: what`; empty where nothing is."""


def shown_notification(
    notification: Notification, transport: str, made_at: datetime, trouble: str
) -> ShownNotification:
    """A notification as it is told. `made_at`: aware, of its delivery."""
    return ShownNotification(
        transport=transport,
        subject=notification.subject,
        text=notification.text,
        html=notification.html if transport == "email" else "",
        message=packed_json(notification, transport, made_at),
        trouble=trouble,
    )
