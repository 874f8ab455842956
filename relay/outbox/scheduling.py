"""Releases scheduled deliveries when they are due, and plans them again when the rules change.

They are released within limits or into a digest. The methods run in the caller's transaction. `now` is by the
database's clock, so that no relay acts before the time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import Waits, from_ms, maybe_time, to_ms
from relay.outbox.limit_counts import begins_burst, forget_windows, once_ends, over_limit
from relay.outbox.mutes import find_mute
from relay.outbox.schema import deliveries
from relay.outbox.settling import this_delivery
from relay.outbox.statements import Query, Statements, bound, in_digest, is_scheduled, ms
from relay.outbox.unsent_counts import LAST_HOOK
from relay.outbox.writer import Cursor
from relay.timing.plan import HOURS, LIMIT, MUTED, ONCE_PER_VISITOR, Plan, replan

AT_ONCE = 200
"""Deliveries released or planned again per transaction, for which a hook may have to wait."""
BEHIND = timedelta(minutes=1)
"""How far the clock may be behind the newest hook; further back it is, or was, wrong."""


class Done(Struct, frozen=True):
    """The result of one step of work: the deliveries that it has queued, and whether there is more to do."""

    queued: tuple[str, ...] = ()
    """The destination of each newly queued delivery."""
    more: bool = False
    """Whether there is more to do at once."""


Act = Callable[[Cursor, datetime], Done]
"""A step of scheduled work: looks for what is due at the given time, and does some of it."""

DigestTimes = dict[tuple[str, str], datetime]
"""The due time of each open digest, by destination and recipient."""


class _Row(Struct, frozen=True):
    """A scheduled delivery, as read from its row."""

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
        """Whether it is an alert or a digest, about no single chat: hours and limits do not apply."""
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
    """Releases and plans deliveries, with the statements of one database dialect."""

    sql: Statements
    waits: Waits
    _due: dict[Collection[str], Query] = field(default_factory=dict)
    """The statement for what is due at the destinations in the rules; deliveries to other destinations stay."""

    def next_due(self, cursor: Cursor) -> datetime | None:
        """When the first scheduled delivery is due; None where none is scheduled."""
        row = self.sql[_FIRST_DUE].run(cursor).fetchone()
        self.waits.some = row is not None or any(each.waits for each in self.waits.timings.values())
        return maybe_time(row and row[0])

    def is_behind(self, cursor: Cursor, now: datetime) -> bool:
        """Whether a hook came in later than `now`, so that one of the two clocks was wrong."""
        row = self.sql[LAST_HOOK].run(cursor).fetchone()
        return row is not None and now < from_ms(row[0]) - BEHIND

    # -- release -----------------------------------------------------------------------------------------

    def release(self, cursor: Cursor, now: datetime) -> Done:
        """Queue deliveries that are due by themselves, not in a digest: at most 200, the earliest first.

        A delivery for which a limit has no room waits for the digest at the end of the limit's window.
        """
        names = self.waits.timings.keys()
        if not names:
            return Done()
        due = self.sql[self._find_due(names)].run(cursor, now=to_ms(now)).fetchall()
        rows = [_Row(*row) for row in due]
        missed = self._postpone(cursor, [row for row in rows if not row.is_own], now)
        in_time = [row for row in rows if row.id not in missed]
        of_chats = [row for row in in_time if not row.is_own]
        until = over_limit(self.sql, cursor, of_chats, self.waits.timings, now)
        released = [row for row in in_time if row.id not in until]
        self._release(cursor, released, now)
        self._collect(cursor, in_time, until)
        if rows:
            reach(CrashPoint.RELEASING)
        return Done(tuple(row.destination for row in released), more=len(rows) == AT_ONCE)

    def _postpone(self, cursor: Cursor, rows: Iterable[_Row], now: datetime) -> set[int]:
        """Let deliveries that are due too late for the hours wait for the next opening; returns their numbers."""
        changes, missed = [], set[int]()
        for row in rows:
            opening = self.waits.timings[row.destination].postponed_until(from_ms(row.due_at), now)
            if opening is not None:
                missed.add(row.id)
                why, until = row.why or HOURS, to_ms(opening)
                changes.append({**row_key(row), "until": until, "because": why, "collected": False})
        self.sql[_CHANGE].run_many(cursor, changes)
        return missed

    def _collect(self, cursor: Cursor, rows: Iterable[_Row], until: Mapping[int, datetime]) -> None:
        """Let deliveries over a limit wait for their digest. `until`: when it is due, by the delivery's number."""
        changes = [
            {**row_key(row), "until": to_ms(until[row.id]), "because": LIMIT, "collected": True}
            for row in rows
            if row.id in until
        ]
        self.sql[_CHANGE].run_many(cursor, changes)

    def _find_due(self, names: Collection[str]) -> Query:
        """The statement that finds what is due at these destinations, compiled again when they change."""
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
        """Queue these deliveries. Of those released by an opening only the first of each destination mentions people."""
        rows = list(rows)
        openings = dict[str, datetime]()
        for row in rows:
            if row.why == HOURS:
                openings.setdefault(row.destination, from_ms(row.due_at))
        first = {
            name
            for name in sorted(openings)  # sorted, so that relays can't deadlock
            if begins_burst(self.sql, cursor, name, openings[name], now)
        }
        changes = []
        for row in rows:
            quiet = row.why == HOURS and row.destination not in first
            if row.why == HOURS:
                first.discard(row.destination)
            changes.append({**row_key(row), "now": to_ms(now), "is_quiet": quiet})
        self.sql[RELEASE].run_many(cursor, changes)

    def forget_windows(self, cursor: Cursor, now: datetime) -> None:
        """Delete the windows of limits that are no longer needed."""
        forget_windows(self.sql, cursor, self.waits.timings, now)

    # -- plan anew ---------------------------------------------------------------------------------------

    def scheduled(self, cursor: Cursor, of: Collection[str] | None = None) -> list[int]:
        """The numbers of scheduled deliveries, oldest first: at the destinations `of`, or at all those in the rules."""
        names = self.waits.timings.keys() if of is None else of & self.waits.timings.keys()
        rows = self.sql[_SCHEDULED].run(cursor).fetchall()
        return sorted(number for number, destination in rows if destination in names)

    def replan(
        self, cursor: Cursor, now: datetime, *, numbers: Iterable[int], digests: DigestTimes
    ) -> Done:
        """Plan these deliveries again by the timings in force: they get another time, or are queued.

        `digests`: the due times of the digests that these deliveries have begun so far; updated.
        """
        released, changed = [], []
        for number in numbers:
            columns = self.sql[_FIND].run(cursor, delivery_id=number).fetchone()
            row = columns and _Row(*columns)
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
        """The end of the mute or `once_per` that holds a delivery back; None where nothing does."""
        if row.why == ONCE_PER_VISITOR:
            ends = once_ends(
                self.sql,
                cursor,
                rule=row.rule,
                destination=row.destination,
                recipient=row.recipient,
                visitor=row.visitor,
            )
            # A time that ends after the digest is due began later; the digest's time stays.
            return ends if ends and to_ms(ends) <= row.due_at else None
        if row.is_own or not row.why.startswith(MUTED):
            return None
        kept = find_mute(self.sql, cursor, int(row.why.removeprefix(MUTED)))
        return None if kept is None else kept.ended_at or kept.mute.until

    def _planned(self, cursor: Cursor, row: _Row, now: datetime, digests: DigestTimes) -> Plan:
        timing, due = self.waits.timings[row.destination], from_ms(row.due_at)
        if row.in_digest and due <= now:  # its digest is due, or was while no relay ran
            opening = timing.opening(now)
            due = opening if opening > now else due
            return Plan(state="scheduled", due=due, why=row.why, in_digest=True)
        # A time in the future was stored by a clock that was wrong.
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
        pair = row.destination, row.recipient
        begun = digests.get(pair)
        digests[pair] = min(planned.due, begun) if begun and begun > created else planned.due
        return replace(planned, due=digests[pair])


def row_key(row: _Row) -> dict[str, int]:
    """Parameters with which a change finds a delivery only if its due time is unchanged."""
    return {"delivery_id": row.id, "was_due": row.due_at}


def _change(row: _Row, planned: Plan) -> dict[str, Any] | None:
    """The parameters of a changed plan; None where nothing changes."""
    until = row.due_at if planned.due is None else to_ms(planned.due)
    if (until, planned.why, planned.in_digest) == (row.due_at, row.why, bool(row.in_digest)):
        return None
    return {**row_key(row), "until": until, "because": planned.why, "collected": planned.in_digest}
