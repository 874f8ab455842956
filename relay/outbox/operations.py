"""What each act of the outbox does inside its transaction: a cursor and values in, values out.

Whoever calls these owns the transaction; none of them commits. They run in the writer's thread.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_statements import claimed_delivery
from relay.outbox.hourly import AT_ONCE, Hour, Hourly
from relay.outbox.rows import (
    BLIP,
    ITSELF,
    Accepted,
    Claim,
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    Settlement,
    State,
    from_ms,
    keys_of,
    maybe_ms,
    maybe_time,
    packed,
    storable,
    to_ms,
)
from relay.outbox.statements import Statements
from relay.outbox.writer import Cursor
from relay.transports.outcome import Ending

KEPT_ASIDE = 1000
"""Unreadable hooks that are kept; older ones make room."""

TRIED = "writing was tried"
"""A mark."""

_GONE_WELL = {Ending.DELIVERED, Ending.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Operations:
    """The acts, over one dialect's statements."""

    sql: Statements
    holder: str = ""
    """Whose claims these are, kept as the detail of an attempt that is under way; empty in a file, which one relay uses."""
    most_per_hour: dict[str, int] = field(default_factory=dict)
    """Of each destination that has a ceiling; whoever knows the rules keeps it up to date."""

    @property
    def hourly(self) -> Hourly:
        return Hourly(self.sql, self.most_per_hour)

    def accept(
        self,
        cursor: Cursor,
        hook: NewHook,
        *,
        due: datetime | None = None,
        lease: timedelta = timedelta(),
        places: Callable[[Cursor], Mapping[str, int]] = lambda _: {},
    ) -> Accepted:
        """Keep the hook and owe its deliveries, `due` then or at once. Those owed before stay as they are.

        Of a new chat so many as `places` says for each destination are claimed at once, for `lease`.
        """
        now = to_ms(hook.received_at)
        if hook.chat.account == ITSELF:
            due = from_ms(AT_ONCE)
        chat_id, first_seen = self._keep_chat(cursor, hook, now)
        hook_id = self._keep_hook(cursor, hook, chat_id, now)
        if hook_id is None:
            return Accepted(new=False, destinations=())
        # What was told of a known chat may have to be replied to: its claim looks for that.
        free = dict(places(cursor)) if first_seen == now else {}
        if free and self.most_per_hour and hook.chat.account != ITSELF:
            free = self.hourly.within(cursor, free, hook.received_at)
        owed, claimed = [], []
        for new in hook.deliveries:
            until = hook.received_at + lease if free.get(new.destination) else None
            id_ = self._owe(cursor, chat_id, hook_id, new, now, due=due, lease_until=until)
            if id_ is None:
                continue
            owed.append(new.destination)
            if until is not None:
                reach(CrashPoint.LEASED_AT_ONCE)
                self._begin(cursor, id_, 1, now)
                claimed.append(new.first_attempt(hook, delivery_id=id_, hook_id=hook_id))
                free[new.destination] -= 1
        reach(CrashPoint.ACCEPTING)
        return Accepted(new=True, destinations=tuple(owed), claimed=tuple(claimed))

    def _keep_chat(self, cursor: Cursor, hook: NewHook, now: int) -> tuple[int, int]:
        """Its number, and when it was first heard of."""
        chat = hook.chat
        row = self.sql.upsert_chat.run(
            cursor,
            account=storable(chat.account),
            chat=storable(chat.id),
            first_seen=now,
            last_seen=now,
            visitor=storable(chat.visitor.name),
            began=maybe_ms(chat.began),
            missed=chat.missed,
            offline=chat.offline,
            rating=chat.rating,
        ).fetchone()
        return row[0], row[1]

    def _keep_hook(self, cursor: Cursor, hook: NewHook, chat_id: int, now: int) -> int | None:
        """Its number; None where these very bytes were here before."""
        row = self.sql.insert_hook.run(
            cursor,
            chat_id=chat_id,
            digest=hashlib.sha256(hook.body).digest(),
            received_at=now,
            rules_hash=hook.rules_hash,
            trouble=hook.trouble,
            **keys_of(hook.chat.visitor),
        ).fetchone()
        if row is None:
            return None
        hook_id: int = row[0]
        self.sql.insert_body.run(
            cursor,
            hook_id=hook_id,
            body=zlib.compress(hook.body, 1),
            verdicts=packed(hook.verdicts),
        )
        reach(CrashPoint.KEPT)
        return hook_id

    def owe(
        self, cursor: Cursor, chat_id: int, hook_id: int, new: Iterable[NewDelivery], now: int
    ) -> list[str]:
        """Returns a destination for every delivery that was not owed before, or was moved elsewhere."""
        return [
            one.destination
            for one in new
            if self._owe(cursor, chat_id, hook_id, one, now) is not None
        ]

    def _owe(
        self,
        cursor: Cursor,
        chat_id: int,
        hook_id: int,
        new: NewDelivery,
        now: int,
        *,
        due: datetime | None = None,
        lease_until: datetime | None = None,
    ) -> int | None:
        """Its number; None where it was owed before, and not moved elsewhere. With a lease it is claimed, but its attempt is not written."""
        is_claimed = lease_until is not None
        row = self.sql.insert_delivery.run(
            cursor,
            chat_id=chat_id,
            hook_id=hook_id,
            rule=new.rule,
            template=new.template,
            destination=new.destination,
            recipient=new.recipient,
            message_id=new.message_id,
            instead_of=new.instead_of,
            created_at=now,
            due_at=now if due is None else to_ms(due),
            state=(State.SENDING if is_claimed else State.QUEUED).value,
            attempts=int(is_claimed),
            lease_until=maybe_ms(lease_until),
        ).fetchone()
        return row and row[0]  # type: ignore[no-any-return]

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
        Where the destination has had its most for an hour, only alerts of our own.
        """
        at, hour = to_ms(now), self.hourly.read(cursor, destination, now)
        latest = at if due_by is None else to_ms(due_by)
        is_full = hour is not None and not hour.left
        find = self.sql.find_due_alerts if is_full else self.sql.find_due
        limit = min(limit, hour.left) if hour and not is_full else limit

        def due(number: int, *, suspect: bool, after: int = -1) -> tuple[Delivery, ...]:
            found = find.run(
                cursor,
                destination=destination,
                due_after=after,
                now=latest,
                limit=number,
                is_suspect=suspect,
            )
            return tuple(map(claimed_delivery, found.fetchall()))

        claimed = due(min(suspects, limit), suspect=True)
        left = limit - len(claimed)
        preferred = maybe_ms(prefer_due_after)
        new = () if preferred is None else due(left, suspect=False, after=preferred)
        claimed += new or due(left, suspect=False)
        self._lease(cursor, claimed, at, to_ms(now + lease))
        if hour:
            count = sum(one.attempt == 1 and one.account != ITSELF for one in claimed)
            self.hourly.note(cursor, destination, hour, now, count)
        next_due = self.sql.next_due.run(cursor, destination=destination).fetchone()[0]
        full_until = self._full_until(cursor, destination, hour)
        return Claim(claimed, maybe_time(next_due), full_until=full_until)

    def _full_until(self, cursor: Cursor, destination: str, hour: Hour | None) -> datetime | None:
        """When an alert of our own falls due, which waits for no ceiling, or more than alerts may begin."""
        if hour is None or hour.left:
            return None
        row = self.sql.next_alert_due.run(cursor, destination=destination).fetchone()
        return min(hour.more_at, maybe_time(row[0]) or hour.more_at)

    def _lease(self, cursor: Cursor, claimed: Iterable[Delivery], at: int, until: int) -> None:
        for delivery in claimed:
            self.sql.lease.run(cursor, delivery_id=delivery.id, lease_until_at=until)
            reach(CrashPoint.LEASED)
            self._begin(cursor, delivery.id, delivery.attempt, at)
            reach(CrashPoint.CLAIMING)

    def _begin(self, cursor: Cursor, delivery_id: int, number: int, at: int) -> None:
        self.sql.insert_attempt.run(
            cursor, delivery_id=delivery_id, number=number, started_at=at, detail=self.holder
        )

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
        settled = None if settlement.state is State.QUEUED else ended
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

    def try_to_write(self, cursor: Cursor, *, now: datetime) -> None:
        """Something that matters to nobody."""
        self.sql.set_mark.run(cursor, name=TRIED, at=to_ms(now))

    def waiting_for(self, cursor: Cursor) -> dict[str, set[str]]:
        """The recipients of all that waits, by destination."""
        found: dict[str, set[str]] = {}
        for destination, recipient in self.sql.waiting_for.run(cursor).fetchall():
            found.setdefault(destination, set()).add(recipient)
        return found

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
