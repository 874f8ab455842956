"""What waits for its time is released when it comes, by limits or into a digest, and planned anew when the rules change.

Each act runs in a transaction of the caller's. `now` is the database's: of several relays none acts before its time.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from relay.crash_points import CrashPoint, reach
from relay.outbox.leases import LAST_HOOK
from relay.outbox.limits import begins_burst, forget_windows, once_ends, over_limit
from relay.outbox.mutes import find_mute
from relay.outbox.rows import Waits, from_ms, maybe_time, to_ms
from relay.outbox.schema import deliveries
from relay.outbox.settling import this_delivery
from relay.outbox.statements import (
    Query,
    Statements,
    bound,
    in_digest,
    is_scheduled,
    ms,
)
from relay.outbox.writer import Cursor
from relay.timing.plan import HOURS, LIMIT, MUTED, ONCE_PER_VISITOR, Plan, replan

AT_ONCE = 200
"""Released, or planned anew, in one transaction, which a hook may have to wait for."""
BEHIND = timedelta(minutes=1)
"""By so much the clock may be before the newest hook; further back it is wrong, or was."""


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
    rule: str
    destination: str
    recipient: str
    created_at: int
    due_at: int
    why: str
    visitor: str
    template: str
    in_digest: bool

    @property
    def is_own(self) -> bool:
        """It is an alert or a digest, about no one chat: hours and limits do not hold for it."""
        return not self.template


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
        missed = self._put_off(cursor, [row for row in rows if not row.is_own], now)
        in_time = [row for row in rows if row.id not in missed]
        of_chats = [row for row in in_time if not row.is_own]
        until = over_limit(self.sql, cursor, of_chats, self.waits.timings, now)
        released = [row for row in in_time if row.id not in until]
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
                for row in in_time
                if row.id in until
            ],
        )
        if rows:
            reach(CrashPoint.RELEASING)
        return Done(tuple(row.destination for row in released), more=len(rows) == AT_ONCE)

    def _put_off(self, cursor: Cursor, rows: Iterable[_Row], now: datetime) -> set[int]:
        """What is due too late to be within the hours waits for the next opening; returns their numbers."""
        changes, missed = [], set[int]()
        for row in rows:
            opening = self.waits.timings[row.destination].put_off(from_ms(row.due_at), now)
            if opening is not None:
                missed.add(row.id)
                why, until = row.why or HOURS, to_ms(opening)
                changes.append(
                    {**as_found(row), "until": until, "because": why, "collected": False}
                )
        self.sql[_CHANGE].run_many(cursor, changes)
        return missed

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
        """Of those that an opening lets go, the first of each destination mentions whom it mentions."""
        rows = list(rows)
        openings = dict[str, datetime]()
        for row in rows:
            if row.why == HOURS:
                openings.setdefault(row.destination, from_ms(row.due_at))
        first = {
            name
            for name in sorted(openings)  # in one order: relays never wait for each other
            if begins_burst(self.sql, cursor, name, openings[name], now)
        }
        changes = []
        for row in rows:
            quiet = row.why == HOURS and row.destination not in first
            if row.why == HOURS:
                first.discard(row.destination)
            changes.append({**as_found(row), "now": to_ms(now), "is_quiet": quiet})
        self.sql[RELEASE].run_many(cursor, changes)

    def forget_windows(self, cursor: Cursor, now: datetime) -> None:
        """Delete what was counted so long ago that nobody asks for it."""
        forget_windows(self.sql, cursor, self.waits.timings, now)

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
            planned = self._planned(cursor, row, now, digests)
            if planned.state == "queued":
                released.append(row)
            elif change := _change(row, planned):
                changed.append(change)
        self._release(cursor, released, now)
        self.sql[_CHANGE].run_many(cursor, changed)
        reach(CrashPoint.REPLANNING)
        return Done(tuple(row.destination for row in released))

    def _held_until(self, cursor: Cursor, row: _Row) -> datetime | None:
        """When what holds it back from its destination's next digest or hours ends, or ended: a mute, or `once_per`."""
        if row.why == ONCE_PER_VISITOR:
            ends = once_ends(
                self.sql,
                cursor,
                rule=row.rule,
                destination=row.destination,
                recipient=row.recipient,
                visitor=row.visitor,
            )
            # A time that ends after its digest is due began later: its moment stays.
            return ends if ends and to_ms(ends) <= row.due_at else None
        if row.is_own or not row.why.startswith(MUTED):
            return None
        kept = find_mute(self.sql, cursor, int(row.why.removeprefix(MUTED)))
        return None if kept is None else kept.ended_at or kept.mute.until

    def _planned(
        self,
        cursor: Cursor,
        row: _Row,
        now: datetime,
        digests: dict[tuple[str, str], datetime],
    ) -> Plan:
        timing, due = self.waits.timings[row.destination], from_ms(row.due_at)
        if row.in_digest and due <= now:
            # It is about to be closed, or was not while no relay ran.
            opening = timing.opening(now)
            due = due if opening <= now else opening
            return Plan(state="scheduled", due=due, why=row.why, in_digest=True)
        # A chat that came in later than now did so by a clock that was wrong.
        created = min(from_ms(row.created_at), now)
        planned = replan(
            timing=timing,
            created=created,
            why=row.why,
            in_digest=bool(row.in_digest),
            now=now,
            held_until=self._held_until(cursor, row),
        )
        if not planned.joins or planned.due is None:
            return planned
        whose = row.destination, row.recipient
        begun = digests.get(whose)
        digests[whose] = min(planned.due, begun) if begun and begun > created else planned.due
        return replace(planned, due=digests[whose])


def as_found(row: _Row) -> dict[str, int]:
    """By which a change finds a delivery only while it waits for the moment that it waited for."""
    return {"delivery_id": row.id, "was_due": row.due_at}


def _change(row: _Row, planned: Plan) -> dict[str, Any] | None:
    """None where all stays as it is."""
    until = row.due_at if planned.due is None else to_ms(planned.due)
    if (until, planned.why, planned.in_digest) == (row.due_at, row.why, bool(row.in_digest)):
        return None
    return {**as_found(row), "until": until, "because": planned.why, "collected": planned.in_digest}
