"""A PostgreSQL database, looked at and brought up to date before it is used."""

import logging
from typing import Any, LiteralString

import psycopg
from psycopg import errors

from relay.database import PostgresServer
from relay.outbox import migrations
from relay.outbox.postgres import Connection, PostgresStore, connect, conninfo
from relay.outbox.process import Process
from relay.outbox.schema import SCHEMA_VERSION
from relay.outbox.values import Collision, StorageRefused

OLDEST_SERVER = 10
"""The oldest that the driver knows."""
MOST_TRIES = 20
"""Of relays that start at once, one makes the tables and the others find them made."""

log = logging.getLogger(__name__)


def open_postgres(server: PostgresServer, process: Process | None = None) -> PostgresStore:
    """Connected as `process`, the schema brought up to date. Raises StorageRefused with a sentence that says what to do."""
    parameters = conninfo(server)
    try:
        connection = connect(parameters)
    except psycopg.Error as error:
        raise StorageRefused(f"{server} can't be opened: {_words(error)}{_hint(error)}") from None
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


def _hint(error: psycopg.Error) -> str:
    """What to do about it, where the server's words don't say."""
    said = str(error)
    if any(words in said for words in ("too many clients", "connection slots", "too many conn")):
        return "; each relay needs two connections: raise max_connections, or end other programs"
    if "read-write" in said or "is read-only" in said:
        return "; of the hosts named none takes writes"
    return ""


def _check(connection: Connection, server: PostgresServer) -> None:
    _check_version(connection.info.server_version, server)
    if _one(connection, "SHOW transaction_read_only") == "on":
        raise StorageRefused(
            f"{server} only reads: it is a standby, or default_transaction_read_only is on; name the server that takes "
            "writes, or all of them (postgresql://relay@a,b/relay): the one that can write is found"
        )
    encoding = _one(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise StorageRefused(
            f"{server} keeps text as {encoding}, which can't hold every chat; make the database by "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    commit = _one(connection, "SHOW synchronous_commit")
    if commit == "off":
        log.warning(
            "the database has synchronous_commit = off: a crash of its server loses chats that were answered "
            "202 in the last second; set it to on"
        )


def _check_version(version: int, server: PostgresServer) -> None:
    """`version`: as libpq numbers it, 150018 for 15.18 and 90624 for 9.6.24."""
    major, rest = divmod(version, 10000)
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
            # Another relay was there first; or something is in the way that stays there.
            if attempt == MOST_TRIES - 1 or _is_foreign(connection):
                raise StorageRefused(
                    f"{server} can't be given its tables: {error}; give the relay a database, or a schema by "
                    "?options=-csearch_path%3Drelay, of its own"
                ) from None


def _version(connection: Connection) -> str:
    """The revision that the database is at; empty where it has none."""
    try:
        return str(_one(connection, "SELECT version_num FROM alembic_version") or "")
    except errors.UndefinedTable:
        return ""


def _is_foreign(connection: Connection) -> bool:
    """Tables that are called like ours, and no version beside them."""
    return not _version(connection) and _one(connection, "SELECT to_regclass('chats')") is not None


def _one(connection: Connection, question: LiteralString) -> Any:  # noqa: ANN401 - a column of any type
    row = connection.execute(question).fetchone()
    return row and row[0]


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
