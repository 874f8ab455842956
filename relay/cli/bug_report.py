"""Ends a command that failed because of a bug in the relay: says what happened, writes the details to a file, says where to report it."""

import contextlib
import os
import platform
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from typing import NoReturn

from relay import __version__
from relay.cli.printing import could_not_run
from relay.redaction import Redactor
from relay.settings.environment import Environment


def end_with_report(error: Exception, subcommand: str | None) -> NoReturn:
    """End the command with status 2, and say what happened, where the details are, and where to report it.

    The details are the traceback and all versions, without the secrets of the environment. Where no file can be
    written, they are printed instead of its path.
    """
    command = f"relay {subcommand}" if subcommand else "relay"
    redact = Redactor()
    redact.add(_secrets(os.environ))
    details = redact("\n".join([*_versions(), "", *traceback.format_exception(error)]))
    could_not_run(
        [
            f"`{command}` failed because of a fault in the relay itself ({type(error).__name__}).",
            _written(details),
            'Please report it: CONTRIBUTING.md, "Report a fault", says where and how.',
        ]
    )


def _written(details: str) -> str:
    """A sentence that names the file with the details; where none can be written, the details."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="relay-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(details)
    except OSError:
        return details
    return f"The details are in {path}. Secrets are taken out of it; it may hold words of visitors."


def _versions() -> Iterator[str]:
    """Lines with the versions of the relay, Python, the system, and every installed package."""
    yield f"relay {__version__}"
    yield f"Python {platform.python_version()}"
    yield platform.platform()
    yield from sorted(f"{each.name} {each.version}" for each in distributions())


def _secrets(variables: Mapping[str, str]) -> Iterator[str]:
    """Every value that may be a secret of a destination: of a variable, or of the file that a variable names.

    Paths are no secrets, as a traceback without them is of no use.
    """
    environment = Environment(variables)
    for name in variables:
        with contextlib.suppress(ValueError):
            if value := environment.get(name.removesuffix("_FILE"), lines=True):
                yield from (
                    each for each in value.split() if not each.startswith(("/", "./", "../"))
                )
