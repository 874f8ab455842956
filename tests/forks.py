"""A relay, or a command, in a process of its own that is there in a moment: forked from one that has imported everything."""

import asyncio
import multiprocessing
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import relay.cli
from relay import crash_points
from relay.cli import main
from relay.console import console_of
from relay.crash_points import CrashPoint
from relay.web.server import run_relay

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.forks",
        "alembic.command",
        "aiosmtplib",
        "relay.outbox.migrations.alembic_runner",
        "relay.outbox.postgres.postgres_opening",
        "relay.transports.registry",
        "relay.console.site",
        *(each.name for each in pkgutil.iter_modules(relay.cli.__path__, "relay.cli.")),
    ]
)
DEADLINE = 30.0


class ForkedRelay:
    """Started at once; dies by SIGKILL at the crash point that it is armed with."""

    def __init__(self, variables: Mapping[str, str], at: CrashPoint | None = None) -> None:
        self._heard, told = _FORKS.Pipe(duplex=False)
        self._process: ForkServerProcess = _FORKS.Process(
            target=_serve, args=(dict(variables), at, told)
        )
        self._process.start()
        told.close()

    async def url(self) -> str:
        """Once it takes hooks; empty where it has died before."""
        return await asyncio.to_thread(self._hear)

    def _hear(self) -> str:
        try:
            return str(self._heard.recv()) if self._heard.poll(DEADLINE) else ""
        except EOFError:
            return ""

    async def end(self) -> int | None:
        """The exit status once it has ended by itself, a signal as a negative number; None: it has not."""
        await asyncio.to_thread(self._process.join, DEADLINE)
        return self._process.exitcode

    async def stop(self) -> int | None:
        """SIGTERM; the exit status."""
        self._process.terminate()
        return await self.end()

    def close(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._heard.close()


def _serve(variables: Mapping[str, str], at: CrashPoint | None, told: Connection) -> None:
    """In the new process."""
    crash_points.armed = at
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)

    async def ready(url: str) -> None:
        told.send(url)
        told.close()

    asyncio.run(
        run_relay(variables, started=ready, pages=console_of, clock=lambda: datetime.now(UTC))
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, a signal as a negative number, and the bytes that it printed."""

    status: int
    out: bytes
    err: bytes


def run_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    given: bytes = b"",
    folder: Path | None = None,
    at: CrashPoint | None = None,
) -> Ended:
    """Run `relay` with these arguments and nothing else in its environment; it dies where it is armed with a crash point.

    `given`: its standard input; `folder`: where it runs, by default where this process does.
    """
    with tempfile.TemporaryDirectory() as scratch:
        streams = [Path(scratch, name) for name in ("in", "out", "err")]
        streams[0].write_bytes(given)
        process = _FORKS.Process(
            target=_command,
            args=(list(arguments), dict(environment), folder or Path.cwd(), streams, at),
        )
        process.start()
        process.join(DEADLINE)
        status = process.exitcode
        process.kill()
        process.join()
        process.close()
        assert status is not None, f"it did not end: relay {' '.join(arguments)}"
        return Ended(status, *(stream.read_bytes() for stream in streams[1:]))


def _command(
    arguments: list[str],
    environment: Mapping[str, str],
    folder: Path,
    streams: list[Path],
    at: CrashPoint | None,
) -> None:
    """In the new process."""
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    crash_points.armed = at
    main(arguments, prog_name="relay")
