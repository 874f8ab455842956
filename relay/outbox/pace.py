"""When the next message to a destination may start: its rates and its hourly limit, over all relays.

`Pacer` has no I/O; the time is an argument. `Turns` keeps a pace in the database. `Hourly` counts the attempts of an
hour, over restarts.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from relay.destination import Rate
from relay.outbox.delivery_types import Claim, from_ms, to_ms
from relay.outbox.schema import paces
from relay.outbox.statements import Query, Statements, bound, inserted
from relay.outbox.writer import Cursor


class Pacer:
    """Keeps several rates at once: within any time `rate.per` at most `rate.count` messages start."""

    def __init__(self, rates: Iterable[Rate], started: Iterable[datetime] = ()) -> None:
        """`started`: when earlier messages started, oldest first."""
        self.rates = tuple(rates)
        self._windows = [(rate, deque[datetime](maxlen=rate.count)) for rate in self.rates]
        self._not_before: datetime | None = None
        for moment in started:
            self.started(moment)

    @property
    def unlimited(self) -> bool:
        """Whether there is no rate to keep."""
        return not self.rates

    def free_at(self, now: datetime) -> datetime:
        """When the next message may start: `now` or later."""
        times = [now, self._not_before or now]
        for rate, started in self._windows:
            if len(started) == rate.count:
                times.append(started[0] + rate.per)
        return max(times)

    def started(self, now: datetime) -> None:
        """Note that a message starts at `now`."""
        for _, started in self._windows:
            started.append(now)

    def forget(self) -> None:
        """Forget earlier messages: after the clock was set back their times would block the pace until then."""
        self._not_before = None
        for _, started in self._windows:
            started.clear()

    def wait_until(self, moment: datetime) -> None:
        """Start no message before `moment`, because another relay has used up the pace."""
        self._not_before = moment

    def counting(self, now: datetime) -> Sequence[datetime]:
        """The start times that still count towards a rate, oldest first."""
        longest = max((rate.per for rate in self.rates), default=None)
        most = max((started for _, started in self._windows), key=len, default=deque[datetime]())
        return [moment for moment in most if longest and moment + longest > now]


ASK_AGAIN = timedelta(milliseconds=50)
"""When to try again while another relay has the row's lock. Waiting for the lock would hold up hooks."""
AHEAD = timedelta(milliseconds=50)
"""How far the clocks of relays may differ, beyond the skew that each has measured."""


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
    """When messages started that share one pace, kept in the database."""

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
        """Run `claim` if the rates let a message start now. `now` is by this relay's clock; the server's is `skew` ahead."""
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
        """Store that a message starts now; False where the rates allow none."""
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
        """The pace's pacer with its row locked; None while another relay has the lock."""
        row = self.sql[READ_PACE].run(cursor, of_destination=pace).fetchone()
        if row is None and self.sql[BEGIN_PACE].run(cursor, destination=pace).rowcount == 1:
            row = ("[]",)
        if row is None:
            return None
        # Times in the future were stored before the server's clock was set back.
        begun = [at for at in map(from_ms, json.loads(row[0])) if at <= by_server + AHEAD]
        return Pacer(rates, begun)


AT_ONCE = 0
"""Due time of alerts, in ms: before all other deliveries. The hourly limit does not apply to them."""
MINUTES = 60
HOURS_AHEAD = 30
"""Minutes by which another relay's clock may be ahead; attempts with later times are not counted."""
_OF = "hour: "
"""Prefix of a destination's name in `paces.destination`, for the row with its hourly counts."""


read_hours = sa.select(paces.c.destination, paces.c.started).where(
    paces.c.destination.like("hour: %")
)
READ_HOURS = Query(read_hours)


@dataclass(frozen=True, slots=True)
class Hour:
    """How many attempts a destination with an hourly limit had in the last hour."""

    most: int
    """The limit: attempts per hour."""
    begun: Mapping[int, int]
    """Attempts by the minute in which they began; minutes are counted from 1970."""
    more_at: datetime
    """When more attempts may begin than now, if none begins until then."""

    @property
    def left(self) -> int:
        """How many more attempts may begin now."""
        return max(0, self.most - sum(self.begun.values()))


@dataclass(frozen=True, slots=True)
class Hourly:
    """Counts the attempts of destinations that have an hourly limit."""

    sql: Statements
    most: Mapping[str, int]
    """The hourly limit of each destination that has one, by name."""

    def read(self, cursor: Cursor, destination: str, now: datetime) -> Hour | None:
        """The last hour of a destination, with its row locked; None for a destination without an hourly limit."""
        most = self.most.get(destination)
        if most is None:
            return None
        name = _OF + destination
        row = self.sql[READ_PACE].run(cursor, of_destination=name).fetchone()
        if row is None and self.sql[BEGIN_PACE].run(cursor, destination=name).rowcount == 1:
            row = ("[]",)
        if row is None:  # another relay has it
            return Hour(0, {}, now + ASK_AGAIN)
        return _hour(most, row[0], now)

    def full(self, cursor: Cursor, now: datetime) -> dict[str, int]:
        """The destinations that have reached their hourly limit, with the limit."""
        had = hours(self.sql[READ_HOURS].run(cursor).fetchall(), now)
        return {
            name: most
            for name, most in dict(self.most).items()
            if name in had and sum(had[name].begun.values()) >= most
        }

    def note(self, cursor: Cursor, destination: str, hour: Hour, now: datetime, count: int) -> None:
        """Count `count` attempts that begin now."""
        if not count:
            return
        minute = _minute(now)
        begun = {**hour.begun, minute: hour.begun.get(minute, 0) + count}
        self.sql[WRITE_PACE].run(
            cursor,
            of_destination=_OF + destination,
            begun=json.dumps([hour.most, *begun.items()]),
        )

    def within(self, cursor: Cursor, free: Mapping[str, int], now: datetime) -> dict[str, int]:
        """How many of the `free` attempts at each destination the hourly limits allow now; counts these as begun."""
        may_begin = dict(free)
        for name in free.keys() & self.most.keys():
            if hour := self.read(cursor, name, now):
                may_begin[name] = min(free[name], hour.left)
                self.note(cursor, name, hour, now, may_begin[name])
        return may_begin


def hours(rows: Iterable[Any], now: datetime) -> dict[str, Hour]:
    """The last hour of each destination that has an hourly limit, by name. `rows`: the rows that `read_hours` selects."""
    return {
        name.removeprefix(_OF): _hour(json.loads(kept)[0], kept, now)
        for name, kept in rows
        if kept != "[]"
    }


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _hour(most: int, kept: str, now: datetime) -> Hour:
    """The last hour in the column `kept`: the limit, and pairs of a minute and its attempts, as JSON."""
    this = _minute(now)
    # Times in the future were stored before the clock was set back.
    begun = {
        at: count for at, count in json.loads(kept)[1:] if -MINUTES <= at - this <= HOURS_AHEAD
    }
    free_at = (min(begun, default=this - MINUTES) + MINUTES + 1) * 60
    return Hour(most, begun, max(now, datetime.fromtimestamp(free_at, UTC)))
