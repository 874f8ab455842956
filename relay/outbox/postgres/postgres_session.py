"""A command's session on a PostgreSQL server, beside the relays that use it."""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect

from relay.outbox.postgres.postgres_store import Connection, connect, conninfo
from relay.outbox.rows import StorageUnavailable
from relay.outbox.session import Session, refuse_other_schemas
from relay.settings.database import PostgresServer


@contextlib.contextmanager
def on_server(server: PostgresServer, begin: str) -> Iterator[Session]:
    """One transaction, begun by those words. Raises StorageRefused and StorageUnavailable."""
    parameters = conninfo(server)
    connection: Connection | None = None
    try:
        connection = connect(parameters)
        refuse_other_schemas(server, _version(connection))
        cursor = connection.cursor()
        cursor.execute(begin)
        dialect = psycopg_dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        yield Session(cursor, dialect, insert)
        cursor.execute("COMMIT")
    except psycopg.Error as error:
        words = " ".join(str(error).split())
        raise StorageUnavailable(f"{server} can't be used right now: {words}") from None
    finally:
        if connection is not None:
            connection.close()  # what was not committed is undone


def _version(connection: Connection) -> str:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except errors.UndefinedTable:
        return ""
    return str(row[0]) if row else ""
