"""A relay in a process of its own that is there in a moment: forked from one that has imported everything."""

import asyncio
import multiprocessing
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from relay import crash_points
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

    asyncio.run(run_relay(variables, started=ready, clock=lambda: datetime.now(UTC)))
