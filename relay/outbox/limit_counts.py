"""Counts per destination and recipient, kept in the table `limits`.

`limit:` of a destination: so many notifications in a time, the others in a digest. `once_per:` of a rule: only the
first of several chats of one visitor. Mentions: once for each burst of notifications after opening hours begin.
Erased chats: how many a digest would have had, counted by `erase_on_request` and `retention`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from relay.outbox.delivery_types import NewDelivery, from_ms, to_ms
from relay.outbox.schema import deliveries, limits
from relay.outbox.statements import Insert, Query, Statements, bound, inserted
from relay.outbox.writer import Cursor
from relay.timing.plan import ONCE_PER_VISITOR, Limit, Plan, Timing

LONGEST_KEPT = timedelta(days=1)
"""A window that ended so long ago is deleted."""
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
    """How much of a limit is used, in the window of time that lasts from `begun` to `ends`."""

    most: int
    begun: datetime
    ends: datetime
    used: int

    @property
    def is_full(self) -> bool:
        return self.used >= self.most


_Key = tuple[str, str, str]
"""A destination, a recipient, and the name of a limit.

The name is the seconds of its window, and the visitor's key where it counts per visitor.
"""


class Row(Protocol):
    """A delivery to which limits may apply."""

    @property
    def id(self) -> int:
        """The delivery's number."""

    @property
    def destination(self) -> str:
        """The destination's name."""

    @property
    def recipient(self) -> str:
        """The recipient's address, or the destination's name."""

    @property
    def visitor(self) -> str:
        """A key of the visitor; empty if the visitor is unknown."""


def over_limit(
    sql: Statements,
    cursor: Cursor,
    rows: Sequence[Row],
    timings: Mapping[str, Timing],
    now: datetime,
) -> dict[int, datetime]:
    """Count the deliveries for which the limits have room; returns when the digest of each other is due, by the delivery's number."""
    limited = {row.id: caps for row in rows if (caps := _limits(row, timings[row.destination]))}
    by_key = {key: limit for caps in limited.values() for limit, key in caps}
    # Sorted, so that relays that lock several rows can't deadlock.
    windows = {key: _window(sql, cursor, key, by_key[key], now) for key in sorted(by_key)}
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
        # Without a key, other chats of the visitor can't be known.
        if row.visitor or not limit.per_visitor
    ]


def _window(sql: Statements, cursor: Cursor, key: _Key, limit: Limit, now: datetime) -> _Window:
    """The current window of a limit, with its row locked. It begins with the first message after the previous window has ended."""
    destination, recipient, of = key
    sql[_BEGIN_WINDOW].run(
        cursor, destination=destination, recipient=recipient, of=of, window_from=to_ms(now)
    )
    kept, used = sql[_READ_WINDOW].run(cursor, **_named(key)).fetchone()
    begun = from_ms(kept)
    # A window that begins in the future was stored before the clock was set back.
    if not used or not begun <= now < begun + limit.per:
        begun, used = now, 0
    return _Window(limit.count, begun, begun + limit.per, used)


def forget_windows(
    sql: Statements, cursor: Cursor, timings: Mapping[str, Timing], now: datetime
) -> None:
    """Delete the windows that ended so long ago that no limit needs them."""
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
"""Deliveries that are released outside an opening count as one burst while no more than this lies between two."""


@Query
def _begin_burst(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    row = inserted(insert, limits, "destination", "recipient", "of", "window_from").values(used=1)
    begun = limits.c.window_from
    return row.on_conflict_do_update(
        index_elements=["destination", "recipient", "of"],
        set_={"window_from": row.excluded.window_from},
        # A time in the future was written by a clock that was wrong.
        where=sa.or_(begun < bound("opening"), begun > row.excluded.window_from),
    ).returning(limits.c.used)


def begins_burst(
    sql: Statements, cursor: Cursor, destination: str, opening: datetime, now: datetime
) -> bool:
    """Store that a destination is notified now; returns whether it is the first time since `opening`, over all relays.

    The first notification of a burst mentions people.
    """
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
    """An INSERT with which one of several relays begins the time of `once_per`. The column `window_from` holds when it ends."""
    row = inserted(insert, limits, "destination", "recipient", "of", "window_from").values(used=1)
    ends = limits.c.window_from
    # A time that ends later than a new one would was begun by a fast clock, or by other rules.
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
    """The plan of a delivery whose rule has `once_per:`; unchanged where the visitor's time has not begun yet.

    `visitor`: a key of the email address or id; without either other chats of the visitor can't be known, and the
    plan stays.
    """
    once = new.once_per
    if once is None or not visitor or not new.plan.counts_once:
        return new.plan
    keys = {"of_rule": new.rule, "of_destination": new.destination, "of_recipient": new.recipient}
    if sql[_IS_KNOWN].run(cursor, of_chat=chat_id, **keys).fetchone():
        return new.plan  # a known delivery of this chat stays as it is
    entered = sql[_enter].run(
        cursor,
        destination=new.destination,
        recipient=new.recipient,
        of=_once(visitor, new.rule),
        window_from=to_ms(now + once.visitor),
        now=to_ms(now),
    )
    ends, used = entered.fetchone()
    if used == 1:
        return new.plan
    if once.then == "nothing":
        return Plan(state="left out", why=ONCE_PER_VISITOR)
    due = timing.after_hold(from_ms(ends))
    return Plan(state="scheduled", due=due, why=ONCE_PER_VISITOR, in_digest=True)


def once_ends(
    sql: Statements, cursor: Cursor, *, rule: str, destination: str, recipient: str, visitor: str
) -> datetime | None:
    """When the time ends, or ended, in which `once_per` holds back a rule's further chats of a visitor.

    None where it is forgotten. `visitor`: a key, see `plan_once`.
    """
    key = _named((destination, recipient, _once(visitor, rule)))
    row = sql[_READ_WINDOW].run(cursor, **key).fetchone()
    return row and from_ms(row[0])


def _once(visitor: str, rule: str) -> str:
    return f"once {visitor} {rule}"
