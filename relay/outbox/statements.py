"""The outbox's SQL statements: built with SQLAlchemy, compiled once per dialect, run on the driver's cursor.

Building and binding through SQLAlchemy at every hook costs more than the rest of the hook together (414 against 127
microseconds when it was measured).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from relay.outbox.delivery_types import DIGEST, ITSELF, State
from relay.outbox.schema import chats, deliveries

Row = Mapping[str, Any]
Construct = sa.sql.expression.ClauseElement

Insert = Callable[[sa.Table], Any]
"""A dialect's own INSERT, which has ON CONFLICT. The dialects' classes share no type."""


class Query:
    """A statement: a SQLAlchemy construct, or a function that makes one from the dialect's INSERT."""

    __slots__ = ("_source",)

    def __init__(self, source: Construct | Callable[[Insert], Any]) -> None:
        self._source = source

    def of(self, insert: Insert) -> Construct:
        """The SQLAlchemy construct of this query. `insert`: the dialect's insert function, for queries that depend on it."""
        return self._source if isinstance(self._source, Construct) else self._source(insert)


class Statement:
    """A compiled statement. `parameters` given at a call override those built into it."""

    def __init__(self, construct: sa.sql.expression.ClauseElement, dialect: Dialect) -> None:
        compiled = construct.compile(dialect=dialect)
        self.sql = str(compiled)
        self._built_in = {k: v for k, v in (compiled.params or {}).items() if v is not None}

    def run(self, cursor: Any, **parameters: Any) -> Any:  # noqa: ANN401 - any DB-API cursor
        """Execute the statement on a cursor, and return the cursor."""
        return cursor.execute(self.sql, {**self._built_in, **parameters})

    def run_many(self, cursor: Any, rows: Iterable[Row]) -> None:  # noqa: ANN401
        """Run the statement once for each row."""
        cursor.executemany(self.sql, [{**self._built_in, **row} for row in rows])


class Statements(dict[Query, Statement]):
    """The statements of one dialect by their queries, each compiled when it is first used."""

    def __init__(self, dialect: Dialect, insert: Insert = sqlite.insert) -> None:
        super().__init__()
        self.dialect = dialect
        self._insert = insert

    def __missing__(self, query: Query) -> Statement:
        statement = self[query] = Statement(query.of(self._insert), self.dialect)
        return statement


# -- parts of statements ----------------------------------------------------------------------------------

# Written out, not bound: a partial index is only used where the statement spells its condition.
_queued: sa.ColumnElement[str] = sa.literal_column("'queued'")
_sending: sa.ColumnElement[str] = sa.literal_column("'sending'")
is_queued = deliveries.c.state == _queued
is_sending = deliveries.c.state == _sending
is_scheduled = deliveries.c.state == sa.literal_column("'scheduled'")


def any_state(states: Sequence[sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """A condition that is true if one of `states` is. Each is searched by its own partial index.

    Written as an OR of them, SQLite uses no index, and reads all that was ever delivered.
    """
    if len(states) == 1:
        return states[0]
    each = (sa.select(deliveries.c.id).where(state) for state in states)
    return deliveries.c.id.in_(sa.union_all(*each).subquery().select())


LIVE = {State.QUEUED: is_queued, State.SENDING: is_sending, State.SCHEDULED: is_scheduled}
"""The conditions of the states that have a partial index."""


def is_in(states: Iterable[State]) -> sa.ColumnElement[bool]:
    """A condition that is true for deliveries in one of `states`, which uses the indexes of states that have one."""
    live = [LIVE[each] for each in states if each in LIVE]
    others = [deliveries.c.state == each.value for each in states if each not in LIVE]
    return sa.or_(*([any_state(live)] if live else ()), *others)


def is_any(column: sa.Column[int], numbers: Collection[int]) -> sa.ColumnElement[bool]:
    """A condition that is true if a column has one of `numbers`. They are written out, since many parameters take long to compile."""
    written = ", ".join(f"{number:d}" for number in numbers)
    return column.in_(sa.text(written)) if numbers else sa.false()


is_unsettled = any_state([*LIVE.values()])
"""Whether a delivery waits or is being sent."""
in_digest: sa.ColumnElement[Any] = sa.literal_column("deliveries.in_digest")
"""Spelled like the condition of the index: SQLAlchemy would write `= 1` for SQLite."""
queued_at: sa.ColumnElement[int] = sa.func.coalesce(
    deliveries.c.released_at, deliveries.c.created_at
)
"""Since when a delivery may be sent: since its release if it was scheduled, else since its creation."""

SERVER_TIME = Query(
    sa.select(sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger))
)
"""The server's clock in milliseconds since 1970."""


_is_digest = sa.literal_column(f"substr(chats.chat, 1, {len(DIGEST)}) = '{DIGEST}'", sa.Boolean)
chat_is_alert = sa.and_(chats.c.account == sa.literal_column(f"'{ITSELF}'"), ~_is_digest)
"""Whether a row of `chats` stands for an alert of the relay's own."""


def bound(name: str) -> sa.BindParameter[Any]:
    """A parameter of a statement.

    In an UPDATE it may not have the name of a column (so `words` for `detail`, `number` for `attempts`), as
    SQLAlchemy reserves those for the values that are set.
    """
    return sa.bindparam(name)


def ms(name: str) -> sa.BindParameter[int]:
    """A parameter that is a time in milliseconds, or None."""
    return sa.bindparam(name, type_=sa.BigInteger)


def text(name: str) -> sa.BindParameter[str]:
    """A parameter that is text, where the database can't infer it."""
    return sa.bindparam(name, type_=sa.Text)


def inserted(insert: Insert, table: sa.Table, *columns: str) -> Any:  # noqa: ANN401
    """An INSERT into `columns` of a table, with a parameter of the same name for each."""
    return insert(table).values({column: bound(column) for column in columns})
