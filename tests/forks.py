"""A relay, or a command, in a process of its own that is there in a moment: forked from one that has imported everything."""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from relay import crash_points
from relay.cli import main
from relay.console import console_of
from relay.crash_points import CrashPoint
from relay.web.server import run_relay
from tests.cli.commands import Said

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.forks",
        "alembic.command",
        "aiosmtplib",
        "relay.outbox.migrations.alembic_runner",
        "relay.outbox.postgres.postgres_opening",
        "relay.transports.registry",
        "relay.cli.mute",
        "relay.cli.pause",
        "relay.cli.send_again",
        "relay.cli.visitors",
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


async def forked_command(
    variables: Mapping[str, str], *arguments: object, at: CrashPoint | None = None
) -> Said:
    """Run the `relay` command; where it is armed with a crash point and dies there, its status is the signal, negative."""
    return await asyncio.to_thread(_run, variables, [str(each) for each in arguments], at)


def _run(variables: Mapping[str, str], arguments: list[str], at: CrashPoint | None) -> Said:
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder) / name for name in ("out", "err"))
        process = _FORKS.Process(
            target=_command, args=(dict(variables), arguments, at, str(out), str(err))
        )
        process.start()
        process.join(DEADLINE)
        status = process.exitcode
        process.kill()
        process.join()
        process.close()
        assert status is not None, f"it did not end: relay {' '.join(arguments)}"
        return Said(status, out.read_text("utf-8"), err.read_text("utf-8"))


def _command(
    variables: Mapping[str, str], arguments: list[str], at: CrashPoint | None, out: str, err: str
) -> None:
    """In the new process."""
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2)
    )
    os.environ.update({"TZ": "Europe/Prague", **variables})
    time.tzset()
    crash_points.armed = at
    main(arguments, prog_name="relay")
