"""What waits for one destination is owed to others instead: by a relay itself, or because a person says so."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from relay.clock import pause
from relay.crash_points import CrashPoint, reach
from relay.outbox.columns import storable, to_ms
from relay.outbox.command_session import writing_often
from relay.outbox.delivery_statements import claimed_delivery, is_sending
from relay.outbox.operations import Operations
from relay.outbox.rows import Delivery, NewDelivery
from relay.outbox.schema import deliveries
from relay.outbox.session import Session
from relay.outbox.store import Cursor
from relay.settings.database import Database

AT_ONCE = 50
"""In one transaction, which a hook may have to wait for."""


@dataclass(frozen=True, slots=True)
class Reassigned:
    """Some that waited, and what became of them."""

    moved: int = 0
    owed: tuple[str, ...] = ()
    """A destination for every delivery that is newly queued."""
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
    """Inside a transaction that the caller owns: of what has been owed since `owed_by` or for longer, at most 50 with an id beyond `after`.

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


# -- by a command, beside relays that may run --------------------------------------------------------------

REST = 2
"""A pause is so many times as long as the transaction before it, so that hooks don't wait for SQLite's lock."""
_AHEAD = timedelta(days=1)
"""What was owed by another computer may carry a time that is still to come on this one."""


def waiting(session: Session) -> dict[str, int]:
    """How many deliveries wait for each destination, by name."""
    rows = session.operations.sql.owed_by_destination.run(session.cursor).fetchall()
    return {name: count for name, count, _ in rows}


def count_sending(session: Session, destination: str) -> int:
    """How many deliveries to a destination are being sent right now."""
    question = sa.select(sa.func.count()).where(is_sending, deliveries.c.destination == destination)
    return int(session.ask(question).fetchone()[0])


def reassign_all(
    database: Database,
    destination: str,
    to: Callable[[Delivery], Sequence[NewDelivery]],
    *,
    words: str,
    now: datetime,
) -> int:
    """All that waits for a destination, in pages between which a relay that runs can write; see `reassign`.

    Returns how many deliveries were moved. Raises StorageRefused and StorageUnavailable; pages that are done stay so.
    """
    done = Reassigned(last=0)
    with writing_often(database) as transaction:
        while done.last is not None:
            began = time.monotonic()
            with transaction() as session:
                some = reassign(
                    session.operations,
                    session.cursor,
                    destination,
                    to,
                    owed_by=now + _AHEAD,
                    words=words,
                    now=now,
                    after=done.last,
                )
            done = Reassigned(done.moved + some.moved, done.owed + some.owed, some.last)
            pause(REST * (time.monotonic() - began))
    return done.moved
