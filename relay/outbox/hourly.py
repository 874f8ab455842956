"""How many deliveries to a destination began within the last hour, counted in the database: over restarts, by all relays together.

How many hooks usually come in within an hour, from a mark made at the beginning of each: nothing is counted as they come.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import sqlalchemy as sa

from relay.outbox.pace import BEGIN_PACE, READ_PACE, WRITE_PACE
from relay.outbox.schema import hooks, paces
from relay.outbox.statements import Query, Statements
from relay.outbox.writer import Cursor

AT_ONCE = 0
"""Since when an alert of the relay's own is due: before all else that waits, and whatever the destination had already."""
MINUTES = 60
AHEAD = 30
"""Minutes by which the clock of another relay may be ahead: what it has begun counts for all."""
ASK_AGAIN = timedelta(milliseconds=50)
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
    """What a destination has had lately."""

    most: int
    """How many it may have in an hour."""
    begun: Mapping[int, int]
    """How many began in each minute; minutes are counted from 1970."""
    more_at: datetime
    """When more than now may begin, if nothing else begins until then."""

    @property
    def left(self) -> int:
        """How many more may begin now."""
        return max(0, self.most - sum(self.begun.values()))


@dataclass(frozen=True, slots=True)
class Hourly:
    """The acts, over one dialect's statements. Destinations without a ceiling are not counted."""

    sql: Statements
    most: Mapping[str, int]
    """The most messages for an hour, of each destination that has such a ceiling."""

    def read(self, cursor: Cursor, destination: str, now: datetime) -> Hour | None:
        """With the row locked. None for a destination without a ceiling."""
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
        """So many begin now."""
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
    begun = {at: count for at, count in json.loads(kept)[1:] if -MINUTES <= at - this <= AHEAD}
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
    """The acts, over one dialect's statements."""

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
    """By hour, of those whose beginning and end are known. `begun`: the newest hook at the beginning of each."""
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
