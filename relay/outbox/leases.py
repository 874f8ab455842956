"""Renews leases of claimed deliveries, and takes back those not settled in time.

All of it runs in the writer's thread, inside the caller's transaction.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import Delivery, to_ms
from relay.outbox.process_identity import END_COMMITS
from relay.outbox.schema import attempts, deliveries
from relay.outbox.settling import still_ours, this_delivery
from relay.outbox.statements import (
    Query,
    Statements,
    bound,
    is_sending,
    ms,
    text,
)
from relay.outbox.writer import Cursor, Writer
from relay.transports import Ending

LEASE = timedelta(minutes=50)
"""How long a claim is valid: longer than the longest attempt."""

MOST_LOST = 5
"""Leases that may end without an outcome, each as the only suspect, before a delivery is quarantined.

Seen in tests/journeys/test_kill.py (30 kills under load, about 1,500 deliveries): while every lost lease counted,
three of them quarantined 12 harmless deliveries. Since suspects are tried alone, one run blamed six of them
twice and none three times; five leaves room for many more kills.
"""
WAITS_WHEN_BLAMED = (timedelta(seconds=1), timedelta(seconds=15))
"""How long a delivery waits after a process died while sending it as the only suspect, the first time and later.

Meanwhile others are sent.
"""


Attempt = tuple[int, int]
"""The number of a delivery, and the number of the attempt at it."""
_Row = tuple[int, int, str]
"""The number of a delivery, the number of its attempt, and its destination."""
T = TypeVar("T")


class Held:
    """The attempts that this relay has claimed and not settled. Used by the event loop and by the writer's thread."""

    def __init__(self) -> None:
        self._held: set[Attempt] = set()

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._held

    async def run(
        self,
        writer: Writer,
        work: Callable[[Cursor], T],
        claimed: Callable[[T], Iterable[Delivery]],
    ) -> T:
        """Run `work` as `Writer.run` does, and hold the deliveries that it has `claimed`.

        They are held before the commit, so that no check of leases can come in between. If the commit fails, they are
        held no longer, though the claim may have been stored.
        """
        made: set[Attempt] = set()

        def claim(cursor: Cursor) -> T:
            self._held.difference_update(made)  # of an earlier try
            made.clear()
            result = work(cursor)
            made.update((each.id, each.attempt) for each in claimed(result))
            self._held.update(made)
            return result

        try:
            return await writer.run(claim)
        except BaseException:
            self._held.difference_update(made)
            raise

    def release(self, delivery: Delivery) -> None:
        """Note that this process no longer sends a delivery."""
        self._held.discard((delivery.id, delivery.attempt))


# A delivery that was being sent when a process died becomes a suspect. Suspects are tried one at a
# time; one that is lost again is blamed, and waits.
_blamed = deliveries.c.lost + sa.case((deliveries.c.suspect, 1), else_=0)
_is_poison = _blamed >= bound("most_lost")
_lease_lost = {
    "suspect": True,
    "lost": _blamed,
    "lease_until": sa.null(),
    "state": sa.case((_is_poison, "quarantined"), else_="queued"),
    "settled_at": sa.case((_is_poison, ms("now")), else_=sa.null()),
    "due_at": sa.case(
        (_blamed == 0, deliveries.c.due_at),
        (_blamed == 1, ms("now") + ms("first_wait")),
        else_=ms("now") + ms("next_wait"),
    ),
    "detail": bound("detail"),
}

_held_by = (
    sa.select(attempts.c.detail)
    .where(attempts.c.delivery_id == deliveries.c.id, attempts.c.number == deliveries.c.attempts)
    .correlate(deliveries)
    .scalar_subquery()
)
"""While an attempt is being made, its detail names the relay that makes it: see `Accepting.holder`."""
_FIND_EXPIRED = Query(
    sa.select(deliveries.c.id, deliveries.c.attempts, deliveries.c.destination)
    .where(is_sending, deliveries.c.lease_until <= bound("expired_by"))
    .with_for_update(skip_locked=True)
)
_FIND_HELD = Query(
    sa.select(deliveries.c.id, deliveries.c.attempts, deliveries.c.destination)
    .where(is_sending, sa.func.coalesce(_held_by, "") == text("held_by"))
    .with_for_update(skip_locked=True)
)
_GIVE_BACK = Query(
    sa.update(deliveries)
    .where(still_ours)
    .values(state="queued", lease_until=sa.null(), detail=bound("words"))
)
_LOSE_LEASE = Query(sa.update(deliveries).where(this_delivery).values(_lease_lost))
_END_LOST_ATTEMPT = Query(
    sa.update(attempts)
    .where(
        attempts.c.delivery_id == bound("delivery_id"),
        attempts.c.number == bound("at_number"),
        attempts.c.ended_at.is_(None),
    )
    .values(ended_at=bound("now"), ending=bound("how"), detail=bound("words"))
)
_RENEW_LEASE = Query(
    sa.update(deliveries).where(still_ours).values(lease_until=bound("lease_until_at"))
)


@dataclass(frozen=True, slots=True)
class Leases:
    """Expires, gives back and renews leases, with the statements of one database dialect.

    `expire`, `recover`, `give_back` and `look` return the destination of each delivery that they queue again.
    """

    sql: Statements

    def expire(
        self,
        cursor: Cursor,
        *,
        ended_by: datetime,
        now: datetime,
        why: str,
        under_way: Container[Attempt] = (),
    ) -> list[str]:
        """Queue again the deliveries whose lease ended before `ended_by`; one lost too often is quarantined.

        `ended_by` is read from the clock by which the leases were given, which may differ from that of `now`.
        """
        rows = self.sql[_FIND_EXPIRED].run(cursor, expired_by=to_ms(ended_by)).fetchall()
        return self._lose(cursor, (row for row in rows if row[:2] not in under_way), now, why)

    def recover(self, cursor: Cursor, ended: Mapping[str, str], now: datetime) -> list[str]:
        """Queue again the deliveries that the relays in `ended` were sending; one lost too often is quarantined. `ended`: as `Store.ended`."""
        queued = []
        for holder, name in ended.items():
            rows = self.sql[_FIND_HELD].run(cursor, held_by=holder).fetchall()
            queued += self._lose(cursor, rows, now, "the relay ended before its answer")
            self.sql[END_COMMITS].run(cursor, of_relay=name)
        return queued

    def _lose(self, cursor: Cursor, lost: Iterable[_Row], now: datetime, why: str) -> list[str]:
        queued, at = [], to_ms(now)
        for delivery_id, number, destination in lost:
            attempt = {"delivery_id": delivery_id, "at_number": number}
            self.sql[_END_LOST_ATTEMPT].run(cursor, **attempt, now=at, how="lost", words=why)
            reach(CrashPoint.EXPIRING)
            self.sql[_LOSE_LEASE].run(
                cursor,
                delivery_id=delivery_id,
                now=at,
                most_lost=MOST_LOST,
                detail=why,
                first_wait=WAITS_WHEN_BLAMED[0] // timedelta(milliseconds=1),
                next_wait=WAITS_WHEN_BLAMED[1] // timedelta(milliseconds=1),
            )
            reach(CrashPoint.EXPIRED)
            queued.append(destination)
        return queued

    def give_back(
        self, cursor: Cursor, holder: str, held: Container[Attempt], now: datetime
    ) -> list[str]:
        """Queue again the deliveries that `holder` has claimed but are not in `held`, because the answer to its claim was lost."""
        rows = self.sql[_FIND_HELD].run(cursor, held_by=holder).fetchall()
        left = [row for row in rows if row[:2] not in held]
        why = "whether it was claimed was not known; nothing was sent"
        for delivery_id, number, _ in left:
            self.sql[_END_LOST_ATTEMPT].run(
                cursor,
                delivery_id=delivery_id,
                at_number=number,
                now=to_ms(now),
                how=Ending.LATER.value,
                words=why,
            )
            self.sql[_GIVE_BACK].run(cursor, delivery_id=delivery_id, number=number, words=why)
        return [destination for _, _, destination in left]

    def look(
        self,
        cursor: Cursor,
        *,
        holder: str,
        held: Container[Attempt],
        now: datetime,
        under_way: Container[Attempt],
    ) -> list[str]:
        """Queue again what `give_back` and `expire` find. For a database that only one relay uses."""
        why = "no outcome was written down in time"
        return [
            *self.give_back(cursor, holder, held, now),
            *self.expire(cursor, ended_by=now, now=now, why=why, under_way=under_way),
        ]

    def renew(self, cursor: Cursor, held: Iterable[Attempt], until: datetime) -> set[Attempt]:
        """Extend leases until `until`. Returns the attempts of `held` that this relay no longer has."""
        return {
            (delivery_id, number)
            for delivery_id, number in held
            if self.sql[_RENEW_LEASE]
            .run(cursor, delivery_id=delivery_id, number=number, lease_until_at=to_ms(until))
            .rowcount
            == 0
        }
