"""Claims deliveries that are due: leases them to this relay and stores the attempt before it is made."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relay.crash_points import CrashPoint, reach
from relay.outbox.accepting import Accepting
from relay.outbox.delivery_types import Claim, Delivery, from_ms, maybe_ms, maybe_time, to_ms
from relay.outbox.pace import Hour
from relay.outbox.pauses import is_paused
from relay.outbox.schema import chats, deliveries, hook_bodies
from relay.outbox.statements import Query, bound, chat_is_alert, is_queued
from relay.outbox.writer import Cursor

_earlier = deliveries.alias("earlier")
_first_receipt = (
    sa.select(_earlier.c.receipt)
    .where(
        _earlier.c.chat_id == deliveries.c.chat_id,
        _earlier.c.destination == deliveries.c.destination,
        _earlier.c.recipient == deliveries.c.recipient,
        _earlier.c.id < deliveries.c.id,
        _earlier.c.receipt != "",
    )
    .order_by(_earlier.c.id)
    .limit(1)
    .scalar_subquery()
)
_claimed_columns = (
    deliveries.c.id,
    chats.c.account,
    chats.c.chat,
    deliveries.c.hook_id,
    deliveries.c.rule,
    deliveries.c.template,
    deliveries.c.destination,
    deliveries.c.recipient,
    deliveries.c.message_id,
    deliveries.c.created_at,
    deliveries.c.released_at,
    (deliveries.c.attempts + 1).label("attempt"),
    deliveries.c.failures,
    deliveries.c.unsure,
    deliveries.c.short,
    deliveries.c.suspect,
    deliveries.c.receipt,
    sa.func.coalesce(_first_receipt, "").label("thread_receipt"),
    hook_bodies.c.body,
    deliveries.c.instead_of,
    deliveries.c.quiet,
    deliveries.c.why,
)


def claimed_delivery(row: tuple[Any, ...]) -> Delivery:
    """The delivery in a row of the columns that `for_destination` selects."""
    (id_, account, chat, hook_id, rule, template, destination, recipient, message_id) = row[:9]
    created_at, released_at, attempt, failures, unsure, short, suspect = row[9:16]
    receipt, thread, body, instead_of, quiet, why = row[16:]
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
        released_at=maybe_time(released_at),
        attempt=attempt,
        failures=failures,
        unsure=unsure,
        short=bool(short),
        suspect=bool(suspect),
        receipt=receipt,
        thread_receipt=thread,
        body=zlib.decompress(body),
        instead_of=instead_of,
        quiet=bool(quiet),
        why=why,
    )


for_destination = (
    sa.select(*_claimed_columns)
    .select_from(
        deliveries.join(chats, chats.c.id == deliveries.c.chat_id).join(
            hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id
        )
    )
    .where(deliveries.c.destination == bound("destination"))
    .limit(bound("limit"))
    # What another process is claiming at this moment is passed by. SQLite has one writer, and no such words.
    .with_for_update(of=deliveries, skip_locked=True)
)
"""Selects deliveries to one destination with all that an attempt needs; `claimed_delivery` reads a row."""
_due = for_destination.where(
    is_queued,
    deliveries.c.suspect == bound("is_suspect"),
    deliveries.c.due_at > bound("due_after"),
    deliveries.c.due_at <= bound("now"),
    ~is_paused(bound("destination")),
).order_by(deliveries.c.due_at, deliveries.c.id)
_FIND_DUE = Query(_due)
_FIND_DUE_ALERTS = Query(_due.where(chat_is_alert))
_NEXT_ALERT_DUE = Query(
    sa.select(sa.func.min(deliveries.c.due_at))
    .join(chats, chats.c.id == deliveries.c.chat_id)
    .where(is_queued, deliveries.c.destination == bound("destination"), chat_is_alert)
)
_LEASE = Query(
    sa.update(deliveries)
    .where(deliveries.c.id == bound("delivery_id"))
    .values(
        state="sending",
        attempts=deliveries.c.attempts + 1,
        lease_until=bound("lease_until_at"),
    )
)


def _first_due(is_suspect: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The earliest due time at a destination, of suspects or of the others. Asking for both at once could not use the index."""
    return (
        sa.select(deliveries.c.due_at)
        .where(
            is_queued,
            deliveries.c.destination == bound("destination"),
            deliveries.c.suspect == is_suspect,
        )
        .order_by(deliveries.c.due_at)
        .limit(1)
    )


def _first_with_queued(*after: sa.ColumnElement[bool]) -> sa.ScalarSelect[str]:
    return (
        sa.select(deliveries.c.destination)
        .where(is_queued, *after)
        .order_by(deliveries.c.destination)
        .limit(1)
        .scalar_subquery()
    )


def _least_of(*questions: sa.Select[Any]) -> sa.Select[Any]:
    """A SELECT of the smallest number that any of the questions finds; null where none finds one."""
    numbers = sa.union_all(*(sa.select(each.scalar_subquery().label("id")) for each in questions))
    return sa.select(sa.func.min(numbers.subquery().c.id))


_NEXT_DUE = Query(_least_of(*map(_first_due, (sa.false(), sa.true()))))


# From one destination to the next by the index, however many deliveries wait at each.
_with_queued = sa.select(_first_with_queued().label("name")).cte("with_queued", recursive=True)
_with_queued = _with_queued.union_all(
    sa.select(_first_with_queued(deliveries.c.destination > _with_queued.c.name)).where(
        _with_queued.c.name.is_not(None)
    )
)
_DUE_DESTINATIONS = Query(
    sa.select(_with_queued.c.name).where(
        sa.or_(
            *(
                sa.exists().where(
                    is_queued,
                    deliveries.c.destination == _with_queued.c.name,
                    deliveries.c.suspect == is_suspect,
                    deliveries.c.due_at <= bound("now"),
                )
                for is_suspect in (sa.false(), sa.true())
            )
        )
    )
)
_WAITING_FOR = Query(
    sa.select(deliveries.c.destination, deliveries.c.recipient).where(is_queued).distinct()
)


@dataclass(frozen=True, slots=True)
class Claiming(Accepting):
    """Claims deliveries inside a transaction of the caller's."""

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
        """Lease the deliveries to one destination that have been due longest, and store their attempts.

        Takes deliveries that are due by `due_by`, or by `now` without it; those that fell due after
        `prefer_due_after` come first. If the destination has reached its hourly limit, only alerts are claimed.
        """
        at, hour = to_ms(now), self.hourly.read(cursor, destination, now)
        latest = at if due_by is None else to_ms(due_by)
        is_full = hour is not None and not hour.left
        find = self.sql[_FIND_DUE_ALERTS] if is_full else self.sql[_FIND_DUE]
        limit = min(limit, hour.left) if hour and not is_full else limit

        def due(number: int, *, suspect: bool, after: int = -1) -> tuple[Delivery, ...]:
            rows = find.run(
                cursor,
                destination=destination,
                due_after=after,
                now=latest,
                limit=number,
                is_suspect=suspect,
            )
            return tuple(map(claimed_delivery, rows.fetchall()))

        claimed = due(min(suspects, limit), suspect=True)
        left = limit - len(claimed)
        preferred = maybe_ms(prefer_due_after)
        new = () if preferred is None else due(left, suspect=False, after=preferred)
        claimed += new or due(left, suspect=False)
        self._lease(cursor, claimed, at, to_ms(now + lease))
        if hour:
            count = sum(each.attempt == 1 and not each.is_alert for each in claimed)
            self.hourly.note(cursor, destination, hour, now, count)
        full_until = self._full_until(cursor, destination, hour)
        return Claim(claimed, self.next_due(cursor, destination), full_until=full_until)

    def _full_until(self, cursor: Cursor, destination: str, hour: Hour | None) -> datetime | None:
        """Until when the destination's hourly limit keeps all deliveries waiting; None where there is room.

        That is the limit's next free slot or the next alert, which has no limit.
        """
        if hour is None or hour.left:
            return None
        row = self.sql[_NEXT_ALERT_DUE].run(cursor, destination=destination).fetchone()
        return min(hour.more_at, maybe_time(row[0]) or hour.more_at)

    def next_due(self, cursor: Cursor, destination: str) -> datetime | None:
        """When the first delivery queued for a destination is due; None where none is queued."""
        return maybe_time(self.sql[_NEXT_DUE].run(cursor, destination=destination).fetchone()[0])

    def _lease(self, cursor: Cursor, claimed: Iterable[Delivery], at: int, until: int) -> None:
        for delivery in claimed:
            self.sql[_LEASE].run(cursor, delivery_id=delivery.id, lease_until_at=until)
            reach(CrashPoint.LEASED)
            self._begin(cursor, delivery.id, delivery.attempt, at)
            reach(CrashPoint.CLAIMING)

    def due_destinations(self, cursor: Cursor, now: datetime) -> list[str]:
        """The names of the destinations for which a delivery is due."""
        return [
            name for (name,) in self.sql[_DUE_DESTINATIONS].run(cursor, now=to_ms(now)).fetchall()
        ]

    def waiting_for(self, cursor: Cursor) -> dict[str, set[str]]:
        """The recipients of all queued deliveries, by destination."""
        recipients: dict[str, set[str]] = {}
        for destination, recipient in self.sql[_WAITING_FOR].run(cursor).fetchall():
            recipients.setdefault(destination, set()).add(recipient)
        return recipients
