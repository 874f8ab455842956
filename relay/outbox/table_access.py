"""Checks, without changing anything, whether every table exists and may be used.

A missing table, column or right stops only what needs it: hooks may be stored while nothing is sent.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import sqlalchemy as sa

from relay.outbox.schema import metadata
from relay.outbox.writer import Cursor

REFUSED_FOR = 10.0
"""Seconds for which an operation must have failed until it is reported."""
_MISSING_TABLE, _MISSING_COLUMN, _NO_RIGHT = "42P01", "42703", "42501"
"""SQLSTATEs of PostgreSQL and databases that speak its protocol."""


def lacks(cursor: Cursor, *, is_shared: bool) -> str:
    """Return which table or permission is missing, in a few words without names of servers or users; empty if none is.

    `is_shared`: the database is a server, not a file.
    """
    dialect = "postgresql" if is_shared else "sqlite"
    # A prepared statement may hold one question only.
    if is_shared and not _fails(cursor, _at_once(dialect), prepare=False):
        return _lacks_numbers(cursor)
    for table, act, question in _questions(dialect):
        if error := _fails(cursor, question):
            words = _words(table, act, error)
            if not words:
                raise error
            return words
    return ""


def _fails(
    cursor: Cursor, question: str, rows: list[Any] | None = None, **options: bool
) -> Exception | None:
    """The error with which the database answers a question; None where it succeeds. `rows` gets the answer."""
    cursor.execute("SAVEPOINT asked")
    try:
        cursor.execute(question, **options)
        if rows is not None:
            rows += cursor.fetchall()
    except Exception as error:  # noqa: BLE001 - the kinds of two drivers
        cursor.execute("ROLLBACK TO SAVEPOINT asked")
        return error
    finally:
        cursor.execute("RELEASE SAVEPOINT asked")
    return None


def _words(table: str, act: str, error: Exception) -> str:
    """The missing rights or tables, in words; empty where the database does not work at all."""
    text, code = str(error), getattr(error, "sqlstate", None)
    if code == _MISSING_TABLE or (code is None and "no such table" in text):
        return f"the table {table} is missing"
    if code == _MISSING_COLUMN or (code is None and "column" in text):
        return f"a column of the table {table} is missing"
    return f"the relay may not {act} the table {table}" if code == _NO_RIGHT else ""


@cache
def _questions(dialect: str) -> tuple[tuple[str, str, str], ...]:
    """Harmless statements, each as the table's name, what it does with the table, and its SQL, which affects no row."""
    speaks = sa.dialects.registry.load(dialect)()
    return tuple(
        (table.name, act, str(construct.compile(dialect=speaks)))
        for table in metadata.sorted_tables
        for act, construct in _constructs(table)
    )


def _constructs(table: sa.Table) -> Iterator[tuple[str, sa.sql.expression.ClauseElement]]:
    own, key = list(table.c), next(iter(table.primary_key))
    nothing = sa.select(*own).where(sa.false())
    yield "read", nothing
    yield "add to", sa.insert(table).from_select(own, nothing, include_defaults=False)
    yield "change", sa.update(table).values({key: key}).where(sa.false())
    yield "delete from", sa.delete(table).where(sa.false())


@cache
def _at_once(dialect: str) -> str:
    """All questions as one text, for a single round trip."""
    return "; ".join(question for _, _, question in _questions(dialect))


_NUMBERS = """
SELECT attrelid::regclass::text, atthasdef OR attidentity <> '', has_sequence_privilege(
    pg_get_serial_sequence(attrelid::regclass::text, 'id'), 'USAGE, UPDATE'
) FROM pg_attribute WHERE attname = 'id' AND attrelid IN ({tables})
"""


def _lacks_numbers(cursor: Cursor) -> str:
    """Return which sequence that numbers rows is missing; empty if none is, and for a database without sequences."""
    tables = ", ".join(f"'{t.name}'::regclass" for t in metadata.sorted_tables if "id" in t.c)
    rows: list[tuple[str, bool, bool | None]] = []
    _fails(cursor, _NUMBERS.format(tables=tables), rows)
    for table, is_numbered, may_be_used in rows:
        if not is_numbered:
            return f"the sequence that numbers the table {table} is missing"
        if may_be_used is False:
            return f"the relay may not use the sequence that numbers the table {table}"
    return ""


class Refusals:
    """Operations that keep failing for a reason that no table shows, such as a trigger."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    @contextlib.contextmanager
    def noting(self, act: str) -> Iterator[None]:
        """A context for one try of `act`, a participle such as `claimed`; notes whether it fails."""
        try:
            yield
        except Exception:
            self._since.setdefault(act, self._monotonic())
            raise
        self._since.pop(act, None)

    def words(self) -> str:
        """The operation that has failed for REFUSED_FOR seconds or longer, as a sentence; empty for none."""
        long_ago = self._monotonic() - REFUSED_FOR
        acts = (act for act, since in self._since.items() if since <= long_ago)
        return next((f"no delivery can be {act}" for act in acts), "")
