"""Destinations that a person has paused: nothing is sent there until the pause ends or somebody resumes it.

A pause is stored in the row of the destination's gate. Gates open and close with what the relay learns of a server;
pauses stay.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import maybe_ms, maybe_time, storable, to_ms
from relay.outbox.schema import deliveries, gates, marks
from relay.outbox.statements import Insert, Query, Statements, bound, inserted, is_queued, text
from relay.outbox.troubles import SET_MARK
from relay.outbox.writer import Cursor

_is_paused = gates.c.paused_by != sa.literal_column("''")
is_closed = gates.c.closed_until > sa.literal_column("0")
"""Whether a row of `gates` is a gate that the relay has closed; else the row holds only a pause."""


BEGUN, REMINDED = "paused: ", "still paused: "
"""Prefixes of marks, followed by a destination's name: when its pause began, and when somebody was last reminded of it."""


class Pause(Struct, frozen=True, kw_only=True):
    """Who has paused a destination, until when and why."""

    by: str
    until: datetime | None
    """When the pause ends; None: when somebody resumes the destination."""
    because: str
    since: datetime | None = None
    """When the pause began; None where that was not stored."""

    def lasts(self, now: datetime) -> bool:
        """Whether the pause has not reached its end."""
        return self.until is None or now < self.until


@Query
def _pause(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    columns = ("paused_by", "paused_until", "because")
    row = inserted(insert, gates, "destination", "closed_until", "reason", *columns)
    return row.on_conflict_do_update(
        index_elements=["destination"], set_={name: row.excluded[name] for name in columns}
    )


@Query
def _remind(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    row = inserted(insert, marks, "name", "at")
    return row.on_conflict_do_update(
        index_elements=["name"],
        set_={"at": row.excluded.at},
        where=marks.c.at <= bound("before"),
    ).returning(marks.c.at)


_PAUSES = Query(
    sa.select(
        *(gates.c.destination, gates.c.paused_by, gates.c.paused_until, gates.c.because),
        marks.c.at,
    )
    .outerjoin(marks, marks.c.name == text("begun") + gates.c.destination)
    .where(_is_paused)
    .order_by(gates.c.destination)
)
_this = gates.c.destination == bound("of_destination")
_end = (
    sa.update(gates)
    .where(_this, _is_paused)
    .values(paused_by="", paused_until=sa.null(), because="")
)
_END = Query(_end)
_END_IF_OVER = Query(_end.where(gates.c.paused_until <= bound("ends_by")))
FORGET_GATE = Query(sa.delete(gates).where(_this, ~_is_paused))
_FORGET = Query(sa.delete(gates).where(_this, ~_is_paused, ~is_closed))
# Its age counts from now: what waited for a pause has not failed for that long.
_RELEASE = Query(
    sa.update(deliveries)
    .where(is_queued, deliveries.c.destination == bound("of_destination"))
    .values(released_at=bound("released"))
)


def is_paused(destination: sa.ColumnElement[str]) -> Any:  # noqa: ANN401 - dialects share no type
    """An SQL condition: whether a destination is paused. True until `end_pauses` has stored the end."""
    return sa.exists().where(gates.c.destination == destination, _is_paused)


def pauses(sql: Statements, cursor: Cursor) -> dict[str, Pause]:
    """The pause of every paused destination, by name. A pause that has reached its end may be among them."""
    return {
        name: Pause(by=by, until=maybe_time(until), because=because, since=maybe_time(since))
        for name, by, until, because, since in sql[_PAUSES].run(cursor, begun=BEGUN).fetchall()
    }


def paused_destinations(sql: Statements, cursor: Cursor, now: datetime) -> set[str]:
    """The names of the destinations that are paused at `now`."""
    return {name for name, pause in pauses(sql, cursor).items() if pause.lasts(now)}


def pause(sql: Statements, cursor: Cursor, destination: str, paused: Pause) -> None:
    """Pause a destination; replaces an earlier pause."""
    sql[_pause].run(
        cursor,
        destination=destination,
        closed_until=0,
        reason="",
        paused_by=storable(paused.by),
        paused_until=maybe_ms(paused.until),
        because=storable(paused.because),
    )
    reach(CrashPoint.PAUSED)
    if paused.since:
        sql[SET_MARK].run(cursor, name=BEGUN + destination, at=to_ms(paused.since))


def remind_of_pause(
    sql: Statements, cursor: Cursor, destination: str, *, since: datetime, now: datetime
) -> bool:
    """Store that somebody is reminded of the pause now; False where somebody was reminded since `since`.

    Of several relays only one gets True.
    """
    row = sql[_remind].run(cursor, name=REMINDED + destination, at=to_ms(now), before=to_ms(since))
    return row.fetchone() is not None


def end_pauses(
    sql: Statements, cursor: Cursor, destinations: Iterable[str], now: datetime, *, early: bool
) -> list[str]:
    """End the pauses that have reached their end, or with `early` all; returns the destinations that were paused.

    The retry schedule of deliveries that wait there begins now.
    """
    ended = []
    for name in destinations:
        done = (
            sql[_END].run(cursor, of_destination=name)
            if early
            else sql[_END_IF_OVER].run(cursor, of_destination=name, ends_by=to_ms(now))
        )
        if done.rowcount == 1:
            sql[_RELEASE].run(cursor, of_destination=name, released=to_ms(now))
            sql[_FORGET].run(cursor, of_destination=name)
            ended.append(name)
    reach(CrashPoint.PAUSE_ENDING)
    return ended
