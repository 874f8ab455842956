"""What each act of the outbox does inside its transaction: a cursor and values in, values out.

Whoever calls these owns the transaction; none of them commits. They run in the writer's thread.
"""

import hashlib
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from relay.crash_points import CrashPoint, reach
from relay.outbox.columns import from_ms, maybe_ms, maybe_time, storable, to_ms
from relay.outbox.statements import Statements
from relay.outbox.store import Cursor
from relay.outbox.values import (
    BLIP,
    Accepted,
    Claim,
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    Settlement,
    State,
)
from relay.outbox.visitor_keys import keys_of
from relay.outcome import Ending

MOST_LOST = 5
"""Leases that may end without an outcome, each as the only suspect, before a delivery is quarantined.

Seen in tests/journeys/test_kill.py (30 kills under load, about 1,500 deliveries): while every lost lease counted,
three of them quarantined 12 harmless deliveries. Since suspects are tried alone, one run blamed six of them
twice and none three times; five leaves room for many more kills.
"""
WAITS_WHEN_BLAMED = (timedelta(seconds=1), timedelta(seconds=15))
"""What cost the relay its life waits, and leaves that time to the others."""
KEPT_ASIDE = 1000
"""Unreadable hooks that are kept; older ones make room."""

TRIED = "writing was tried"
"""A mark."""

_GONE_WELL = {Ending.DELIVERED, Ending.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Operations:
    """The acts, over one dialect's statements."""

    sql: Statements

    def accept(self, cursor: Cursor, hook: NewHook, *, due: datetime | None = None) -> Accepted:
        """Keep the hook and owe its deliveries, `due` then or at once. Those owed before stay as they are."""
        now = to_ms(hook.received_at)
        chat_id = self._keep_chat(cursor, hook, now)
        found = self.sql.insert_hook.run(
            cursor,
            chat_id=chat_id,
            digest=hashlib.sha256(hook.body).digest(),
            received_at=now,
            rules_hash=hook.rules_hash,
            trouble=hook.trouble,
            **keys_of(hook.chat.visitor),
        ).fetchone()
        if found is None:
            return Accepted(new=False, destinations=())
        hook_id = found[0]
        self.sql.insert_body.run(
            cursor,
            hook_id=hook_id,
            body=zlib.compress(hook.body, 1),
            verdicts=zlib.compress(hook.verdicts, 1),
        )
        reach(CrashPoint.KEPT)
        owed = tuple(self.owe(cursor, chat_id, hook_id, hook.deliveries, now, due=due))
        reach(CrashPoint.ACCEPTING)
        return Accepted(new=True, destinations=owed)

    def _keep_chat(self, cursor: Cursor, hook: NewHook, now: int) -> int:
        chat = hook.chat
        row = self.sql.upsert_chat.run(
            cursor,
            account=chat.account,
            chat=chat.id,
            first_seen=now,
            last_seen=now,
            visitor=chat.visitor.name,
            began=maybe_ms(chat.began),
            missed=chat.missed,
            offline=chat.offline,
            rating=chat.rating,
        ).fetchone()
        return int(row[0])

    def owe(
        self,
        cursor: Cursor,
        chat_id: int,
        hook_id: int,
        new: Iterable[NewDelivery],
        now: int,
        *,
        due: datetime | None = None,
    ) -> list[str]:
        """Returns a destination for every delivery that was not owed before."""
        owed = []
        for delivery in new:
            inserted = self.sql.insert_delivery.run(
                cursor,
                chat_id=chat_id,
                hook_id=hook_id,
                rule=delivery.rule,
                template=delivery.template,
                destination=delivery.destination,
                recipient=delivery.recipient,
                message_id=delivery.message_id,
                instead_of=delivery.instead_of,
                created_at=now,
                due_at=now if due is None else to_ms(due),
            )
            if inserted.rowcount == 1:
                owed.append(delivery.destination)
        return owed

    def keep_aside(self, cursor: Cursor, body: bytes, reason: str, now: datetime) -> None:
        self.sql.insert_set_aside.run(
            cursor,
            received_at=to_ms(now),
            digest=hashlib.sha256(body).digest(),
            reason=storable(reason),
            body=zlib.compress(body, 1),
        )
        self.sql.trim_set_aside.run(cursor, keep=KEPT_ASIDE)
        reach(CrashPoint.SETTING_ASIDE)

    def claim(
        self,
        cursor: Cursor,
        destination: str,
        *,
        now: datetime,
        lease: timedelta,
        limit: int,
        suspects: int,
        due_by: datetime | None = None,
        prefer_due_after: datetime | None = None,
    ) -> Claim:
        """Lease the most due deliveries of one destination; their attempts are written down.

        Those that are due `due_by` then, or now. What fell due after `prefer_due_after` is taken before what has waited for longer.
        """
        at = to_ms(now)
        latest = at if due_by is None else to_ms(due_by)

        def due(number: int, *, suspect: bool, after: int = -1) -> tuple[Delivery, ...]:
            found = self.sql.find_due.run(
                cursor,
                destination=destination,
                due_after=after,
                now=latest,
                limit=number,
                is_suspect=suspect,
            )
            return tuple(_delivery(row) for row in found.fetchall())

        claimed = due(min(suspects, limit), suspect=True)
        left = limit - len(claimed)
        preferred = maybe_ms(prefer_due_after)
        new = () if preferred is None else due(left, suspect=False, after=preferred)
        claimed += new or due(left, suspect=False)
        for delivery in claimed:
            self.sql.lease.run(cursor, delivery_id=delivery.id, lease_until_at=to_ms(now + lease))
            reach(CrashPoint.LEASED)
            self.sql.insert_attempt.run(
                cursor, delivery_id=delivery.id, number=delivery.attempt, started_at=at
            )
            reach(CrashPoint.CLAIMING)
        next_due = self.sql.next_due.run(cursor, destination=destination).fetchone()[0]
        return Claim(claimed, maybe_time(next_due))

    def settle(self, cursor: Cursor, delivery: Delivery, settlement: Settlement) -> list[str]:
        """Write down how an attempt ended; returns the destinations to which it made deliveries owed.

        Only the holder of the current lease decides what follows, except that a message which did
        arrive counts however late its news comes.
        """
        ended = to_ms(settlement.ended_at)
        words = storable(settlement.detail)
        self.sql.end_attempt.run(
            cursor,
            delivery_id=delivery.id,
            at_number=delivery.attempt,
            ended=ended,
            how=settlement.ending.value,
            words=words,
        )
        reach(CrashPoint.ATTEMPT_ENDED)
        settled = None if settlement.state is State.OWED else ended
        ours = self.sql.settle.run(
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
            if settlement.ending in _GONE_WELL:
                self.sql.settle_late.run(
                    cursor,
                    delivery_id=delivery.id,
                    told_of=delivery.message_id,
                    to_state=settlement.state.value,
                    settled=ended,
                    words=words,
                )
            return []
        reach(CrashPoint.SETTLING)
        if not settlement.also_owed:
            return []
        chat_id, hook_id = self.sql.find_chat.run(cursor, delivery_id=delivery.id).fetchone()
        return self.owe(cursor, chat_id, hook_id, settlement.also_owed, ended)

    def expire_leases(
        self,
        cursor: Cursor,
        *,
        ended_by: datetime,
        now: datetime,
        why: str,
        under_way: Collection[tuple[int, int]] = (),
    ) -> list[str]:
        """Give back what nobody settled in time; returns the destination of each. Too often lost: quarantined.

        `ended_by` is read from the clock that the leases were given by, which may not be that of `now`.
        """
        at = to_ms(now)
        expired = self.sql.find_expired.run(cursor, expired_by=to_ms(ended_by)).fetchall()
        lost = [one for one in expired if (one[0], one[1]) not in under_way]
        for delivery_id, number, _ in lost:
            self.sql.end_lost_attempt.run(
                cursor, delivery_id=delivery_id, at_number=number, now=at, detail=why
            )
            reach(CrashPoint.EXPIRING)
            self.sql.lose_lease.run(
                cursor,
                delivery_id=delivery_id,
                now=at,
                most_lost=MOST_LOST,
                detail=why,
                first_wait=WAITS_WHEN_BLAMED[0] // timedelta(milliseconds=1),
                next_wait=WAITS_WHEN_BLAMED[1] // timedelta(milliseconds=1),
            )
            reach(CrashPoint.EXPIRED)
        return [destination for _, _, destination in lost]

    def try_to_write(self, cursor: Cursor, *, now: datetime) -> None:
        """Something that matters to nobody."""
        self.sql.set_mark.run(cursor, name=TRIED, at=to_ms(now))

    def renew_leases(
        self, cursor: Cursor, held: Iterable[tuple[int, int]], until: datetime
    ) -> set[tuple[int, int]]:
        """`held`: deliveries, each with the attempt that is under way. Returns those that are no longer so."""
        return {
            (delivery_id, number)
            for delivery_id, number in held
            if self.sql.renew_lease.run(
                cursor, delivery_id=delivery_id, number=number, lease_until_at=to_ms(until)
            ).rowcount
            == 0
        }

    def owed_now(self, cursor: Cursor, now: datetime) -> list[str]:
        """The destinations to which something is due."""
        return [name for (name,) in self.sql.owed_now.run(cursor, now=to_ms(now)).fetchall()]

    def hasten(self, cursor: Cursor, destination: str, now: datetime, *, blips: bool) -> None:
        """See `Outbox.hasten`."""
        where = {"of_destination": destination, "now": to_ms(now)}
        if blips:
            self.sql.hasten_blips.run(cursor, **where, blip_until=to_ms(now + BLIP))
        else:
            self.sql.hasten.run(cursor, **where)

    def recall(self, cursor: Cursor, destination: str, now: datetime, beyond: datetime) -> None:
        self.sql.recall.run(
            cursor, of_destination=destination, now=to_ms(now), beyond=to_ms(beyond)
        )

    def close_gate(self, cursor: Cursor, destination: str, gate: Gate) -> None:
        self.sql.write_gate.run(
            cursor,
            destination=destination,
            closed_until=to_ms(gate.closed_until),
            broken_since=maybe_ms(gate.broken_since),
            reason=storable(gate.reason),
        )
        reach(CrashPoint.GATE_CLOSING)

    def open_gate(self, cursor: Cursor, destination: str) -> None:
        self.sql.open_gate.run(cursor, of_destination=destination)

    def gates(self, cursor: Cursor) -> dict[str, Gate]:
        return {
            name: Gate(from_ms(until), maybe_time(broken), reason)
            for name, until, broken, reason in self.sql.gates.run(cursor).fetchall()
        }


def _delivery(row: tuple[Any, ...]) -> Delivery:
    (id_, account, chat, hook_id, rule, template, destination, recipient, message_id) = row[:9]
    created_at, attempt, failures, unsure, short, suspect, receipt, thread, body, instead_of = row[
        9:
    ]
    return Delivery(
        id=id_,
        account=account,
        chat=chat,
        hook_id=hook_id,
        rule=rule,
        template=template,
        destination=destination,
        recipient=recipient,
        message_id=message_id,
        created_at=from_ms(created_at),
        attempt=attempt,
        failures=failures,
        unsure=unsure,
        short=bool(short),
        suspect=bool(suspect),
        receipt=receipt,
        thread_receipt=thread,
        body=zlib.decompress(body),
        instead_of=instead_of,
    )
