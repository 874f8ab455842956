"""How an attempt at a delivery ended (docs/delivery.md is the law on what follows)."""

from datetime import timedelta
from enum import StrEnum

from msgspec import Struct


class Ending(StrEnum):
    """The ways an attempt can end."""

    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """The far end took it but posts later, out of our sight (Teams answers 202)."""
    LATER = "later"
    """Surely not delivered, for a reason that passes."""
    RATE_LIMITED = "rate limited"
    """The far end asks the whole destination to wait; not counted as an attempt."""
    MAYBE_DELIVERED = "maybe delivered"
    """The answer was lost after the message had gone out."""
    REFUSED = "refused"
    """This message will never pass."""
    DESTINATION_BROKEN = "destination broken"
    """Login refused, webhook revoked, certificate wrong: nothing passes until somebody mends it."""
    MOVED = "moved"
    """Not sent: its destination leads to other recipients by now, and they get it."""


class Outcome(Struct, frozen=True):
    """How one attempt ended, and what the far end said. `detail` is shown to people: it holds no secrets."""

    ending: Ending
    detail: str
    after: timedelta | None = None
    """The wait that the far end asked for, if it asked."""
    shorten: bool = False
    """Refused for size or format: the short form may pass."""
    hold: bool = False
    """Maybe delivered, and a repeat would likely be a copy: leave it to a person."""
    receipt: str = ""
    """What the far end gave us to find the message again: opaque to all but its transport, and kept."""
    only_this: bool = False
    """Says nothing about the destination as a whole (one mailbox is full): others may go on."""
