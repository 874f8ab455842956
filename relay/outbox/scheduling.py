"""What waits for its time is released when it comes, by limits or into a digest, and planned anew when the rules change.

Each act runs in a transaction of the caller's. `now` is the database's: of several relays none acts before its time.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from relay.crash_points import CrashPoint, reach
from relay.outbox.leases import LAST_HOOK
from relay.outbox.rows import Waits, from_ms, maybe_time, to_ms
from relay.outbox.schema import deliveries, limits
from relay.outbox.settling import this_delivery
from relay.outbox.statements import (
    Query,
    Statements,
    bound,
    in_digest,
    inserted,
    is_scheduled,
    ms,
)
from relay.outbox.writer import Cursor
from relay.timing.plan import HOURS, LIMIT, Limit, Plan, replan

AT_ONCE = 200
"""Released, or planned anew, in one transaction, which a hook may have to wait for."""
BEHIND = timedelta(minutes=1)
"""By so much the clock may be before the newest hook; further back it is wrong, or was."""
LONGEST_KEPT = timedelta(days=1)
"""A window of a limit that ended so long ago is forgotten."""


class Done(Struct, frozen=True):
    """What an act did."""

    queued: tuple[str, ...] = ()
    """A destination for every delivery that is newly queued."""
    more: bool = False
    """There is more to do at once."""


Act = Callable[[Cursor, datetime], Done]
"""What happens at its time: it looks for what is due, and does some of it."""


class _Row(Struct, frozen=True):
    """A delivery that is scheduled."""

    id: int
    destination: str
    recipient: str
    created_at: int
    due_at: int
    why: str
    visitor: str
    in_digest: bool


_COLUMNS = [deliveries.c[name] for name in _Row.__struct_fields__[:-1]]
_waiting = sa.select(*_COLUMNS, in_digest).where(is_scheduled)
_as_it_was = (this_delivery, is_scheduled, deliveries.c.due_at == bound("was_due"))
RELEASE = Query(
    sa.update(deliveries)
    .where(*_as_it_was)
    .values(
        state="queued",
        due_at=ms("now"),
        released_at=ms("now"),
        in_digest=False,
        quiet=bound("is_quiet"),
    )
)
_CHANGE = Query(
    sa.update(deliveries)
    .where(*_as_it_was)
    .values(due_at=ms("until"), why=bound("because"), in_digest=bound("collected"))
)
_FIRST_DUE = Query(
    sa.select(deliveries.c.due_at).where(is_scheduled).order_by(deliveries.c.due_at).limit(1)
)
_SCHEDULED = Query(sa.select(deliveries.c.id, deliveries.c.destination).where(is_scheduled))
_FIND = Query(_waiting.where(this_delivery).with_for_update(skip_locked=True))
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


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The acts, over one dialect's statements."""

    sql: Statements
    waits: Waits
    _due: dict[Collection[str], Query] = field(default_factory=dict)
    """What is due at the destinations in the rules: what waits for one that is gone stays as it is."""

    def next_due(self, cursor: Cursor) -> datetime | None:
        """When the first of all that is scheduled is due; None where nothing is."""
        row = self.sql[_FIRST_DUE].run(cursor).fetchone()
        self.waits.some = row is not None or any(one.waits for one in self.waits.timings.values())
        return maybe_time(row and row[0])

    def is_behind(self, cursor: Cursor, now: datetime) -> bool:
        """Whether a hook came in later than that: one of the two clocks was wrong."""
        row = self.sql[LAST_HOOK].run(cursor).fetchone()
        return row is not None and now < from_ms(row[0]) - BEHIND

    # -- release -----------------------------------------------------------------------------------------

    def release(self, cursor: Cursor, now: datetime) -> Done:
        """Queue what is due by itself, at most 200, in the order in which it falls due.

        What a limit has no room for waits for the digest at the end of the limit's window.
        """
        names = self.waits.timings.keys()
        if not names:
            return Done()
        found = self.sql[self._find_due(names)].run(cursor, now=to_ms(now)).fetchall()
        rows = [_Row(*row) for row in found]
        until = self._over_limit(cursor, [row for row in rows if self._limits(row)], now)
        released = [row for row in rows if row.id not in until]
        self._release(cursor, released, now)
        self.sql[_CHANGE].run_many(
            cursor,
            [
                {
                    **as_found(row),
                    "until": to_ms(until[row.id]),
                    "because": LIMIT,
                    "collected": True,
                }
                for row in rows
                if row.id in until
            ],
        )
        if rows:
            reach(CrashPoint.RELEASING)
        return Done(tuple(row.destination for row in released), more=len(rows) == AT_ONCE)

    def _find_due(self, names: Collection[str]) -> Query:
        """Of these destinations, which are few, and change with the rules."""
        key = frozenset(names)
        if key not in self._due:
            self._due.clear()
            known = sa.or_(
                *(
                    deliveries.c.destination == sa.bindparam(f"destination_{number}", name)
                    for number, name in enumerate(sorted(key))
                )
            )
            self._due[key] = Query(
                _waiting.where(~in_digest, deliveries.c.due_at <= bound("now"), known)
                .order_by(deliveries.c.due_at, deliveries.c.id)
                .limit(AT_ONCE)
                .with_for_update(skip_locked=True)
            )
        return self._due[key]

    def _release(self, cursor: Cursor, rows: Iterable[_Row], now: datetime) -> None:
        """Of those that an opening lets go together, the first of each destination mentions whom it mentions."""
        mentioned = set[str]()
        changes = []
        for row in rows:
            quiet = row.why == HOURS and row.destination in mentioned
            mentioned.add(row.destination)
            changes.append({**as_found(row), "now": to_ms(now), "is_quiet": quiet})
        self.sql[RELEASE].run_many(cursor, changes)

    # -- limits ------------------------------------------------------------------------------------------

    def _limits(self, row: _Row) -> Sequence[tuple[Limit, _Key]]:
        timing = self.waits.timings[row.destination]
        return [
            (limit, (row.destination, row.recipient, _name_of(limit, row.visitor)))
            for limit in timing.limits
            # Of a visitor without a name nobody knows what else is theirs.
            if row.visitor or not limit.per_visitor
        ]

    def _over_limit(
        self, cursor: Cursor, rows: Sequence[_Row], now: datetime
    ) -> dict[int, datetime]:
        """When the digest is due for each that its limits have no room for; the others are counted."""
        asked = {key: limit for row in rows for limit, key in self._limits(row)}
        # In one order: relays that lock several never wait for each other.
        windows = {key: self._window(cursor, key, asked[key], now) for key in sorted(asked)}
        before = {key: (window.begun, window.used) for key, window in windows.items()}
        until = dict[int, datetime]()
        for row in rows:
            mine = [windows[key] for _, key in self._limits(row)]
            if full := [window.ends for window in mine if window.is_full]:
                until[row.id] = self.waits.timings[row.destination].opening(max(full))
                continue
            for window in mine:
                window.used += 1
        for key, window in windows.items():
            if window.used != before[key][1]:
                begun, used = to_ms(window.begun), window.used
                self.sql[_WRITE_WINDOW].run(cursor, **_named(key), begun=begun, count=used)
        return until

    def _window(self, cursor: Cursor, key: _Key, limit: Limit, now: datetime) -> _Window:
        """With its row locked. It begins with the first message after the one before has ended."""
        destination, recipient, of = key
        self.sql[_BEGIN_WINDOW].run(
            cursor, destination=destination, recipient=recipient, of=of, window_from=to_ms(now)
        )
        kept, used = self.sql[_READ_WINDOW].run(cursor, **_named(key)).fetchone()
        begun = from_ms(kept)
        # One that begins later was noted before the clock was set back.
        if not used or not begun <= now < begun + limit.per:
            begun, used = now, 0
        return _Window(limit.count, begun, begun + limit.per, used)

    def forget_windows(self, cursor: Cursor, now: datetime) -> None:
        """Delete the windows of limits that ended so long ago that no limit asks for them."""
        pers = (limit.per for timing in self.waits.timings.values() for limit in timing.limits)
        before = now - max([LONGEST_KEPT, *pers])
        self.sql[_FORGET_WINDOWS].run(cursor, before=to_ms(before))

    # -- plan anew ---------------------------------------------------------------------------------------

    def scheduled(self, cursor: Cursor, of: Collection[str] | None = None) -> list[int]:
        """The numbers of all that waits for its time at these destinations, or at all in the rules; the oldest first."""
        names = self.waits.timings.keys() if of is None else of & self.waits.timings.keys()
        found = self.sql[_SCHEDULED].run(cursor).fetchall()
        return sorted(number for number, destination in found if destination in names)

    def replan(
        self,
        cursor: Cursor,
        now: datetime,
        *,
        numbers: Iterable[int],
        digests: dict[tuple[str, str], datetime],
    ) -> Done:
        """Plan these anew by the timings in force: they wait for another moment, or are queued.

        `digests`: by destination and recipient, when the digest is due that the first of them began.
        """
        released, changed = [], []
        for number in numbers:
            found = self.sql[_FIND].run(cursor, delivery_id=number).fetchone()
            row = found and _Row(*found)
            if row is None or row.destination not in self.waits.timings:
                continue  # another relay has released it
            planned = self._planned(row, now, digests)
            if planned.state == "queued":
                released.append(row)
            elif change := _change(row, planned):
                changed.append(change)
        self._release(cursor, released, now)
        self.sql[_CHANGE].run_many(cursor, changed)
        reach(CrashPoint.REPLANNING)
        return Done(tuple(row.destination for row in released))

    def _planned(self, row: _Row, now: datetime, digests: dict[tuple[str, str], datetime]) -> Plan:
        timing, due = self.waits.timings[row.destination], from_ms(row.due_at)
        if row.in_digest and due <= now:
            # It is about to be closed, or was not while no relay ran.
            opening = timing.opening(now)
            due = due if opening <= now else opening
            return Plan(state="scheduled", due=due, why=row.why, in_digest=True)
        # A chat that came in later than now did so by a clock that was wrong.
        created = min(from_ms(row.created_at), now)
        planned = replan(
            timing=timing, created=created, why=row.why, in_digest=bool(row.in_digest), now=now
        )
        if not planned.joins or planned.due is None:
            return planned
        whose = row.destination, row.recipient
        begun = digests.get(whose)
        digests[whose] = min(planned.due, begun) if begun and begun > created else planned.due
        return replace(planned, due=digests[whose])


def _name_of(limit: Limit, visitor: str) -> str:
    seconds = f"{limit.per // timedelta(seconds=1)}"
    return f"{seconds} {visitor}" if limit.per_visitor else seconds


def _named(key: _Key) -> dict[str, str]:
    return dict(zip(("of_destination", "of_recipient", "of_limit"), key, strict=True))


def as_found(row: _Row) -> dict[str, int]:
    """By which a change finds a delivery only while it waits for the moment that it waited for."""
    return {"delivery_id": row.id, "was_due": row.due_at}


def _change(row: _Row, planned: Plan) -> dict[str, Any] | None:
    """None where all stays as it is."""
    until = row.due_at if planned.due is None else to_ms(planned.due)
    if (until, planned.why, planned.in_digest) == (row.due_at, row.why, bool(row.in_digest)):
        return None
    return {**as_found(row), "until": until, "because": planned.why, "collected": planned.in_digest}
