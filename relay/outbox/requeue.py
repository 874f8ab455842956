"""Queues deliveries again on request, and queues what waits for one destination for others instead."""

import hashlib
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from relay.clock import pause
from relay.crash_points import CrashPoint, reach
from relay.outbox.accepting import INSERT_PLANNED
from relay.outbox.claiming import claimed_delivery, for_destination
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import (
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    State,
    packed,
    storable,
    to_ms,
    visitor_key,
)
from relay.outbox.history import Record, SetAside, is_chat
from relay.outbox.schema import chats, deliveries, hook_bodies, hooks, set_aside
from relay.outbox.settling import FIND_CHAT, Operations, this_delivery
from relay.outbox.statements import (
    Query,
    bound,
    inserted,
    is_queued,
    is_scheduled,
    is_sending,
    queued_at,
)
from relay.outbox.unsent_counts import QUEUED_BY_DESTINATION, count_scheduled
from relay.outbox.writer import Cursor

_waiting = for_destination.where(
    queued_at <= bound("queued_by"), deliveries.c.id > bound("after")
).order_by(deliveries.c.id)
_moved = (
    sa.update(deliveries)
    .where(this_delivery)
    .values(state="moved", settled_at=bound("settled"), detail=bound("words"))
)
_QUEUED = Query(_waiting.where(is_queued)), Query(_moved.where(is_queued))
_SCHEDULED = Query(_waiting.where(is_scheduled)), Query(_moved.where(is_scheduled))
"""Pairs of statements: find the deliveries, and settle one of them as moved."""
_KEPT = ("chat_id", "hook_id", "created_at", "due_at", "why", "in_digest", "visitor")
_WAITS_AS = Query(sa.select(*(deliveries.c[name] for name in _KEPT)).where(this_delivery))
_WAIT_FOR = Query(
    sa.select(deliveries.c.destination, deliveries.c.recipient).where(is_scheduled).distinct()
)

KEPT_ASIDE = 1000
"""How many unreadable hooks are kept; the oldest are deleted."""
_INSERT_SET_ASIDE = Query(
    lambda insert: inserted(
        insert, set_aside, "received_at", "body_hash", "reason", "body"
    ).on_conflict_do_nothing()
)
_TRIM_SET_ASIDE = Query(
    sa.delete(set_aside).where(
        set_aside.c.id
        <= sa.select(set_aside.c.id)
        .order_by(set_aside.c.id.desc())
        .offset(bound("keep"))
        .limit(1)
        .scalar_subquery()
    )
)


def queue_again(session: Session, record: Record, message_id: str, now: datetime) -> bool:
    """Queue a settled delivery again, as the next generation; make one that waits due at once.

    Its retry schedule starts again; its attempts stay. False where the delivery is no longer as `record` says: it is
    being sent, or was changed meanwhile.
    """
    if record.state is State.SENDING:
        return False
    as_it_was = (
        deliveries.c.id == record.id,
        deliveries.c.state == record.state.value,
        deliveries.c.generation == record.generation,
    )
    change = sa.update(deliveries).where(*as_it_was).values(_change(record, message_id, now))
    return bool(session.ask(change).rowcount == 1)


def _change(record: Record, message_id: str, now: datetime) -> dict[str, Any]:
    """The columns that change when a delivery is queued again, or made due."""
    at, queued = to_ms(now), State.QUEUED.value
    if record.state is State.QUEUED:
        return {"due_at": at}
    if record.state is State.SCHEDULED:
        return {"state": queued, "due_at": at, "released_at": at, "in_digest": sa.false()}
    return _next_generation(record, message_id, at)


def _next_generation(record: Record, message_id: str, at: int) -> dict[str, Any]:
    return {
        "state": State.QUEUED.value,
        "generation": record.generation + 1,
        "message_id": message_id,
        # The email's date, and the start of the retry schedule.
        "created_at": at,
        "due_at": at,
        "released_at": sa.null(),
        "in_digest": sa.false(),
        "quiet": sa.false(),
        "settled_at": sa.null(),
        "failures": 0,
        "unsure": 0,
        "suspect": sa.false(),
        "lost": 0,
        "short": sa.false(),
        # With the receipt the transport would take it for sent.
        "receipt": "",
    }


def look_now(session: Session, destination: str, gate: Gate, now: datetime) -> None:
    """Make the deliveries to a broken destination due, so that one of them tests at once whether it works again."""
    session.operations.close_gate(session.cursor, destination, replace(gate, closed_until=now))
    session.operations.hasten(session.cursor, destination, now, blips=False)


def queue_missing(session: Session, hook_id: int, hook: NewHook) -> list[NewDelivery]:
    """Queue the deliveries that the rules now want for a stored hook and that it does not have yet; returns them."""
    this = hooks.c.id == hook_id
    chat_id = session.ask(sa.select(hooks.c.chat_id).where(this)).fetchone()[0]
    at, visitor = to_ms(hook.received_at), visitor_key(hook.chat.visitor)
    queued = [
        delivery
        for delivery in hook.deliveries
        if session.operations.queue(
            session.cursor, chat_id, hook_id, [delivery], at, visitor=visitor
        )
    ]
    session.ask(sa.update(hooks).where(this).values(rules_hash=hook.rules_hash, trouble=""))
    record = packed(hook.verdicts)
    session.ask(
        sa.update(hook_bodies).where(hook_bodies.c.hook_id == hook_id).values(verdicts=record)
    )
    return queued


def keep_aside(
    operations: Operations, cursor: Cursor, body: bytes, reason: str, now: datetime
) -> None:
    """Store a hook that can't be read, so that a person can look at it and replay it. Beyond KEPT_ASIDE the oldest are deleted."""
    operations.sql[_INSERT_SET_ASIDE].run(
        cursor,
        received_at=to_ms(now),
        body_hash=hashlib.sha256(body).digest(),
        reason=storable(reason),
        body=zlib.compress(body, 1),
    )
    operations.sql[_TRIM_SET_ASIDE].run(cursor, keep=KEPT_ASIDE)
    reach(CrashPoint.SETTING_ASIDE)


def store_set_aside(session: Session, aside: SetAside, hook: NewHook) -> list[NewDelivery]:
    """Store a hook that could not be read before like any other, now that it can; returns the deliveries that it queues."""
    session.operations.accept(session.cursor, replace(hook, deliveries=()))
    session.ask(sa.delete(set_aside).where(set_aside.c.id == aside.id))
    ids = (
        sa.select(hooks.c.id)
        .join(chats, chats.c.id == hooks.c.chat_id)
        .where(
            *is_chat(hook.chat.account, hook.chat.id),
            hooks.c.body_hash == hashlib.sha256(hook.body).digest(),
        )
    )
    hook_id = session.ask(ids).fetchone()[0]
    return queue_missing(session, hook_id, hook)


AT_ONCE = 50
"""Deliveries per transaction, for which a hook may have to wait."""


@dataclass(frozen=True, slots=True)
class Reassigned:
    """How many deliveries were moved, and where to."""

    moved: int = 0
    queued: tuple[str, ...] = ()
    """The destination of each new delivery."""
    last: int | None = None
    """The number of the last delivery looked at; None where there are no more."""


def reassign(
    operations: Operations,
    cursor: Cursor,
    destination: str,
    to: Callable[[Delivery], Sequence[NewDelivery]],
    *,
    queued_by: datetime,
    words: str,
    now: datetime,
    after: int = 0,
    scheduled: bool = False,
    as_before: bool = False,
) -> Reassigned:
    """Queue deliveries to one destination for others instead, at most 50, in the caller's transaction.

    Takes those with numbers above `after` that were queued by `queued_by`. Each is settled as moved, with `words`,
    and replaced by the deliveries that `to` returns; where it returns none the delivery waits on. `scheduled`: of
    those that wait for their time, instead of those queued. `as_before`: the new ones wait as long as these would
    have, for the same reason.
    """
    find, settle = _SCHEDULED if scheduled else _QUEUED
    waiting = operations.sql[find].run(
        cursor, destination=destination, queued_by=to_ms(queued_by), after=after, limit=AT_ONCE
    )
    rows = waiting.fetchall()
    moved, queued = 0, list[str]()
    for delivery in map(claimed_delivery, rows):
        instead = to(delivery)
        if not instead:
            continue
        done = operations.sql[settle].run(
            cursor, delivery_id=delivery.id, settled=to_ms(now), words=storable(words)
        )
        if done.rowcount != 1:
            continue
        moved += 1
        reach(CrashPoint.REASSIGNING)
        if as_before:
            waits = operations.sql[_WAITS_AS].run(cursor, delivery_id=delivery.id).fetchone()
            _wait(operations, cursor, instead, dict(zip(_KEPT, waits, strict=True)))
            continue
        chat_id, hook_id = operations.sql[FIND_CHAT].run(cursor, delivery_id=delivery.id).fetchone()
        queued += operations.queue(cursor, chat_id, hook_id, instead, to_ms(now))
    last = rows[-1][0] if len(rows) == AT_ONCE else None
    return Reassigned(moved, tuple(queued), last)


def _wait(
    operations: Operations, cursor: Cursor, new: Sequence[NewDelivery], kept: dict[str, Any]
) -> None:
    """Schedule deliveries as the one that they replace was, whose columns are `kept`."""
    unsent = {"attempts": 0, "lease_until": None, "settled_at": None}
    for delivery in new:
        operations.insert(cursor, delivery, INSERT_PLANNED, state="scheduled", **kept, **unsent)


def scheduled_for(operations: Operations, cursor: Cursor) -> dict[str, set[str]]:
    """The recipients of all scheduled deliveries, by destination."""
    recipients: dict[str, set[str]] = {}
    for destination, recipient in operations.sql[_WAIT_FOR].run(cursor).fetchall():
        recipients.setdefault(destination, set()).add(recipient)
    return recipients


# -- by a command, beside relays that may run --------------------------------------------------------------

REST = 2
"""The pause after a transaction is this many times as long, so that hooks don't wait for SQLite's lock."""
_AHEAD = timedelta(days=1)
"""How far the clock of the computer that queued a delivery may be ahead of this computer's."""


def waiting(session: Session) -> dict[str, int]:
    """How many deliveries wait for each destination, by name."""
    sql = session.operations.sql
    rows = sql[QUEUED_BY_DESTINATION].run(session.cursor).fetchall()
    scheduled = Counter(count_scheduled(sql, session.cursor))
    return dict(scheduled + Counter({name: count for name, count, _ in rows}))


def count_sending(session: Session, destination: str) -> int:
    """How many deliveries to a destination are being sent right now."""
    question = sa.select(sa.func.count()).where(is_sending, deliveries.c.destination == destination)
    return int(session.ask(question).fetchone()[0])


def reassign_all(
    sessions: Sessions,
    destination: str,
    to: Callable[[Delivery], Sequence[NewDelivery]],
    *,
    words: str,
    now: datetime,
    between: Callable[[int], None],
) -> int:
    """Reassign everything that waits for a destination; returns how many deliveries were moved.

    Works as `reassign`, in short transactions between which a relay can write. `between` gets the number before each
    transaction; an exception from it ends the work. Raises StorageRefused and StorageUnavailable; transactions that
    are done stay.
    """
    moved, after, scheduled = 0, 0, False
    with sessions.writing_often() as transaction:
        while True:
            between(moved)
            began = time.monotonic()
            with transaction() as session:
                batch = reassign(
                    session.operations,
                    session.cursor,
                    destination,
                    to,
                    queued_by=now + _AHEAD,
                    words=words,
                    now=now,
                    after=after,
                    scheduled=scheduled,
                )
            moved += batch.moved
            pause(REST * (time.monotonic() - began))
            if batch.last is None and scheduled:
                return moved
            # What is queued comes first, then what waits for its time.
            after, scheduled = batch.last or 0, scheduled or batch.last is None
