"""The `relay` command as a person types it, in a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.crash_points import CrashPoint
from tests.forks import run_command
from tests.servers import DEADLINE


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def relay(
    variables: Mapping[str, str],
    *arguments: object,
    prefix: tuple[str, ...] = (),
    at: CrashPoint | None = None,
) -> Said:
    """Run it beside whatever else runs here.

    `prefix`: a command that runs it, such as setpriv; `at`: the crash point where it dies, its status the signal, negative.
    """
    environment = {**os.environ, "TZ": "Europe/Prague", **variables}
    words = [str(each) for each in arguments]
    if prefix:
        return await asyncio.to_thread(_run, prefix, words, environment)
    ended = await asyncio.to_thread(run_command, words, environment, at=at)
    return Said(ended.status, ended.out.decode(), ended.err.decode())


def _run(prefix: tuple[str, ...], arguments: list[str], environment: Mapping[str, str]) -> Said:
    done = subprocess.run(
        [*prefix, sys.executable, "-B", "-m", "relay", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return Said(done.returncode, done.stdout, done.stderr)
