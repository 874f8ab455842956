"""`once_per:` of a rule: of several chats of one visitor the first is told, the others wait for a digest or are left out."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.outbox.rows import NewDelivery, from_ms, to_ms
from relay.outbox.schema import deliveries, limits
from relay.outbox.statements import Insert, Query, Statements, bound, inserted
from relay.outbox.writer import Cursor
from relay.timing.plan import ONCE_PER_VISITOR, Plan, Timing

_IS_KNOWN = Query(
    sa.select(deliveries.c.id).where(
        deliveries.c.chat_id == bound("of_chat"),
        deliveries.c.rule == bound("of_rule"),
        deliveries.c.destination == bound("of_destination"),
        deliveries.c.recipient == bound("of_recipient"),
        deliveries.c.step == sa.literal_column("0"),
        deliveries.c.state != sa.literal_column("'moved'"),
    )
)


@Query
def _enter(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    """An INSERT by which one of several relays begins the time. Its row keeps when the time ends, in place of when it began."""
    row = inserted(insert, limits, "destination", "recipient", "of", "window_from").values(used=1)
    ends = limits.c.window_from
    # One that ends later than a new one would was begun by a clock that was ahead, or by other rules.
    is_over = sa.or_(ends <= bound("now"), ends > row.excluded.window_from)
    return row.on_conflict_do_update(
        index_elements=["destination", "recipient", "of"],
        set_={
            "window_from": sa.case((is_over, row.excluded.window_from), else_=ends),
            "used": sa.case((is_over, 1), else_=limits.c.used + 1),
        },
    ).returning(limits.c.window_from, limits.c.used)


def plan_once(
    sql: Statements,
    cursor: Cursor,
    new: NewDelivery,
    *,
    chat_id: int,
    visitor: str,
    timing: Timing,
    now: datetime,
) -> Plan:
    """What becomes of a delivery whose rule has `once_per:`; as it was planned where nothing was told before.

    `visitor`: a key of the address or the id; of a chat without either nobody knows what else is theirs.
    """
    once = new.once_per
    if (
        once is None
        or not visitor
        or new.plan.state == "left out"
        or new.plan.why.startswith("muted")
    ):
        return new.plan
    whose = {"of_rule": new.rule, "of_destination": new.destination, "of_recipient": new.recipient}
    if sql[_IS_KNOWN].run(cursor, of_chat=chat_id, **whose).fetchone():
        return new.plan  # of this very chat: it is told already, and stays as it is
    ends, used = (
        sql[_enter]
        .run(
            cursor,
            destination=new.destination,
            recipient=new.recipient,
            of=f"once {visitor} {new.rule}",
            window_from=to_ms(now + once.visitor),
            now=to_ms(now),
        )
        .fetchone()
    )
    if used == 1:
        return new.plan
    if once.then == "nothing":
        return Plan(state="left out", why=ONCE_PER_VISITOR)
    due = timing.after_hold(from_ms(ends))
    return Plan(state="scheduled", due=due, why=ONCE_PER_VISITOR, in_digest=True)
