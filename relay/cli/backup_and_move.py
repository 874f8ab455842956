"""`relay backup` and `relay move`: copy the database, or move everything in it to a PostgreSQL server."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.cli.open_outbox import database
from relay.cli.printing import could_not_run, counted, progress_bar
from relay.files import make_private_folder
from relay.outbox import StorageRefused, StorageUnavailable, database_copy
from relay.outbox.database_copy import Copied, Moved, copy_database
from relay.outbox.sqlite import sqlite_file
from relay.settings.database import Database, PostgresServer, read_database
from relay.settings.environment import Environment

_NAME = "relay-%Y%m%dT%H%M%SZ.db"
_OURS = re.compile(r"relay-\d{8}T\d{6}Z\.db(?:\.part)?")
"""Names of copies in a folder, and of unfinished ones. Sorted by name, the oldest come first."""


@click.command()
@click.argument("target", metavar="FILE|FOLDER/", type=click.Path())
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="In a folder: keep the newest so many copies, this one included, and delete older ones.",
)
def backup(target: str, keep: int | None) -> None:
    """Copy the database to FILE, while the relay runs or not. FILE must not exist yet.

    Or into FOLDER/, which is made if need be, under a name with the time in UTC: relay-20261122T030000Z.db. So the
    command can be run again and again.

    The copy is one moment's: whatever was answered before is in it. To restore it, stop the relay and put the copy in
    the database's place.
    """
    into_folder = target.endswith("/") or Path(target).is_dir()
    if keep and not into_folder:
        raise click.UsageError("--keep needs a folder: end its name with /")
    source = database()
    if isinstance(source, PostgresServer):
        message = (
            f"{source} is a PostgreSQL database: use pg_dump, which copies it while relays run"
        )
        could_not_run([message])
    file = _in_folder(Path(target)) if into_folder else Path(target)
    click.echo(f"{file}: {_contents(_copied(source, file))}")
    if keep:
        _delete_older(file.parent, keep)


def _copied(source: Path, file: Path) -> Copied:
    try:
        with progress_bar(f"copying {source}") as progress:
            return copy_database(source, file, lambda done: progress(done, 100))
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error)])


def _in_folder(folder: Path) -> Path:
    """The path of a new copy in the folder, which is created if need be; ends the command where that fails."""
    if folder.is_file():
        could_not_run(
            [f"{folder} is a file, perhaps an earlier copy: name another folder, or move it away"]
        )
    try:
        make_private_folder(folder)
    except OSError as error:
        could_not_run([f"{folder} can't be made: {error.strerror}"])
    return folder / datetime.now(UTC).strftime(_NAME)


def _delete_older(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` copies; other files stay. Ends the command where one can't be deleted."""
    ours = sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name))
    whole = [path for path in ours if path.suffix == ".db"]
    for path in ours:
        if path < whole[-keep:][0]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                could_not_run([f"the old copy {path} can't be deleted: {error.strerror}"])
            click.echo(f"{path}: deleted")


def _contents(copied: Copied) -> str:
    size = f"{copied.size / 2**20:.1f} MiB"
    queued = (
        f"{copied.queued} of them still queued" if copied.queued else "none of them still queued"
    )
    deliveries = counted(copied.deliveries, "delivery")
    return f"{counted(copied.chats, 'chat')}, {deliveries} ({queued}), {size}"


@click.command()
@click.option("--from", "source", metavar="sqlite:///...", required=True, help="The file.")
@click.option(
    "--to",
    "target",
    metavar="postgresql://...",
    help="The server. Default: RELAY_DATABASE, which keeps a password out of sight.",
)
def move(source: str, target: str | None) -> None:
    """Move everything that a relay keeps from its file to a PostgreSQL server.

    Stop the relay first. Everything is moved in one transaction, then read back and compared with the file by
    counts and digests; a move that is cut off leaves nothing behind, and one that is done can be asked for
    again. The file is renamed at the end, so that no relay goes on with it by mistake.
    """
    file, server = _database(source, "--from"), _database(target or _by_settings(), "--to")
    if not isinstance(file, Path) or not isinstance(server, PostgresServer):
        raise click.UsageError("a relay moves from sqlite:///... to postgresql://...")
    try:
        with progress_bar(f"moving {file}") as progress:
            moved = database_copy.move(
                file, server, now=datetime.now(UTC), progress=lambda done: progress(done, 100)
            )
            progress(100, 100)
    except StorageRefused as error:
        could_not_run([str(error)])
    _print_moved(moved, file, server)


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


def _print_moved(moved: Moved, file: Path, server: PostgresServer) -> None:
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
