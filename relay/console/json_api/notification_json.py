"""The JSON of rendered notifications."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from relay.console.notification_look import packed_json
from relay.notification import Notification


class ShownNotification(Struct, kw_only=True):
    """A notification as one transport would send it. Visitors' texts are unescaped: escape them before showing."""

    transport: str
    """email, slack, teams or webhook."""
    subject: str
    """The subject of an email; for other transports the first line."""
    text: str
    """The whole notification as plain text."""
    html: str
    """The HTML document of an email, in which visitors' words are escaped; empty for other transports."""
    message: dict[str, Any] | None
    """The JSON that is posted to Slack, to Teams or by a webhook; null for an email."""
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
