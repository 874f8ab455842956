"""Runs Alembic from Python, without an alembic.ini or files outside the package."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from relay.outbox.delivery_types import Collision

FOLDER = Path(__file__).parent


def _config(connection: sa.Connection) -> Config:
    """Alembic's settings, with which it migrates over this connection and logs warnings only."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def upgrade_to_head(connection: sqlite3.Connection) -> None:
    """Bring an open SQLite connection (in autocommit mode) to the newest revision, all or nothing. Raises sqlite3.Error."""
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
    # SQLAlchemy's recipe for DDL that can be rolled back: this begins transactions, not the driver.
    sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    # A table is made anew where SQLite can't change it. To drop the old one would delete what refers to it, and only
    # outside of a transaction can that be switched off.
    (are_followed,) = connection.execute("PRAGMA foreign_keys").fetchone()
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        with engine.connect() as wrapped:
            command.upgrade(_config(wrapped), "head")
    except sa.exc.DBAPIError as error:
        raise error.orig or error from None
    finally:
        connection.execute(f"PRAGMA foreign_keys = {are_followed}")


def upgrade_server_to_head(connect: Callable[[], Any]) -> None:
    """Bring a PostgreSQL database to the newest revision.

    Of several relays that do so at once one succeeds, and the others raise Collision. Uses no advisory lock, which
    not every database with this protocol has. Relays that find tables lock the row of the version; those that find
    none collide on the names of the tables, which are unique.
    """
    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.NullPool)
    engine.dialect._get_server_version_info = _server_version  # type: ignore[method-assign]  # noqa: SLF001 - no other way in
    try:
        with engine.begin() as wrapped:
            if sa.inspect(wrapped).has_table("alembic_version"):
                wrapped.exec_driver_sql("SELECT version_num FROM alembic_version FOR UPDATE")
            command.upgrade(_config(wrapped), "head")
    except CommandError as error:
        raise Collision(str(error)) from None
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _OURS_TO_RAISE and error.orig is not None:
            raise error.orig from None
        raise Collision(" ".join(str(error.orig).split())) from None
    finally:
        engine.dispose()


def _server_version(connection: sa.Connection) -> tuple[int, int]:
    """The server's version as the driver reports it. SQLAlchemy parses a text that some databases word differently."""
    info = connection.connection.dbapi_connection.info  # type: ignore[union-attr]
    major, rest = divmod(info.server_version, 10000)
    return major, rest


_OURS_TO_RAISE = {"42501", None}
"""SQLSTATEs of errors that another try would not change: no right to create tables, or (None) no connection."""
