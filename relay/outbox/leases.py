"""The outbox at a glance, for `/readyz` and the metrics.

Leases of claimed deliveries: renewed while an attempt is under way, taken back where nobody settled in time.

They run in the writer's thread, inside its caller's transaction.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from relay.crash_points import CrashPoint, reach
from relay.outbox.rows import Delivery, State, Summary, from_ms, maybe_time, to_ms
from relay.outbox.statements import Statement, Statements
from relay.outbox.writer import Cursor, Writer
from relay.transports.outcome import Ending


def summarize(sql: Statements, cursor: Cursor) -> Summary:
    """Reads what is live and what ended badly, never the whole history."""
    waiting = sql.owed_by_destination.run(cursor).fetchall()
    oldest = {name: from_ms(created) for name, _, created in waiting}
    sending = maybe_time(_one(sql.oldest_sending, cursor))
    return Summary(
        owed={name: count for name, count, _ in waiting},
        sending=_one(sql.count_sending, cursor),
        troubled={
            State(state): count for state, count in sql.count_troubled.run(cursor).fetchall()
        },
        oldest_owed=min([*oldest.values(), *([sending] if sending else [])], default=None),
        set_aside=_one(sql.count_set_aside, cursor),
        last_hook=maybe_time(_one(sql.last_hook, cursor)),
        oldest=oldest,
    )


def _one(statement: Statement, cursor: Cursor) -> Any:  # noqa: ANN401 - a column of any type
    row = statement.run(cursor).fetchone()
    return row and row[0]


MOST_LOST = 5
"""Leases that may end without an outcome, each as the only suspect, before a delivery is quarantined.

Seen in tests/journeys/test_kill.py (30 kills under load, about 1,500 deliveries): while every lost lease counted,
three of them quarantined 12 harmless deliveries. Since suspects are tried alone, one run blamed six of them
twice and none three times; five leaves room for many more kills.
"""
WAITS_WHEN_BLAMED = (timedelta(seconds=1), timedelta(seconds=15))
"""What cost the relay its life waits, and leaves that time to the others."""


Attempt = tuple[int, int]
"""A delivery, by its id, and the number of the attempt at it."""
_Row = tuple[int, int, str]
"""A delivery, its attempt, its destination."""
T = TypeVar("T")


class Held:
    """Deliveries that this relay has claimed and not settled, each with its attempt. Used by both threads."""

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
        """As `Writer.run`. What `work` has `claimed` is held before it is on disk, so that no look can come between.

        Where it fails, it may be on disk all the same, and is held by nobody.
        """
        made: set[Attempt] = set()

        def claim(cursor: Cursor) -> T:
            self._held.difference_update(made)  # of a try before
            made.clear()
            result = work(cursor)
            made.update((one.id, one.attempt) for one in claimed(result))
            self._held.update(made)
            return result

        try:
            return await writer.run(claim)
        except BaseException:
            self._held.difference_update(made)
            raise

    def release(self, delivery: Delivery) -> None:
        self._held.discard((delivery.id, delivery.attempt))


@dataclass(frozen=True, slots=True)
class Leases:
    """What becomes of them, over one dialect's statements. Each act returns the destination of each that is queued again."""

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
        """Take back what nobody settled in time. Too often lost: quarantined.

        `ended_by` is read from the clock that the leases were given by, which may not be that of `now`.
        """
        found = self.sql.find_expired.run(cursor, expired_by=to_ms(ended_by)).fetchall()
        return self._lose(cursor, (one for one in found if one[:2] not in under_way), now, why)

    def take_up(self, cursor: Cursor, ended: Mapping[str, str], now: datetime) -> list[str]:
        """Take back all that relays were at which have ended, see `Store.ended`. Too often lost: quarantined."""
        owed = []
        for holder, name in ended.items():
            found = self.sql.find_held.run(cursor, held_by=holder).fetchall()
            owed += self._lose(cursor, found, now, "the relay ended before its answer")
            self.sql.end_commits.run(cursor, of_relay=name)
        return owed

    def _lose(self, cursor: Cursor, lost: Iterable[_Row], now: datetime, why: str) -> list[str]:
        owed = []
        for delivery_id, number, destination in lost:
            self.sql.end_lost_attempt.run(
                cursor,
                delivery_id=delivery_id,
                at_number=number,
                now=to_ms(now),
                how="lost",
                words=why,
            )
            reach(CrashPoint.EXPIRING)
            self.sql.lose_lease.run(
                cursor,
                delivery_id=delivery_id,
                now=to_ms(now),
                most_lost=MOST_LOST,
                detail=why,
                first_wait=WAITS_WHEN_BLAMED[0] // timedelta(milliseconds=1),
                next_wait=WAITS_WHEN_BLAMED[1] // timedelta(milliseconds=1),
            )
            reach(CrashPoint.EXPIRED)
            owed.append(destination)
        return owed

    def give_back(
        self, cursor: Cursor, holder: str, held: Container[Attempt], now: datetime
    ) -> list[str]:
        """What `holder` has claimed and does not know of is queued again: the answer to its claim was lost."""
        found = self.sql.find_held.run(cursor, held_by=holder).fetchall()
        left = [one for one in found if one[:2] not in held]
        why = "whether it was claimed was not known; nothing was sent"
        for delivery_id, number, _ in left:
            self.sql.end_lost_attempt.run(
                cursor,
                delivery_id=delivery_id,
                at_number=number,
                now=to_ms(now),
                how=Ending.LATER.value,
                words=why,
            )
            self.sql.give_back.run(cursor, delivery_id=delivery_id, number=number, words=why)
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
        """Where one relay uses the database: both what `give_back` and what `expire` finds."""
        why = "no outcome was written down in time"
        return [
            *self.give_back(cursor, holder, held, now),
            *self.expire(cursor, ended_by=now, now=now, why=why, under_way=under_way),
        ]

    def renew(self, cursor: Cursor, held: Iterable[Attempt], until: datetime) -> set[Attempt]:
        """`held`: deliveries, each with the attempt that is under way. Returns those that are no longer so."""
        return {
            (delivery_id, number)
            for delivery_id, number in held
            if self.sql.renew_lease.run(
                cursor, delivery_id=delivery_id, number=number, lease_until_at=to_ms(until)
            ).rowcount
            == 0
        }
