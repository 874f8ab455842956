"""Alembic, driven from Python: no alembic.ini, no files outside the package."""

import logging
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def head() -> str:
    """The newest revision among the scripts."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def upgrade_to_head(connection: sqlite3.Connection) -> None:
    """Bring an open SQLite connection (autocommit mode) to the newest revision, all or nothing."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _config()
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
    # SQLAlchemy's recipe for DDL that can be rolled back: the driver begins nothing, we do.
    sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as wrapped:
        config.attributes["connection"] = wrapped
        command.upgrade(config, "head")
