"""The audit log: who did what in the console, by the API and by commands. Visitors' words are never stored in it."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.delivery_types import from_ms, storable, to_ms
from relay.outbox.schema import acts
from relay.outbox.statements import Insert, Query, Statements, bound, inserted
from relay.outbox.writer import Cursor


class Act(Struct, frozen=True, kw_only=True):
    """An entry for the audit log: something that a person or program did."""

    by: str
    """The name of a user or token."""
    address: str
    act: str
    subject: str
    detail: str = ""
    via: str = "console"
    key: str | None = None
    """Makes the act unique: of two acts with one key the second is not done. None: no key."""


class KeptAct(Struct, frozen=True, kw_only=True):
    """A stored entry of the audit log."""

    id: int
    at: datetime
    by: str
    via: str
    address: str
    act: str
    subject: str
    detail: str


_ACTS = Query(
    sa.select(
        *(acts.c[name] for name in ("id", "at", "by", "via", "address", "act", "subject", "detail"))
    )
    .where(acts.c.id < bound("before"))
    .order_by(acts.c.id.desc())
    .limit(bound("most"))
)


@Query
def _add_act(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    columns = ("at", "by", "via", "address", "act", "subject", "detail", "key")
    return inserted(insert, acts, *columns).on_conflict_do_nothing()


def add_act(sql: Statements, cursor: Cursor, act: Act, now: datetime) -> bool:
    """Add the act of this transaction to the log; False where an act with its key is stored already."""
    row = {each: storable(getattr(act, each)) for each in ("by", "via", "address", "act")}
    done = sql[_add_act].run(
        cursor,
        at=to_ms(now),
        subject=storable(act.subject),
        detail=storable(act.detail),
        key=act.key,
        **row,
    )
    return bool(done.rowcount)


def list_acts(sql: Statements, cursor: Cursor, *, before: int, most: int) -> list[KeptAct]:
    """At most `most` acts with a number below `before`, newest first."""
    rows = sql[_ACTS].run(cursor, before=before, most=most).fetchall()
    names = KeptAct.__struct_fields__
    return [
        KeptAct(**{**dict(zip(names, row, strict=True)), "at": from_ms(row[1])}) for row in rows
    ]
