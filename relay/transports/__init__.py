"""Transports send notifications: each makes one attempt and returns its outcome. Only the dispatcher retries.

A new transport needs a module with a `SPEC` and a class that satisfies `Transport`, a line in
`registry.py`, a subclass of the contract test, and a section in docs/.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from relay.notification import Notification
from relay.transports.outcomes_and_cures import Outcome


class Identity(Struct, frozen=True, kw_only=True):
    """Identifies a delivery to servers. The first three IDs are the same in all attempts."""

    message_id: str
    """An RFC 5322 Message-ID without the angle brackets, at most 65 characters."""
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
def beside_sending() -> Iterator[None]:
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
