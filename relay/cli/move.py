"""`relay move`: from a file to a server."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.cli.printing import COULD_NOT_RUN
from relay.outbox import StorageRefused, snapshot
from relay.outbox.snapshot import Moved
from relay.outbox.sqlite import sqlite_file
from relay.settings.database import Database, PostgresServer, read_database
from relay.settings.environment import Environment


@click.command()
@click.option("--from", "source", metavar="sqlite:///...", required=True, help="The file.")
@click.option(
    "--to",
    "target",
    metavar="postgresql://...",
    help="The server. Default: RELAY_DATABASE, which keeps a password out of sight.",
)
def move(source: str, target: str | None) -> None:
    """Carry everything that a relay keeps from its file to a PostgreSQL server.

    Stop the relay first. Everything is moved in one transaction, then read back and compared with the file by
    counts and digests; a move that is cut off leaves nothing behind, and one that is done can be asked for
    again. The file is renamed at the end, so that no relay goes on with it by mistake.
    """
    file, server = _database(source, "--from"), _database(target or _by_settings(), "--to")
    if not isinstance(file, Path) or not isinstance(server, PostgresServer):
        raise click.UsageError("a relay moves from sqlite:///... to postgresql://...")
    try:
        with click.progressbar(
            length=100, label=f"moving {file}", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            moved = snapshot.move(
                file,
                server,
                now=datetime.now(UTC),
                progress=lambda done: bar.update(max(0, done - bar.pos)),
            )
            bar.update(bar.length or 0)
    except StorageRefused as error:
        click.echo(str(error), err=True)
        sys.exit(COULD_NOT_RUN)
    _tell(moved, file, server)


def _database(url: str, option: str) -> Database:
    try:
        return read_database(url)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _by_settings() -> str:
    try:
        return Environment(os.environ).get("RELAY_DATABASE") or ""
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _tell(moved: Moved, file: Path, server: PostgresServer) -> None:
    width = max(map(len, moved.tables))
    for name, contents in moved.tables.items():
        click.echo(f"{name:{width}}  {contents.rows:>9} rows  sha256 {contents.digest[:16]}")
    aside = sqlite_file.aside(file)
    file.rename(aside)
    done = "Everything was there already" if moved.before else "Everything is there now"
    click.echo(f"{done}: {server}. The file is kept as {aside}.")
    token = file.with_name(f"{file.name}.token")
    in_use = f", which {token} holds: RELAY_HOOK_TOKENS_FILE={token}" if token.exists() else ""
    click.echo("Set RELAY_DATABASE to the server, and RELAY_HOOK_TOKENS to the token at the end of")
    click.echo(f"the URL that Smartsupp posts to{in_use}. Then start the relay.")
