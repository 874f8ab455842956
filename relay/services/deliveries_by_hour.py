"""Counts the deliveries of each of the last 24 hours by their results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from relay.outbox.delivery_types import State, to_ms
from relay.outbox.history import ENDED_BADLY
from relay.outbox.schema import deliveries
from relay.outbox.session import Sessions
from relay.services import Progress, in_thread

HOURS = 24
LOOKED_AT = 20_000
"""How many deliveries are read at most, the newest first."""
_HOUR = timedelta(hours=1)
_WAIT = {State.QUEUED, State.SENDING, State.SCHEDULED}


@dataclass(slots=True)
class HourOfDeliveries:
    """The deliveries that were made in one hour, counted by their present state."""

    begins: datetime
    done: int = 0
    waiting: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """How many deliveries were made in this hour."""
        return self.done + self.waiting + self.failed


@dataclass(frozen=True, slots=True)
class LastDay:
    """The last 24 hours, oldest first; the last one ends now."""

    every: Sequence[HourOfDeliveries]
    """The counts of all destinations together."""
    by_destination: dict[str, list[HourOfDeliveries]] = field(default_factory=dict)
    is_cut: bool = False
    """Whether there were more deliveries than are read, so that the first hours are incomplete."""


async def last_day(sessions: Sessions, now: datetime) -> LastDay:
    """The deliveries made in the 24 hours before `now`, which is aware."""
    newest = (
        sa.select(deliveries.c.destination, deliveries.c.state, deliveries.c.created_at)
        .order_by(deliveries.c.id.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    ago = (to_ms(now) - newest.c.created_at) // 3_600_000
    since, until = to_ms(now - HOURS * _HOUR), to_ms(now)
    in_time = newest.c.created_at > since, newest.c.created_at <= until
    question = (
        sa.select(newest.c.destination, newest.c.state, ago, sa.func.count())
        .where(*in_time)
        .group_by(newest.c.destination, newest.c.state, ago)
    )

    def work(_: Progress) -> LastDay:
        with sessions.reading() as session:
            rows = session.ask(question).fetchall()
        found = LastDay(_hours(now), is_cut=sum(row[3] for row in rows) >= LOOKED_AT)
        for destination, state, hours_ago, count in rows:
            own = found.by_destination.setdefault(destination, _hours(now))
            for hours in (own, found.every):
                _count(hours[HOURS - 1 - int(hours_ago)], State(state), count)
        return found

    return await in_thread(work)


def _hours(now: datetime) -> list[HourOfDeliveries]:
    return [HourOfDeliveries(now - ago * _HOUR) for ago in range(HOURS, 0, -1)]


def _count(hour: HourOfDeliveries, state: State, count: int) -> None:
    if state in ENDED_BADLY:
        hour.failed += count
    elif state in _WAIT:
        hour.waiting += count
    else:
        hour.done += count
