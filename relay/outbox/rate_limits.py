"""When the next message to a destination may start: its rates and its ceiling for an hour, kept by all relays together.

`Pacer` has no I/O: the time is handed in. `Turns` keeps one pace in the database that relays share. Attempts are counted there by
the hour, over restarts; how many hooks usually come in within an hour is known by a mark made at the beginning of each.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import sqlalchemy as sa

from relay.destination import Rate
from relay.outbox.rows import Claim, from_ms, to_ms
from relay.outbox.schema import hooks, paces
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
        """When the next message may start: `now` or later."""
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
        """Take note that somebody else has used the pace up until then."""
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


AT_ONCE = 0
"""Since when an alert of the relay's own is due: before all else that waits, and whatever the destination had already."""
MINUTES = 60
HOURS_AHEAD = 30
"""Minutes by which the clock of another relay may be ahead: what it has begun counts for all."""
"""When another relay is just counting. To wait for its lock would hold up hooks."""
_OF = "hour: "
"""Before a destination's name, where paces have theirs."""


read_hours = sa.select(paces.c.destination, paces.c.started).where(
    paces.c.destination.like("hour: %")
)
READ_HOURS = Query(read_hours)
_NEWEST_HOOK = Query(sa.select(sa.func.coalesce(sa.func.max(hooks.c.id), 0)))


@dataclass(frozen=True, slots=True)
class Hour:
    """What a destination with a ceiling got lately, and how many more it may get."""

    most: int
    """How many it may have in an hour."""
    begun: Mapping[int, int]
    """How many began in each minute; minutes are counted from 1970."""
    more_at: datetime
    """When more than now may begin, if nothing else begins until then."""

    @property
    def left(self) -> int:
        """How many more attempts may begin now."""
        return max(0, self.most - sum(self.begun.values()))


@dataclass(frozen=True, slots=True)
class Hourly:
    """Knows how many hooks usually come in within an hour, and whether there are far more now.

    Destinations without a ceiling are not counted.
    """

    sql: Statements
    most: Mapping[str, int]
    """The most messages for an hour, of each destination that has such a ceiling."""

    def read(self, cursor: Cursor, destination: str, now: datetime) -> Hour | None:
        """What a destination got in the last hour, with its row locked; None for one without a ceiling."""
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
        """The destinations that have had their most for an hour, with how many that is."""
        had = hours(self.sql[READ_HOURS].run(cursor).fetchall(), now)
        return {
            name: most
            for name, most in dict(self.most).items()
            if name in had and sum(had[name].begun.values()) >= most
        }

    def note(self, cursor: Cursor, destination: str, hour: Hour, now: datetime, count: int) -> None:
        """Count so many attempts as begun now."""
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
        """How many of the `free` attempts of each destination may begin now; these are counted."""
        may_begin = dict(free)
        for name in free.keys() & self.most.keys():
            if hour := self.read(cursor, name, now):
                may_begin[name] = min(free[name], hour.left)
                self.note(cursor, name, hour, now, may_begin[name])
        return may_begin


def hours(rows: Iterable[Any], now: datetime) -> dict[str, Hour]:
    """What each destination that has a ceiling got lately, by its name. `rows`: what `read_hours` finds."""
    return {
        name.removeprefix(_OF): _hour(json.loads(kept)[0], kept, now)
        for name, kept in rows
        if kept != "[]"
    }


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _hour(most: int, kept: str, now: datetime) -> Hour:
    """`kept`: how many may begin in an hour, and how many began in each minute."""
    this = _minute(now)
    # What began much later than now was noted before the clock was set back, and counts no more.
    begun = {
        at: count for at, count in json.loads(kept)[1:] if -MINUTES <= at - this <= HOURS_AHEAD
    }
    free_at = (min(begun, default=this - MINUTES) + MINUTES + 1) * 60
    return Hour(most, begun, max(now, datetime.fromtimestamp(free_at, UTC)))


KEPT_HOURS = 14 * 24
FEWEST = 200
"""In an hour; fewer are never too many."""
TIMES = 4
"""Too many are so many times the hooks of a usual day's busiest hour."""
_NAME = "hooks: at the beginning of each hour"


@dataclass(frozen=True, slots=True)
class Usual:
    """Knows how many hooks usually come in within an hour, and whether there are far more now."""

    sql: Statements

    def flood(self, cursor: Cursor, now: datetime) -> int:
        """How many came in within this hour or the one before, where that is far more than usual; else 0."""
        hour, newest = (
            int(now.timestamp()) // 3600,
            self.sql[_NEWEST_HOOK].run(cursor).fetchone()[0],
        )
        row = self.sql[READ_PACE].run(cursor, of_destination=_NAME).fetchone()
        if row is None and self.sql[BEGIN_PACE].run(cursor, destination=_NAME).rowcount != 1:
            return 0  # another relay is at it
        begun = {at: first for at, first in json.loads(row[0] if row else "[]") if at <= hour}
        if hour not in begun:
            begun[hour] = newest
            kept = [(at, first) for at, first in begun.items() if hour - at <= KEPT_HOURS]
            self.sql[WRITE_PACE].run(cursor, of_destination=_NAME, begun=json.dumps(kept))
        counts = counts_of({**begun, hour + 1: newest})
        lately = max(counts.get(hour, 0), counts.get(hour - 1, 0))
        earlier = {at: count for at, count in counts.items() if at < hour - 1}
        return lately if lately > max(FEWEST, TIMES * busiest_hour(earlier)) else 0


def counts_of(begun: Mapping[int, int]) -> dict[int, int]:
    """How many hooks came in each hour whose beginning and end are known.

    `begun`: the newest hook at the beginning of each.
    """
    return {
        at: max(0, end - first)
        for (at, first), (following, end) in pairwise(sorted(begun.items()))
        if following == at + 1
    }


def busiest_hour(counts: Mapping[int, int]) -> float:
    """The messages of the busiest hour of a usual day: a flood of a few days hardly changes it. 0 where nothing is known."""
    by_day: dict[int, int] = {}
    for hour, count in counts.items():
        by_day[hour // 24] = max(count, by_day.get(hour // 24, 0))
    return median(by_day.values()) if by_day else 0
