"""Hand notifications over, once, and say how it ended. Only the dispatcher retries.

Adding a transport: a module with a `SPEC` and a class that satisfies `Transport`, one line in `registry.py`,
one subclass of the contract test, one section in docs/.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from relay.notification import Notification
from relay.transports.outcome import Outcome


class Identity(Struct, frozen=True, kw_only=True):
    """Which delivery this is: the first three stay the same over all attempts."""

    message_id: str
    """An RFC 5322 Message-ID without the angle brackets, at most 65 characters."""
    thread_id: str
    """In the form of `message_id`; shared by all deliveries about one chat."""
    visitor_thread_id: str = ""
    """In the form of `message_id`; shared by all deliveries about one visitor's chats.

    Empty where nobody knows who it was.
    """
    date: datetime
    """Aware, UTC, whole seconds: when the delivery was queued, at once or when its time had come."""
    chat: str = ""
    """`<account>/<id>`, for servers that can be searched by it."""
    unsure: bool = False
    """Nobody knows how an earlier attempt ended: it may be there already."""
    receipt: str = ""
    """`Outcome.receipt` of an earlier attempt at this delivery: what is done already is not done again."""
    thread_receipt: str = ""
    """The receipt of the first delivery about the same chat to the same recipient, for what belongs below it."""
    quiet: bool = False
    """The message mentions nobody, whatever the destination says: another one of the same moment does."""


@dataclass(slots=True)
class Progress:
    """How far an attempt has got."""

    is_sending: bool = False
    """Bytes may have gone out after which the server may have the message."""


PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""The progress of the attempt that the current task makes; None where nobody asks."""


def begin_sending() -> None:
    """Take note that the server may have the message from now on; called just before the first such byte is sent."""
    if (progress := PROGRESS.get()) is not None:
        progress.is_sending = True


@contextmanager
def beside_sending() -> Iterator[None]:
    """A context for requests that carry nothing of the message, such as one for a token."""
    before = PROGRESS.set(None)
    try:
        yield
    finally:
        PROGRESS.reset(before)


class Transport(Protocol):
    """One destination's way out. Opened once, used by many tasks at a time."""

    objection: str
    """Why nothing could be sent with what settings and secrets hold, without the secrets; empty where it may go."""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        """Try once. Never raises for anything that the server or the network does; cancelling it is safe.

        Calls `begin_sending` in time.
        """
        ...

    async def connect(self) -> Outcome | str:
        """Go as far as can be gone without sending anything: connect, log in where there is a login.

        Returns what was found there, in words, or how a send would end. Raises as little as `send`.
        """
        ...
