"""`relay serve`: runs the relay."""

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

import click
import uvloop

from relay.console import console_of
from relay.outbox import StorageRefused
from relay.runtime.hook_tokens import read_tokens, token_file
from relay.runtime.startup import NotReady, settings_of
from relay.settings.table import Settings, read_settings
from relay.web.server import run_relay

log = logging.getLogger(__name__)


@click.command()
def serve() -> None:
    """Take hooks and deliver what the rules ask for, until SIGTERM or Ctrl-C.

    Everything is set by the environment; RELAY_RULES (rules.yaml) names the rules file. Without
    RELAY_HOOK_TOKENS a token is made at the first start and kept beside the database; `relay hook-url` shows it.
    """
    variables = dict(os.environ)
    is_new = _has_no_token(variables)

    async def print_address(url: str) -> None:
        settings = read_settings(variables)
        at = settings.public_url or url
        _print([*_where(settings, at, is_new=is_new), *_console(settings, at)])

    run(run_relay(variables, started=print_address, pages=console_of))


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a relay. What keeps it from starting is printed to stderr, with exit code 2."""
    _stand_in_for_closed_streams()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except NotReady as error:
        click.echo("The relay can't start:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(2)
    except StorageRefused as error:
        click.echo(f"The relay can't start:\n  {error}", err=True)
        sys.exit(2)


def _stand_in_for_closed_streams() -> None:
    """Open /dev/null for closed standard streams; a socket or the database could get their numbers and be written to."""
    opened = os.open(os.devnull, os.O_RDWR)
    while opened <= 2:
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)


def _has_no_token(variables: Mapping[str, str]) -> bool:
    settings, _ = settings_of(variables)
    try:
        return not read_tokens(settings)
    except ValueError:
        return False  # the relay will not start, and says why


def _print(lines: list[str]) -> None:
    """Print lines. Errors are logged only: a closed pipe or a full disk must not stop the relay."""
    try:
        for line in lines:
            click.echo(line)
    except OSError as error:
        log.warning("where hooks are taken could not be printed: %s", error.strerror)
        # Else Python would try to write it again at the end, and fail with that.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _where(settings: Settings, url: str, *, is_new: bool) -> list[str]:
    if not is_new:
        # Not the token itself, as the output stays in the journal.
        return [
            f"The relay takes hooks at {url}/hooks/smartsupp/<the token>",
            "`relay hook-url` shows the whole URL.",
        ]
    return [
        f"The relay takes hooks at {url}/hooks/smartsupp/{read_tokens(settings)[0]}",
        f"Give Smartsupp this URL. It is a secret; `relay hook-url` shows it again. Its token is kept in {token_file(settings)}.",
    ]


def _console(settings: Settings, url: str) -> list[str]:
    return [f"The console is at {url}/; sign in as admin."] if settings.console_password else []
