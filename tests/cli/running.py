"""The `relay` command as a shell runs it."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers import DEADLINE


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def relay(*arguments: str, given: bytes = b"", variables: Mapping[str, str] | None = None) -> Ran:
    """Run it with nothing in its environment but `variables`, and `given` on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "relay", *arguments],
        input=given,
        env=dict(variables or {}),
        capture_output=True,
        timeout=DEADLINE,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
