"""Leases of claimed deliveries: renewed while an attempt is under way, taken back where nobody settled in time.

They run in the writer's thread, inside its caller's transaction.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.crash_points import CrashPoint, reach
from relay.outbox.columns import to_ms
from relay.outbox.statements import Statements
from relay.outbox.store import Cursor

MOST_LOST = 5
"""Leases that may end without an outcome, each as the only suspect, before a delivery is quarantined.

Seen in tests/journeys/test_kill.py (30 kills under load, about 1,500 deliveries): while every lost lease counted,
three of them quarantined 12 harmless deliveries. Since suspects are tried alone, one run blamed six of them
twice and none three times; five leaves room for many more kills.
"""
WAITS_WHEN_BLAMED = (timedelta(seconds=1), timedelta(seconds=15))
"""What cost the relay its life waits, and leaves that time to the others."""


@dataclass(frozen=True, slots=True)
class Leases:
    """What becomes of them, over one dialect's statements."""

    sql: Statements

    def expire(
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

    def renew(
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
