"""Transports send notifications: each makes one attempt and returns its outcome, with what the server answered. Only the dispatcher retries.

"Add a transport" in CONTRIBUTING.md says what a new one needs.
"""

import errno
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from relay.notification import Notification
from relay.redaction import redact_answer
from relay.text import clean_line
from relay.transports.tls import is_plain_text


class Ending(StrEnum):
    """The ways in which an attempt can end."""

    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """The server accepted the message but posts it later, without confirmation (Teams answers 202)."""
    LATER = "later"
    """Certainly not delivered, for a temporary reason."""
    RATE_LIMITED = "rate limited"
    """The server asks the whole destination to wait; not counted as an attempt."""
    MAYBE_DELIVERED = "maybe delivered"
    """The answer was lost after the message had been sent."""
    REFUSED = "refused"
    """The message will never be accepted."""
    DESTINATION_BROKEN = "destination broken"
    """Login refused, webhook revoked or certificate invalid: nothing is accepted until somebody fixes it."""
    MOVED = "moved"
    """Not sent, because the destination now leads to other recipients, who get the message."""


class Outcome(Struct, frozen=True):
    """The outcome of one attempt, with the server's answer. `detail` is shown to people and contains no secrets."""

    ending: Ending
    detail: str
    after: timedelta | None = None
    """The wait that the server asked for; None if it did not ask."""
    shorten: bool = False
    """Whether the message was refused for its size or format, so that the short form may be accepted."""
    hold: bool = False
    """Whether to leave a retry to a person, because the message may have arrived and a retry would be a duplicate."""
    receipt: str = ""
    """The server's reference to the message, kept with the delivery. Only its transport can interpret it."""
    only_this: bool = False
    """Whether the outcome concerns only this delivery (one mailbox is full), so that others may be sent."""


MAX_WORDS = 300
MAX_TEXT = 100_000


def clean_answer(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's answer on one line of at most 300 characters, without addresses, tokens or `secrets`."""
    # First, because a control character or line break inside a secret would hide it.
    text = clean_line(text, MAX_TEXT)
    return clean_line(redact_answer(text[: 20 * MAX_WORDS], secrets), MAX_WORDS)


def unreachable(error: BaseException) -> str:
    """Return why no connection was made: the cause in words, followed by the system's own text."""
    text = str(getattr(error, "strerror", None) or error or type(error).__name__)
    if isinstance(error, socket.gaierror):
        passing = error.errno == socket.EAI_AGAIN
        cause = "its name can't be looked up now" if passing else "there is no host of this name"
    elif isinstance(error, UnicodeError):
        cause = "this is not a host name"
    elif is_plain_text(error):
        cause = "this port does not encrypt"
    else:
        cause = _CAUSES.get(getattr(error, "errno", None) or 0, "")
    if not cause:
        return f"could not be reached: {text}"
    addresses = ", ".join(f"{host} port {port}" for host, port in _CALLED.findall(text))
    return f"could not be reached: {cause} ({addresses or text})"


_CALLED = re.compile(r"Connect call failed \('([^']*)', (\d+)")
"""The start of asyncio's message for each address that it tried."""


_CAUSES = {
    errno.ECONNREFUSED: "nothing listens on this port",
    errno.ECONNRESET: "it dropped the connection",
    errno.EHOSTUNREACH: "no way leads there",
    errno.ENETUNREACH: "no way leads there",
    errno.ETIMEDOUT: "it did not answer in time",
}


class Identity(Struct, frozen=True, kw_only=True):
    """Identifies a delivery to servers. The first three IDs are the same in all attempts."""

    message_id: str
    """An RFC 5322 Message-ID without the angle brackets, at most 65 characters; `message_id` of `intake` makes it."""
    thread_id: str
    """An ID like `message_id`, shared by all deliveries about one chat."""
    visitor_thread_id: str = ""
    """An ID like `message_id`, shared by all deliveries about one visitor's chats; empty if the visitor is unknown.
    """
    date: datetime
    """When the delivery was queued, or became due, in UTC and whole seconds."""
    chat: str = ""
    """The chat as `<account>/<id>`, for servers that can search for it."""
    unsure: bool = False
    """Whether the outcome of an earlier attempt is unknown, so that the message may have arrived."""
    receipt: str = ""
    """`Outcome.receipt` of an earlier attempt at this delivery, so that completed steps are not repeated."""
    thread_receipt: str = ""
    """The receipt of the first delivery about the chat to this recipient, which begins the thread."""
    quiet: bool = False
    """Whether the message mentions nobody, because another message sent at the same time does."""


@dataclass(slots=True)
class Progress:
    """The progress of an attempt, recorded by its transport."""

    is_sending: bool = False
    """Whether bytes may have been sent after which the server may have the message."""


PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""The progress of the current task's attempt; None if it is not recorded."""


def begin_sending() -> None:
    """Record that the server may have the message from now on; called just before the first such byte is sent."""
    if (progress := PROGRESS.get()) is not None:
        progress.is_sending = True


@contextmanager
def side_request() -> Iterator[None]:
    """Return a context for requests that contain nothing of the message, such as one for a token."""
    before = PROGRESS.set(None)
    try:
        yield
    finally:
        PROGRESS.reset(before)


class Transport(Protocol):
    """Sends to one destination. Opened once and used by many tasks at a time."""

    objection: str
    """Why the settings and secrets don't allow sending, without the secrets; empty if they do."""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        """Make one attempt and return its outcome.

        Never raises for errors of the server or network, and can be cancelled safely. Calls
        `begin_sending` before the server may have the message.
        """
        ...

    async def connect(self) -> Outcome | str:
        """Connect and log in without sending anything.

        Returns a description of the server, or the outcome that a delivery would have. Never raises
        for errors of the server or network.
        """
        ...
