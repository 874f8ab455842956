"""What waits for one destination is owed to others instead. Like `Operations`: inside a transaction that the caller owns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.crash_points import CrashPoint, reach
from relay.outbox.columns import storable, to_ms
from relay.outbox.operations import Operations, claimed_delivery
from relay.outbox.store import Cursor
from relay.outbox.values import Delivery, NewDelivery

AT_ONCE = 50
"""In one transaction, which a hook may have to wait for."""


@dataclass(frozen=True, slots=True)
class Reassigned:
    """Some that waited, and what became of them."""

    moved: int = 0
    owed: tuple[str, ...] = ()
    """A destination for every delivery that is newly owed."""
    last: int | None = None
    """The id of the last that was looked at; None where there are no more."""


def reassign(
    operations: Operations,
    cursor: Cursor,
    destination: str,
    to: Callable[[Delivery], Sequence[NewDelivery]],
    *,
    owed_by: datetime,
    words: str,
    now: datetime,
    after: int = 0,
) -> Reassigned:
    """Of what has been owed since `owed_by` or for longer, at most 50 with an id beyond `after`.

    Each is settled as moved, with `words`, and what `to` says is owed instead; one for which it says nothing waits on.
    """
    rows = operations.sql.find_waiting.run(
        cursor, destination=destination, owed_by=to_ms(owed_by), after=after, limit=AT_ONCE
    ).fetchall()
    moved, owed = 0, list[str]()
    for delivery in map(claimed_delivery, rows):
        instead = to(delivery)
        if not instead:
            continue
        done = operations.sql.reassign.run(
            cursor, delivery_id=delivery.id, settled=to_ms(now), words=storable(words)
        )
        if done.rowcount != 1:
            continue
        moved += 1
        reach(CrashPoint.REASSIGNING)
        chat_id, hook_id = operations.sql.find_chat.run(cursor, delivery_id=delivery.id).fetchone()
        owed += operations.owe(cursor, chat_id, hook_id, instead, to_ms(now))
    last = rows[-1][0] if len(rows) == AT_ONCE else None
    return Reassigned(moved, tuple(owed), last)
