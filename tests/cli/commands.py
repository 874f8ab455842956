"""The `relay` command as a person types it, in a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEADLINE = 60.0


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
    variables: Mapping[str, str], *arguments: object, prefix: tuple[str, ...] = ()
) -> Said:
    """Run it beside whatever else runs here. `prefix`: a command that runs it, such as setpriv."""
    return await asyncio.to_thread(_run, variables, arguments, prefix)


def _run(
    variables: Mapping[str, str], arguments: tuple[object, ...], prefix: tuple[str, ...]
) -> Said:
    done = subprocess.run(
        [*prefix, sys.executable, "-B", "-m", "relay", *map(str, arguments)],
        env={**os.environ, "TZ": "Europe/Prague", **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return Said(done.returncode, done.stdout, done.stderr)
