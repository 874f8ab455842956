"""Settles attempts: stores how they ended, queues what follows, and closes and opens the gates of destinations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.crash_points import CrashPoint, reach
from relay.outbox.claiming import Claiming
from relay.outbox.delivery_types import (
    BLIP,
    Delivery,
    Gate,
    Settlement,
    State,
    from_ms,
    maybe_ms,
    maybe_time,
    storable,
    to_ms,
)
from relay.outbox.pauses import FORGET_GATE, is_closed
from relay.outbox.schema import attempts, deliveries, gates
from relay.outbox.statements import (
    Insert,
    Query,
    bound,
    inserted,
    is_queued,
    is_sending,
    ms,
    queued_at,
    text,
)
from relay.outbox.troubles import SET_MARK
from relay.outbox.writer import Cursor
from relay.transports import Ending

TRIED = "writing was tried"
"""The name of a mark that is set to test whether the database can be written."""
_SUCCESSFUL = {Ending.DELIVERED, Ending.ACCEPTED}

this_delivery = deliveries.c.id == bound("delivery_id")
still_ours = sa.and_(this_delivery, is_sending, deliveries.c.attempts == bound("number"))
"""Matches a delivery only while this relay holds its current lease."""

_SETTLE = Query(
    sa.update(deliveries)
    .where(still_ours)
    .values(
        state=bound("to_state"),
        due_at=sa.func.coalesce(ms("due"), deliveries.c.due_at),
        settled_at=bound("settled"),
        lease_until=sa.null(),
        failures=deliveries.c.failures + bound("counts"),
        unsure=deliveries.c.unsure + bound("is_unsure"),
        suspect=False,
        lost=0,
        short=bound("shortened"),
        detail=bound("words"),
        receipt=sa.case(
            (text("new_receipt") != "", text("new_receipt")), else_=deliveries.c.receipt
        ),
    )
)
_SETTLE_LATE = Query(
    sa.update(deliveries)
    .where(
        this_delivery,
        # Not if a person sent it again meanwhile: that is another message.
        deliveries.c.message_id == bound("message"),
        deliveries.c.state != "delivered",
        deliveries.c.state != "accepted",
    )
    .values(
        state=bound("to_state"),
        settled_at=bound("settled"),
        lease_until=sa.null(),
        detail=bound("words"),
    )
)
_END_ATTEMPT = Query(
    sa.update(attempts)
    .where(attempts.c.delivery_id == bound("delivery_id"), attempts.c.number == bound("at_number"))
    .values(ended_at=bound("ended"), ending=bound("how"), detail=bound("words"))
)
FIND_CHAT = Query(sa.select(deliveries.c.chat_id, deliveries.c.hook_id).where(this_delivery))
# Due since it was queued, so that the oldest goes first, and before what comes from now on.
_hasten = (
    sa.update(deliveries)
    .where(is_queued, deliveries.c.destination == bound("of_destination"))
    .values(due_at=sa.case((queued_at < ms("now"), queued_at), else_=ms("now")))
)
_HASTEN = Query(_hasten.where(deliveries.c.due_at > queued_at))
_HASTEN_BLIPS = Query(
    _hasten.where(
        deliveries.c.due_at > bound("now"),
        deliveries.c.due_at <= bound("blip_until"),
        deliveries.c.failures == 1,
        deliveries.c.unsure == 0,
    )
)
_RECALL = Query(_hasten.where(deliveries.c.due_at > bound("beyond")))


@Query
def _write_gate(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    write = inserted(insert, gates, "destination", "closed_until", "broken_since", "reason")
    return write.on_conflict_do_update(
        index_elements=["destination"],
        set_={
            "closed_until": write.excluded.closed_until,
            "broken_since": sa.func.coalesce(gates.c.broken_since, write.excluded.broken_since),
            "reason": write.excluded.reason,
        },
    )


# A pause by a person stays, whatever the relay learns of the server.
_OPEN_PAUSED_GATE = Query(
    sa.update(gates)
    .where(gates.c.destination == bound("of_destination"))
    .values(closed_until=0, broken_since=sa.null(), reason="")
)
_GATES = Query(
    sa.select(
        gates.c.destination, gates.c.closed_until, gates.c.broken_since, gates.c.reason
    ).where(is_closed)
)


@dataclass(frozen=True, slots=True)
class Operations(Claiming):
    """All operations on deliveries: accept, claim and settle, each inside a transaction of the caller's."""

    def settle(self, cursor: Cursor, delivery: Delivery, settlement: Settlement) -> list[str]:
        """Store how an attempt ended; returns the destinations for which it queued further deliveries.

        Only the holder of the current lease decides what follows. A message that did arrive counts, however late that
        is known.
        """
        ended = to_ms(settlement.ended_at)
        words = storable(settlement.detail)
        self.sql[_END_ATTEMPT].run(
            cursor,
            delivery_id=delivery.id,
            at_number=delivery.attempt,
            ended=ended,
            how=settlement.ending.value,
            words=words,
        )
        reach(CrashPoint.ATTEMPT_ENDED)
        settled = None if settlement.state is State.QUEUED else ended
        ours = self.sql[_SETTLE].run(
            cursor,
            delivery_id=delivery.id,
            number=delivery.attempt,
            to_state=settlement.state.value,
            due=maybe_ms(settlement.due_at),
            settled=settled,
            counts=int(settlement.counts),
            is_unsure=int(settlement.ending is Ending.MAYBE_DELIVERED),
            shortened=settlement.short,
            words=words,
            new_receipt=storable(settlement.receipt),
        )
        if ours.rowcount != 1:
            if settlement.ending in _SUCCESSFUL:
                self.sql[_SETTLE_LATE].run(
                    cursor,
                    delivery_id=delivery.id,
                    message=delivery.message_id,
                    to_state=settlement.state.value,
                    settled=ended,
                    words=words,
                )
            return []
        reach(CrashPoint.SETTLING)
        if not settlement.also_queued:
            return []
        chat_id, hook_id = self.sql[FIND_CHAT].run(cursor, delivery_id=delivery.id).fetchone()
        return self.queue(cursor, chat_id, hook_id, settlement.also_queued, ended)

    def try_to_write(self, cursor: Cursor, *, now: datetime) -> None:
        """Set a mark that has no meaning, to see whether the database can be written."""
        self.sql[SET_MARK].run(cursor, name=TRIED, at=to_ms(now))

    def hasten(self, cursor: Cursor, destination: str, now: datetime, *, blips: bool) -> None:
        """Make all deliveries queued for a destination due; with `blips` only those that have failed exactly once."""
        where = {"of_destination": destination, "now": to_ms(now)}
        if blips:
            self.sql[_HASTEN_BLIPS].run(cursor, **where, blip_until=to_ms(now + BLIP))
        else:
            self.sql[_HASTEN].run(cursor, **where)

    def recall(self, cursor: Cursor, destination: str, now: datetime, beyond: datetime) -> None:
        """Make the deliveries queued for a destination that are due after `beyond` due at `now`."""
        self.sql[_RECALL].run(
            cursor, of_destination=destination, now=to_ms(now), beyond=to_ms(beyond)
        )

    def close_gate(self, cursor: Cursor, destination: str, gate: Gate) -> None:
        """Store that a destination's gate is closed, until when and why."""
        self.sql[_write_gate].run(
            cursor,
            destination=destination,
            closed_until=to_ms(gate.closed_until),
            broken_since=maybe_ms(gate.broken_since),
            reason=storable(gate.reason),
        )
        reach(CrashPoint.GATE_CLOSING)

    def open_gate(self, cursor: Cursor, destination: str) -> None:
        """Store that a destination's gate is open."""
        if self.sql[FORGET_GATE].run(cursor, of_destination=destination).rowcount == 0:
            self.sql[_OPEN_PAUSED_GATE].run(cursor, of_destination=destination)

    def gates(self, cursor: Cursor) -> dict[str, Gate]:
        """The closed gates, by destination."""
        return {
            name: Gate(from_ms(until), maybe_time(broken), reason)
            for name, until, broken, reason in self.sql[_GATES].run(cursor).fetchall()
        }
