"""What is counted for a destination and a recipient, in the table `limits`.

`limit:` of a destination: so many in a time by themselves, the others in a digest. `once_per:` of a rule: of several chats
of one visitor the first is told. The burst after an opening: one of it mentions. And how many chats were erased before
their digest was closed (by `erasing`): that too is a number for a moment of one destination and recipient, which is locked
with the digest, and forgotten some days later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from relay.outbox.rows import NewDelivery, from_ms, to_ms
from relay.outbox.schema import deliveries, limits
from relay.outbox.statements import Insert, Query, Statements, bound, inserted
from relay.outbox.writer import Cursor
from relay.timing.plan import ONCE_PER_VISITOR, Limit, Plan, Timing

LONGEST_KEPT = timedelta(days=1)
"""A window that ended so long ago is forgotten."""
_this_window = (
    limits.c.destination == bound("of_destination"),
    limits.c.recipient == bound("of_recipient"),
    limits.c.of == bound("of_limit"),
)
_BEGIN_WINDOW = Query(
    lambda insert: (
        inserted(insert, limits, "destination", "recipient", "of", "window_from")
        .values(used=0)
        .on_conflict_do_nothing()
    )
)
_READ_WINDOW = Query(
    sa.select(limits.c.window_from, limits.c.used).where(*_this_window).with_for_update()
)
_WRITE_WINDOW = Query(
    sa.update(limits).where(*_this_window).values(window_from=bound("begun"), used=bound("count"))
)
_FORGET_WINDOWS = Query(sa.delete(limits).where(limits.c.window_from < bound("before")))


@dataclass(slots=True)
class _Window:
    """How much of a limit is used up."""

    most: int
    begun: datetime
    ends: datetime
    used: int

    @property
    def is_full(self) -> bool:
        return self.used >= self.most


_Key = tuple[str, str, str]
"""A destination, a recipient, and which of the limits: the seconds of its window, and the visitor where it is per visitor."""


class Row(Protocol):
    """A delivery whose release may be limited."""

    @property
    def id(self) -> int: ...
    @property
    def destination(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def visitor(self) -> str: ...


def over_limit(
    sql: Statements,
    cursor: Cursor,
    rows: Sequence[Row],
    timings: Mapping[str, Timing],
    now: datetime,
) -> dict[int, datetime]:
    """The deliveries that the limits have no room for, by number, with the time at which their digest is due.

    The others are counted.
    """
    limited = {row.id: found for row in rows if (found := _limits(row, timings[row.destination]))}
    asked = {key: limit for found in limited.values() for limit, key in found}
    # In one order: relays that lock several never wait for each other.
    windows = {key: _window(sql, cursor, key, asked[key], now) for key in sorted(asked)}
    before = {key: window.used for key, window in windows.items()}
    until = dict[int, datetime]()
    for row in rows:
        mine = [windows[key] for _, key in limited.get(row.id, ())]
        if full := [window.ends for window in mine if window.is_full]:
            until[row.id] = timings[row.destination].opening(max(full))
            continue
        for window in mine:
            window.used += 1
    for key, window in windows.items():
        if window.used != before[key]:
            begun, used = to_ms(window.begun), window.used
            sql[_WRITE_WINDOW].run(cursor, **_named(key), begun=begun, count=used)
    return until


def _limits(row: Row, timing: Timing) -> Sequence[tuple[Limit, _Key]]:
    return [
        (limit, (row.destination, row.recipient, _name_of(limit, row.visitor)))
        for limit in timing.limits
        # Of a visitor without a name nobody knows what else is theirs.
        if row.visitor or not limit.per_visitor
    ]


def _window(sql: Statements, cursor: Cursor, key: _Key, limit: Limit, now: datetime) -> _Window:
    """With its row locked. It begins with the first message after the one before has ended."""
    destination, recipient, of = key
    sql[_BEGIN_WINDOW].run(
        cursor, destination=destination, recipient=recipient, of=of, window_from=to_ms(now)
    )
    kept, used = sql[_READ_WINDOW].run(cursor, **_named(key)).fetchone()
    begun = from_ms(kept)
    # One that begins later was noted before the clock was set back.
    if not used or not begun <= now < begun + limit.per:
        begun, used = now, 0
    return _Window(limit.count, begun, begun + limit.per, used)


def forget_windows(
    sql: Statements, cursor: Cursor, timings: Mapping[str, Timing], now: datetime
) -> None:
    """Delete the windows that ended so long ago that nobody asks for them."""
    pers = (limit.per for timing in timings.values() for limit in timing.limits)
    before = now - max([LONGEST_KEPT, *pers])
    sql[_FORGET_WINDOWS].run(cursor, before=to_ms(before))


def _name_of(limit: Limit, visitor: str) -> str:
    seconds = f"{limit.per // timedelta(seconds=1)}"
    return f"{seconds} {visitor}" if limit.per_visitor else seconds


def _named(key: _Key) -> dict[str, str]:
    return dict(zip(("of_destination", "of_recipient", "of_limit"), key, strict=True))


# -- who mentions ---------------------------------------------------------------------------------------------

MENTION = "mention"
BURST = timedelta(minutes=2)
"""What a reload lets go before its opening is one burst while no more than this lies between."""


@Query
def _begin_burst(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    row = inserted(insert, limits, "destination", "recipient", "of", "window_from").values(used=1)
    told_at = limits.c.window_from
    return row.on_conflict_do_update(
        index_elements=["destination", "recipient", "of"],
        set_={"window_from": row.excluded.window_from},
        # One that was told later than now was told by a clock that was wrong.
        where=sa.or_(told_at < bound("opening"), told_at > row.excluded.window_from),
    ).returning(limits.c.used)


def begins_burst(
    sql: Statements, cursor: Cursor, destination: str, opening: datetime, now: datetime
) -> bool:
    """Whether nothing was told there since this opening: the first of what it lets go mentions, over all relays."""
    since = opening if opening <= now else now - BURST
    row = sql[_begin_burst].run(
        cursor,
        destination=destination,
        recipient="",
        of=MENTION,
        window_from=to_ms(now),
        opening=to_ms(since),
    )
    return row.fetchone() is not None


# -- once per visitor -----------------------------------------------------------------------------------------

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
    """An INSERT by which one of several relays begins the time.

    Its row keeps when the time ends, in place of when it began.
    """
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
    if once is None or not visitor or not new.plan.counts_once:
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
            of=_once(visitor, new.rule),
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


def once_ends(
    sql: Statements, cursor: Cursor, *, rule: str, destination: str, recipient: str, visitor: str
) -> datetime | None:
    """When the time ends, or ended, in which `once_per` holds back what a rule has about a visitor; None: forgotten.

    `visitor`: see `plan_once`.
    """
    whose = _named((destination, recipient, _once(visitor, rule)))
    row = sql[_READ_WINDOW].run(cursor, **whose).fetchone()
    return row and from_ms(row[0])


def _once(visitor: str, rule: str) -> str:
    return f"once {visitor} {rule}"
