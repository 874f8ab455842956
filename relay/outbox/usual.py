"""How many hooks usually come in within an hour, from a mark made at the beginning of each: nothing is counted as they come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from relay.outbox.statements import Statements
from relay.outbox.store import Cursor

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
        hour, newest = int(now.timestamp()) // 3600, self.sql.newest_hook.run(cursor).fetchone()[0]
        row = self.sql.read_pace.run(cursor, of_destination=_NAME).fetchone()
        if row is None and self.sql.begin_pace.run(cursor, destination=_NAME).rowcount != 1:
            return 0  # another relay is at it
        begun = {at: first for at, first in json.loads(row[0] if row else "[]") if at <= hour}
        if hour not in begun:
            begun[hour] = newest
            kept = [(at, first) for at, first in begun.items() if hour - at <= KEPT_HOURS]
            self.sql.write_pace.run(cursor, of_destination=_NAME, begun=json.dumps(kept))
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
    """Of a usual day: a flood of a few days changes it hardly. 0 where nothing is known."""
    by_day: dict[int, int] = {}
    for hour, count in counts.items():
        by_day[hour // 24] = max(count, by_day.get(hour // 24, 0))
    return median(by_day.values()) if by_day else 0
