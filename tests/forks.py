"""A relay, or a command, in a process of its own that is there in a moment: forked from one that has imported everything."""

import asyncio
import contextlib
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader, FileIO, TextIOWrapper
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

import relay.cli
from relay import crash_points
from relay.cli import main
from relay.console import console_of
from relay.crash_points import CrashPoint
from relay.web.server import run_relay
from tests.servers import DEADLINE

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


class _Fork:
    """A process. Threads may start, ask and end several at once."""

    # A status is read once, from a pipe, and each start asks all processes for theirs: of two that ask at once, one hears 255.
    _asking = threading.Lock()

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self._process = _FORKS.Process(target=target, args=arguments)
        with self._asking:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def status(self, *, after: float | None = 0) -> int | None:
        """How it ended, a signal as a negative number; None: it has not `after` so many seconds."""
        wait([self._process.sentinel], after)
        with self._asking:
            return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.status() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def close(self) -> None:
        """Whatever it does."""
        with self._asking:
            self._process.kill()
            self._process.join()
            self._process.close()


class ForkedRelay:
    """Started at once; dies by SIGKILL at the crash point that it is armed with."""

    def __init__(self, variables: Mapping[str, str], at: CrashPoint | None = None) -> None:
        self._heard, told = _FORKS.Pipe(duplex=False)
        self._process = _Fork(_serve, dict(variables), at, told)
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
        return await asyncio.to_thread(self._process.status, after=DEADLINE)

    async def stop(self) -> int | None:
        """SIGTERM; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return await self.end()

    def close(self) -> None:
        """Whatever it does."""
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


class ForkedServe:
    """`relay serve`, with what tests use of `subprocess.Popen`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """`log`: where its stderr is appended."""
        heard, told = _FORKS.Pipe(duplex=False)
        self._process = _Fork(_serve_command, dict(environment), log, told)
        told.close()
        self.stdout: IO[str] | None = os.fdopen(os.dup(heard.fileno()), encoding="utf-8")
        heard.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.status()

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if (status := self._process.status(after=timeout)) is None:
            raise subprocess.TimeoutExpired("relay serve", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)


def _serve_command(environment: Mapping[str, str], log: Path, told: Connection) -> None:
    """In the new process."""
    os.dup2(told.fileno(), 1)
    told.close()
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2)
    )
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    main(["serve"], prog_name="relay")


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
        process = _Fork(
            _command, list(arguments), dict(environment), folder or Path.cwd(), streams, at
        )
        status = process.status(after=DEADLINE)
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
    read = FileIO(0, closefd=False)
    read.name = "<stdin>"  # as Python calls it, which a message may show
    sys.stdin = TextIOWrapper(BufferedReader(read), encoding="utf-8")
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    crash_points.armed = at
    main(arguments, prog_name="relay")
