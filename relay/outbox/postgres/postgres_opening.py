"""Checks a PostgreSQL database and brings its schema up to date before it is used."""

import logging
from typing import Any, LiteralString

import psycopg
from psycopg import errors

from relay.clock import pause
from relay.outbox import migrations
from relay.outbox.delivery_types import Collision, StorageRefused
from relay.outbox.postgres.postgres_store import Connection, PostgresStore, connect, conninfo
from relay.outbox.process_identity import Process
from relay.outbox.schema import SCHEMA_VERSION, metadata
from relay.settings.database import PostgresServer, connection_problem

OLDEST_SERVER = 10
"""The oldest major version of PostgreSQL that the driver supports."""
FIT = ("PostgreSQL", "EnterpriseDB", "CockroachDB")
"""Beginnings of `version()` of databases that can be used. YugabyteDB, Aurora and AlloyDB say PostgreSQL."""
UNFIT = (
    *("Redshift", "openGauss", "GaussDB", "Greenplum", "HashData", "Materialize", "RisingWave"),
    *("QuestDB", "CrateDB", "Vertica", "KingbaseES", "Netezza", "Hologres"),
)
"""Names in `version()` of databases that speak the protocol but lack unique keys, row locks or transactions."""
MOST_TRIES = 20
"""Tries to create the tables: of relays that start at once one creates them, and the others find them."""

BETWEEN_TRIES = 0.1
"""Seconds between two tries."""

log = logging.getLogger(__name__)


def open_postgres(server: PostgresServer, process: Process | None = None) -> PostgresStore:
    """Connect to a server as `process`, and bring the schema up to date.

    Raises StorageRefused with a sentence that says what to do.
    """
    parameters = conninfo(server)
    try:
        connection = connect(parameters)
    except psycopg.Error as error:
        raise StorageRefused(f"{server} can't be opened: {connection_problem(error)}") from None
    try:
        _check(connection, server)
        _migrate(connection, parameters, server)
        return PostgresStore(server, connection, process=process)
    except psycopg.Error as error:
        connection.close()
        raise StorageRefused(f"{server} can't be used: {_words(error)}") from None
    except BaseException:
        connection.close()
        raise


def _check(connection: Connection, server: PostgresServer) -> None:
    _check_version(connection, server)
    if _first_value(connection, "SHOW transaction_read_only") == "on":
        raise StorageRefused(
            f"{server} only reads: it is a standby, or default_transaction_read_only is on; name the server that takes "
            "writes, or all of them (postgresql://relay@a,b/relay): the one that can write is found"
        )
    _check_transactions(connection, server)
    encoding = _first_value(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise StorageRefused(
            f"{server} keeps text as {encoding}, which can't hold every chat; make the database by "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    commit = _first_value(connection, "SHOW synchronous_commit")
    if commit == "off":
        log.warning(
            "the database has synchronous_commit = off: a crash of its server loses chats that were answered "
            "202 in the last second; set it to on"
        )


def _check_transactions(connection: Connection, server: PostgresServer) -> None:
    """Raise StorageRefused behind a pool that takes single statements only, such as PgBouncer in statement mode."""
    try:
        with connection.transaction():
            connection.execute("SELECT 1")
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise StorageRefused(
            f"{server} takes no transactions ({_words(error)}): a connection pool in statement mode can't be used; set "
            "its pool_mode to session or transaction, or name the server itself"
        ) from None


def _check_version(connection: Connection, server: PostgresServer) -> None:
    """Raise StorageRefused for a server that is neither PostgreSQL 10 or newer nor compatible with it."""
    version = " ".join(str(_first_value(connection, "SELECT version()")).split())
    other = next((name for name in UNFIT if name.lower() in version.lower()), "")
    if not other and not version.startswith(FIT):
        other = f"no PostgreSQL ({version[:60]})"
    if other:
        raise StorageRefused(
            f"{server} is {other}, which the relay can't use: it needs PostgreSQL {OLDEST_SERVER} or newer, or a database "
            "that docs/postgresql.md names"
        )
    # As libpq numbers it, 150018 for 15.18 and 90624 for 9.6.24.
    major, rest = divmod(connection.info.server_version, 10000)
    if 0 < major < OLDEST_SERVER:
        raise StorageRefused(
            f"{server} is PostgreSQL {major}.{rest // 100}, which is too old; the relay needs {OLDEST_SERVER} or newer"
        )


def _migrate(connection: Connection, parameters: str, server: PostgresServer) -> None:
    for attempt in range(MOST_TRIES):
        version = _version(connection)
        if version == SCHEMA_VERSION:
            return
        if version and version not in migrations.KNOWN:
            raise StorageRefused(
                f"{server} was written by a newer relay, or by another program (schema {version}; this relay "
                f"knows {SCHEMA_VERSION}); start that version, or give the relay a database of its own"
            )
        try:
            migrations.upgrade_postgres(lambda: psycopg.connect(parameters))
        except Collision as error:
            pause(BETWEEN_TRIES)
            # Another relay was faster, or the database holds something else.
            if attempt == MOST_TRIES - 1 or _is_foreign(connection):
                raise StorageRefused(_not_migrated(connection, server, str(error))) from None


def _not_migrated(connection: Connection, server: PostgresServer, why: str) -> str:
    own = "give the relay a database, or a schema by ?options=-csearch_path%3Drelay, of its own"
    there = [name for name in metadata.tables if _has_table(connection, name)]
    if not there:
        return f"{server} can't be given its tables: {why}; {own}"
    return (
        f"{server} can't be given its tables: {why}. It holds {len(there)} of {len(metadata.tables)} "
        f"({', '.join(sorted(there)[:3])}{', ...' if len(there) > 3 else ''}), and their version is "
        f"{_version(connection) or 'missing'}: restore a backup of the whole database, or {own}"
    )


def _has_table(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,)


def _version(connection: Connection) -> str:
    """The revision of the database's schema; empty where it has none."""
    try:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except errors.UndefinedTable:
        return ""
    except errors.UndefinedColumn:
        return "unknown"
    return ", ".join(sorted(str(version) for (version,) in rows if version))


def _is_foreign(connection: Connection) -> bool:
    """Whether the database has tables with the relay's names, but no version of its schema."""
    return not _version(connection) and any(_has_table(connection, t) for t in metadata.tables)


def _first_value(connection: Connection, question: LiteralString) -> Any:  # noqa: ANN401 - a column of any type
    row = connection.execute(question).fetchone()
    return row and row[0]


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
