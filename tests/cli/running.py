"""The `relay` command, run to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.forks import run_command


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def relay(
    *arguments: str,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Ran:
    """Run it with nothing in its environment but `variables`, and `given` on standard input; `folder` as for `run_command`."""
    ended = run_command(arguments, variables or {}, given=given, folder=folder)
    return Ran(ended.status, ended.out.decode(), ended.err.decode())
