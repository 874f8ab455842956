"""Changes of the schema, by Alembic, which is imported only when there is something to change."""

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from relay.crash_points import CrashPoint, reach
from relay.outbox.schema import SCHEMA_VERSION, metadata

KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every released revision, oldest first."""


def version(connection: sqlite3.Connection) -> str:
    """The revision of an SQLite database; empty where it has none."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    return str(row[0]) if row else ""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of the newest revision in an empty SQLite database, in one transaction.

    They are those that `upgrade` makes, one revision after the other, in a third of a second.
    """
    dialect = sqlite.dialect()
    connection.execute("BEGIN IMMEDIATE")
    for table in metadata.sorted_tables:
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        makings: list[DDLElement] = [CreateTable(table), *map(CreateIndex, indexes)]
        for making in makings:
            connection.execute(str(making.compile(dialect=dialect)))
    connection.execute(
        "CREATE TABLE alembic_version "
        "(version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
    )
    connection.execute("INSERT INTO alembic_version VALUES (?)", (SCHEMA_VERSION,))
    reach(CrashPoint.MIGRATED)
    connection.execute("COMMIT")


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring an SQLite database to the newest revision, in one transaction: after a kill it is at the old one."""
    # Alembic takes a third of a second to import, and an ordinary start does not need it.
    from relay.outbox.migrations.alembic_runner import upgrade_to_head  # noqa: PLC0415

    upgrade_to_head(connection)


def upgrade_postgres(connect: Callable[[], Any]) -> None:
    """Bring a PostgreSQL database to the newest revision, over a connection of its own that `connect` opens.

    Raises Collision where that can't be done, or another relay has done it.
    """
    # As above.
    from relay.outbox.migrations.alembic_runner import upgrade_server_to_head  # noqa: PLC0415

    upgrade_server_to_head(connect)
