"""A command's question to the outbox: a cursor inside a transaction, whichever the database is."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from relay.outbox import migrations
from relay.outbox.rows import StorageRefused
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.settling import Operations
from relay.outbox.statements import Insert, Statement, Statements


@dataclass(frozen=True)
class Session:
    """A cursor inside a transaction, and how to put a question to it."""

    cursor: Any
    """Any DB-API cursor."""
    dialect: Dialect
    insert: Insert
    """The dialect's own."""

    @cached_property
    def operations(self) -> Operations:
        """The outbox's own acts, on the same cursor."""
        return Operations(Statements(self.dialect, self.insert))

    def ask(self, construct: sa.sql.expression.ClauseElement, **parameters: Any) -> Any:  # noqa: ANN401
        """Run a statement of SQLAlchemy's; returns the cursor."""
        return Statement(construct, self.dialect).run(self.cursor, **parameters)


def refuse_other_schemas(name: object, version: str) -> None:
    """`version`: what the database says, empty where it says nothing. Raises StorageRefused."""
    if version == SCHEMA_VERSION:
        return
    if version in migrations.KNOWN:
        raise StorageRefused(
            f"{name} was last used by an older relay (schema {version}); start this one once, "
            "and it is brought up to date"
        )
    raise StorageRefused(
        f"{name} was written by a newer relay, or by another program (schema {version or 'unknown'}; "
        f"this relay knows {SCHEMA_VERSION})"
    )
