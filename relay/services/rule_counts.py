"""How many chats each rule told somebody of lately, and when it last did."""

from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.rows import from_ms, to_ms
from relay.outbox.schema import chats, deliveries
from relay.outbox.session import Session, Sessions
from relay.outbox.statements import chat_is_alert
from relay.services import in_thread


class RuleCount(Struct, frozen=True):
    """What a rule told."""

    chats: int
    last: datetime


_LAST = sa.select(sa.func.max(deliveries.c.id))
_FROM = (
    sa.select(deliveries.c.id, deliveries.c.created_at)
    .where(deliveries.c.id >= sa.bindparam("number"))
    .order_by(deliveries.c.id)
    .limit(1)
)
_COUNT = (
    sa.select(
        deliveries.c.rule,
        sa.func.count(sa.distinct(deliveries.c.chat_id)),
        sa.func.max(deliveries.c.created_at),
    )
    .join(chats, chats.c.id == deliveries.c.chat_id)
    .where(deliveries.c.id >= sa.bindparam("number"), ~chat_is_alert)
    .group_by(deliveries.c.rule)
)


async def rule_counts(sessions: Sessions, since: datetime) -> dict[str, RuleCount]:
    """By the names of the rules that told somebody since then."""

    def work(_: object) -> dict[str, RuleCount]:
        with sessions.reading() as session:
            rows = session.ask(_COUNT, number=_first_since(session, to_ms(since))).fetchall()
        return {rule: RuleCount(count, from_ms(last)) for rule, count, last in rows}

    return await in_thread(work)


def _first_since(session: Session, since: int) -> int:
    """The number of the first delivery that was queued then or later: they are numbered as they come."""
    low, high = 0, (session.ask(_LAST).fetchone()[0] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = session.ask(_FROM, number=middle).fetchone()
        if row is None or row[1] >= since:
            high = middle
        else:
            low = row[0] + 1
    return low
