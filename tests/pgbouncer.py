"""A connection pool in front of a PostgreSQL server: the real PgBouncer, on loopback, ended by its own number."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import DEADLINE, as_nobody
from tests.tcp import free_port

USER = "tester"


def need_pgbouncer() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("no PgBouncer: install pgbouncer (Debian)")
    pytest.skip("no PgBouncer: install pgbouncer (Debian)")


@contextlib.contextmanager
def pgbouncer(server_port: int, mode: str) -> Iterator[int]:
    """The port of a pool in that mode: session, transaction or statement."""
    program, port = need_pgbouncer(), free_port()
    with tempfile.TemporaryDirectory(prefix="relay-pool-") as name:
        settings = Path(name, "pgbouncer.ini")
        settings.write_text(
            f"""
[databases]
* = host=127.0.0.1 port={server_port} user={USER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
""",
            encoding="ascii",
        )
        Path(name).chmod(0o755)
        with subprocess.Popen(
            [program, "-q", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_nobody(),
        ) as pool:
            try:
                _wait_for(port)
                yield port
            finally:
                pool.kill()


def _wait_for(port: int) -> None:
    until = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
        else:
            return
