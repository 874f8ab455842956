"""How long the relay waits for whoever calls it, and for its own database, before it gives up on them."""

from dataclasses import dataclass

from relay.outbox import LONGEST_WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """All in seconds."""

    headers: float = 10.0
    """From the connection, or the answer before, to the end of a request's headers."""
    body: float = 10.0
    """From there to the last byte of a hook's body: no server we know has a deadline for it."""
    write: float = LONGEST_WRITE
    """From there to the hook's being kept."""


USUAL = Deadlines()
