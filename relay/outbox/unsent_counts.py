"""Counts what waits, is being sent or ended badly, for `/readyz`, alerts and commands.

All of it runs in the writer's thread, inside the caller's transaction.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.outbox.delivery_types import ITSELF, State, from_ms, maybe_time
from relay.outbox.schema import TROUBLED, attempts, chats, deliveries, hooks, set_aside
from relay.outbox.statements import (
    Query,
    Statement,
    Statements,
    is_queued,
    is_scheduled,
    is_sending,
    queued_at,
)
from relay.outbox.writer import Cursor

QUEUED_BY_DESTINATION = Query(
    sa.select(deliveries.c.destination, sa.func.count(), sa.func.min(queued_at))
    .where(is_queued)
    .group_by(deliveries.c.destination)
)
_SCHEDULED_BY_DESTINATION = Query(
    sa.select(deliveries.c.destination, sa.func.count(), sa.func.min(deliveries.c.due_at))
    .where(is_scheduled)
    .group_by(deliveries.c.destination)
)
_COUNT_TROUBLED = Query(
    sa.select(deliveries.c.state, sa.func.count())
    .where(sa.text(TROUBLED))
    .group_by(deliveries.c.state)
)
_SENDING = Query(
    sa.select(deliveries.c.destination, queued_at, attempts.c.started_at, deliveries.c.detail)
    .join(attempts, attempts.c.delivery_id == deliveries.c.id)
    .where(is_sending, attempts.c.number == deliveries.c.attempts)
)
_COUNT_SET_ASIDE = Query(sa.select(sa.func.count()).select_from(set_aside))
LAST_HOOK = Query(
    sa.select(hooks.c.received_at)
    .join(chats, chats.c.id == hooks.c.chat_id)
    .where(chats.c.account != sa.literal_column(f"'{ITSELF}'"))
    .order_by(hooks.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the outbox: what waits, what is being sent, what ended badly."""

    queued: Mapping[str, int]
    """How many deliveries are queued, by destination."""
    sending: int
    troubled: Mapping[State, int]
    """How many deliveries ended badly, by state."""
    oldest_queued: datetime | None
    """When the oldest delivery that is queued or being sent was queued; None where there is none."""
    set_aside: int
    last_hook: datetime | None
    """When the last hook came, not counting alerts of the relay's own."""
    scheduled: Mapping[str, int]
    """How many deliveries wait for their time, by destination."""
    next_scheduled: datetime | None
    """When the first scheduled delivery is due; None where none is scheduled."""
    oldest: Mapping[str, datetime]
    """When the oldest delivery of each destination that is queued or being sent was queued."""

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many deliveries are queued or scheduled, by destination."""
        return Counter(self.queued) + Counter(self.scheduled)


def count_scheduled(sql: Statements, cursor: Cursor) -> dict[str, int]:
    """How many deliveries wait for their time, by destination."""
    rows = sql[_SCHEDULED_BY_DESTINATION].run(cursor).fetchall()
    return {name: count for name, count, _ in rows}


@dataclass(frozen=True, slots=True)
class Sending:
    """A delivery that is being sent."""

    destination: str
    queued_at: datetime
    started_at: datetime
    """When the attempt began."""
    detail: str
    """The server's last answer; empty at a first attempt."""


def being_sent(sql: Statements, cursor: Cursor) -> list[Sending]:
    """The deliveries that are being sent, which are never many."""
    rows = sql[_SENDING].run(cursor).fetchall()
    return [Sending(name, from_ms(queued), from_ms(at), words) for name, queued, at, words in rows]


def oldest_of(
    queued: Iterable[tuple[str, int, int]], sending: Iterable[Sending]
) -> dict[str, datetime]:
    """When the oldest delivery of each destination was queued. `queued`: rows of QUEUED_BY_DESTINATION."""
    times = [(from_ms(at), name) for name, _, at in queued]
    times += ((each.queued_at, each.destination) for each in sending)
    return {name: at for at, name in sorted(times, reverse=True)}


def summarize(sql: Statements, cursor: Cursor) -> Summary:
    """Count what waits and what ended badly, without reading the whole history."""
    waiting = sql[QUEUED_BY_DESTINATION].run(cursor).fetchall()
    scheduled = sql[_SCHEDULED_BY_DESTINATION].run(cursor).fetchall()
    sending = being_sent(sql, cursor)
    oldest = oldest_of(waiting, sending)
    return Summary(
        queued={name: count for name, count, _ in waiting},
        sending=len(sending),
        troubled={
            State(state): count for state, count in sql[_COUNT_TROUBLED].run(cursor).fetchall()
        },
        oldest_queued=min(oldest.values(), default=None),
        set_aside=_first_value(sql[_COUNT_SET_ASIDE], cursor),
        last_hook=maybe_time(_first_value(sql[LAST_HOOK], cursor)),
        scheduled={name: count for name, count, _ in scheduled},
        next_scheduled=maybe_time(min((due for _, _, due in scheduled), default=None)),
        oldest=oldest,
    )


def _first_value(statement: Statement, cursor: Cursor) -> Any:  # noqa: ANN401 - a column of any type
    row = statement.run(cursor).fetchone()
    return row and row[0]
