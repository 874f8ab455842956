"""`relay serve`: the relay against real settings."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import click
import uvloop

from relay.outbox import StorageRefused
from relay.settings import Settings, read_settings
from relay.startup import NotReady
from relay.web.app import hook_tokens, token_file
from relay.web.server import run_relay


@click.command()
def serve() -> None:
    """Take hooks and deliver what the rules ask for, until SIGTERM or Ctrl-C.

    Everything is set by the environment; RELAY_RULES (rules.yaml) names the rules file. Without
    RELAY_HOOK_TOKENS a token is made, kept beside the database, and the hook's URL is printed.
    """
    variables = dict(os.environ)

    async def say_where(url: str) -> None:
        settings = read_settings(variables)
        for line in _where(settings, settings.public_url or url):
            click.echo(line)
        sys.stdout.flush()

    run(run_relay(variables, started=say_where))


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a relay; what keeps it from starting goes to stderr, with exit code 2."""
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


def _where(settings: Settings, url: str) -> list[str]:
    if settings.hook_tokens:
        return [f"The relay takes hooks at {url}/hooks/smartsupp/<a token of RELAY_HOOK_TOKENS>"]
    token = hook_tokens(settings)[0]
    return [
        f"The relay takes hooks at {url}/hooks/smartsupp/{token}",
        f"That URL is a secret. Its token is kept in {token_file(settings)}.",
    ]
