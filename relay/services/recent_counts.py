"""Counts recent deliveries by hour and by rule, and finds the chats that a rule nearly matched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import State, from_ms, to_ms, unpacked
from relay.outbox.history import ENDED_BADLY
from relay.outbox.schema import chats, deliveries, hook_bodies, hooks
from relay.outbox.statements import Query, chat_is_alert
from relay.rules import Finding, Standing, read_record
from relay.services import in_thread, read_in_thread

HOURS = 24
DELIVERIES_READ = 20_000
"""How many deliveries are read at most, the newest first."""
MOST_NEAR_MISSES = 10
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
        .limit(DELIVERIES_READ)
        .subquery()
    )
    ago = (to_ms(now) - newest.c.created_at) // 3_600_000
    since, until = to_ms(now - HOURS * _HOUR), to_ms(now)
    question = (
        sa.select(newest.c.destination, newest.c.state, ago, sa.func.count())
        .where(newest.c.created_at > since, newest.c.created_at <= until)
        .group_by(newest.c.destination, newest.c.state, ago)
    )
    rows = await read_in_thread(sessions, lambda session: session.ask(question).fetchall())
    counts = LastDay(_hours(now), is_cut=sum(row[3] for row in rows) >= DELIVERIES_READ)
    for destination, state, hours_ago, count in rows:
        own = counts.by_destination.setdefault(destination, _hours(now))
        for hours in (own, counts.every):
            _count(hours[HOURS - 1 - int(hours_ago)], State(state), count)
    return counts


def _hours(now: datetime) -> list[HourOfDeliveries]:
    return [HourOfDeliveries(now - ago * _HOUR) for ago in range(HOURS, 0, -1)]


def _count(hour: HourOfDeliveries, state: State, count: int) -> None:
    if state in ENDED_BADLY:
        hour.failed += count
    elif state in _WAIT:
        hour.waiting += count
    else:
        hour.done += count


class RuleCount(Struct, frozen=True):
    """How many chats a rule sent, and when its newest delivery was made."""

    chats: int
    last: datetime


_LAST = Query(sa.select(sa.func.max(deliveries.c.id)))
_FROM = Query(
    sa.select(deliveries.c.id, deliveries.c.created_at)
    .where(deliveries.c.id >= sa.bindparam("number"))
    .order_by(deliveries.c.id)
    .limit(1)
)
_COUNT = Query(
    sa.select(
        deliveries.c.rule,
        sa.func.count(sa.distinct(deliveries.c.chat_id)),
        sa.func.max(deliveries.c.created_at),
    )
    .join(chats, chats.c.id == deliveries.c.chat_id)
    .where(deliveries.c.id >= sa.bindparam("number"), ~chat_is_alert)
    .group_by(deliveries.c.rule)
)


class NearMiss(Struct, frozen=True):
    """A chat that met all conditions of a rule but one."""

    chat: int
    visitor: str
    """The visitor's name; may be empty."""
    at: datetime
    finding: Finding
    """The condition that was not met, and the value in the chat."""


HOOKS_READ = 300
"""How many hooks, the newest, are searched for near misses."""
_NEWEST = Query(
    sa.select(chats.c.id, chats.c.visitor, hooks.c.received_at, hook_bodies.c.verdicts)
    .join(hooks, hooks.c.chat_id == chats.c.id)
    .join(hook_bodies, hook_bodies.c.hook_id == hooks.c.id)
    .order_by(hooks.c.id.desc())
    .limit(HOOKS_READ)
)


async def near_misses(sessions: Sessions, rule: str) -> list[NearMiss]:
    """The newest chats that a rule with several conditions did not match because of one; at most ten."""

    def work(_: object) -> list[NearMiss]:
        with sessions.reading() as session:
            rows = session.ask(_NEWEST).fetchall()
        misses: dict[int, NearMiss] = {}
        for chat, visitor, at, verdicts in rows:
            finding = _nearly(unpacked(verdicts), rule) if verdicts else None
            if finding and chat not in misses:
                misses[chat] = NearMiss(chat, visitor, from_ms(at), finding)
            if len(misses) == MOST_NEAR_MISSES:
                break
        return list(misses.values())

    return await in_thread(work)


def _nearly(record: bytes, rule: str) -> Finding | None:
    """The only condition of a rule that was not met; empty if more or none were not met."""
    for verdict in read_record(record).verdicts:
        if verdict.rule == rule and verdict.standing is Standing.FAILS:
            missed = [each for each in verdict.findings if not each.holds]
            return missed[0] if len(missed) == 1 < len(verdict.findings) else None
    return None


async def rule_counts(sessions: Sessions, since: datetime) -> dict[str, RuleCount]:
    """The counts of the rules that sent something since then, by the rules' names."""
    rows = await read_in_thread(
        sessions,
        lambda session: session.ask(_COUNT, number=_first_since(session, to_ms(since))).fetchall(),
    )
    return {rule: RuleCount(count, from_ms(last)) for rule, count, last in rows}


def _first_since(session: Session, since: int) -> int:
    """The number of the first delivery that was queued then or later, found by bisection, as numbers rise with time."""
    low, high = 0, (session.ask(_LAST).fetchone()[0] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = session.ask(_FROM, number=middle).fetchone()
        if row is None or row[1] >= since:
            high = middle
        else:
            low = row[0] + 1
    return low
