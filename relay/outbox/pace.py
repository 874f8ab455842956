"""When the next message to a destination may start, for one relay and for all that share a database.

`Pacer` has no I/O: the time is handed in. `Turns` keeps one pace in the database that relays share.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from relay.destination import Rate
from relay.outbox.rows import Claim, from_ms, to_ms
from relay.outbox.schema import paces
from relay.outbox.statements import Query, Statements, bound, inserted
from relay.outbox.writer import Cursor


class Pacer:
    """Keeps every rate at once: in no window of `rate.per` more than `rate.count` may start."""

    def __init__(self, rates: Iterable[Rate], started: Iterable[datetime] = ()) -> None:
        """`started`: when earlier messages began, the oldest first."""
        self.rates = tuple(rates)
        self._windows = [(rate, deque[datetime](maxlen=rate.count)) for rate in self.rates]
        self._not_before: datetime | None = None
        for moment in started:
            self.started(moment)

    @property
    def unlimited(self) -> bool:
        return not self.rates

    def free_at(self, now: datetime) -> datetime:
        """When the next one may start: `now` or later."""
        times = [now, self._not_before or now]
        for rate, started in self._windows:
            if len(started) == rate.count:
                times.append(started[0] + rate.per)
        return max(times)

    def started(self, now: datetime) -> None:
        for _, started in self._windows:
            started.append(now)

    def forget(self) -> None:
        """What was noted by a clock that has been set back would hold everything up until it is that late again."""
        self._not_before = None
        for _, started in self._windows:
            started.clear()

    def wait_until(self, moment: datetime) -> None:
        """Somebody else has used the pace up until then."""
        self._not_before = moment

    def counting(self, now: datetime) -> Sequence[datetime]:
        """The beginnings that still count, the oldest first."""
        longest = max((rate.per for rate in self.rates), default=None)
        most = max((started for _, started in self._windows), key=len, default=deque[datetime]())
        return [moment for moment in most if longest and moment + longest > now]


ASK_AGAIN = timedelta(milliseconds=50)
"""When another relay is just taking its turn. To wait for its lock would hold up hooks."""
AHEAD = timedelta(milliseconds=50)
"""How far the clocks of relays may differ, after the skew that each has measured."""


_this = paces.c.destination == bound("of_destination")
READ_PACE = Query(sa.select(paces.c.started).where(_this).with_for_update(skip_locked=True))
BEGIN_PACE = Query(
    lambda insert: (
        inserted(insert, paces, "destination").values(started="[]").on_conflict_do_nothing()
    )
)
WRITE_PACE = Query(sa.update(paces).where(_this).values(started=bound("begun")))


@dataclass(frozen=True, slots=True)
class Turns:
    """When the messages that keep a pace together began, kept in the database."""

    sql: Statements

    def claim(
        self,
        cursor: Cursor,
        *,
        claim: Callable[[Cursor], Claim],
        pace: str,
        rates: Sequence[Rate],
        now: datetime,
        skew: timedelta,
    ) -> Claim:
        """What `claim` takes, if it may begin now. `now` is by our clock, to which the server's is `skew` ahead."""
        pacer = self._read(cursor, pace, rates, now + skew)
        free = pacer.free_at(now + skew) - skew if pacer else now + ASK_AGAIN
        if pacer is None or free > now:
            return Claim((), None, not_before=free)
        claimed = claim(cursor)
        if claimed.deliveries:
            self._note(cursor, pace, pacer, now + skew, len(claimed.deliveries))
        return claimed

    def begin(
        self,
        cursor: Cursor,
        *,
        pace: str,
        rates: Sequence[Rate],
        now: datetime,
        skew: timedelta,
    ) -> bool:
        """Note that a message begins now; False where none may."""
        pacer = self._read(cursor, pace, rates, now + skew)
        if pacer is None or pacer.free_at(now + skew) > now + skew:
            return False
        self._note(cursor, pace, pacer, now + skew, 1)
        return True

    def _note(
        self, cursor: Cursor, pace: str, pacer: Pacer, by_server: datetime, count: int
    ) -> None:
        for _ in range(count):
            pacer.started(by_server)
        begun = json.dumps([to_ms(moment) for moment in pacer.counting(by_server)])
        self.sql[WRITE_PACE].run(cursor, of_destination=pace, begun=begun)

    def _read(
        self, cursor: Cursor, pace: str, rates: Sequence[Rate], by_server: datetime
    ) -> Pacer | None:
        """With the row locked; None while another relay has it."""
        row = self.sql[READ_PACE].run(cursor, of_destination=pace).fetchone()
        if row is None and self.sql[BEGIN_PACE].run(cursor, destination=pace).rowcount == 1:
            row = ("[]",)
        if row is None:
            return None
        # What began at a time that is yet to come was noted before the server's clock was set back.
        begun = [at for at in map(from_ms, json.loads(row[0])) if at <= by_server + AHEAD]
        return Pacer(rates, begun)
