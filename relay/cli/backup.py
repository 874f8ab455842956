"""`relay backup`: a consistent copy of the database, made beside a running relay."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.cli.open_outbox import database
from relay.cli.printing import could_not_run, counted
from relay.files import make_private_folder
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.snapshot import Copied, copy_database
from relay.settings.database import PostgresServer

_NAME = "relay-%Y%m%dT%H%M%SZ.db"
_OURS = re.compile(r"relay-\d{8}T\d{6}Z\.db(?:\.part)?")
"""Copies in a folder, and what is left of one that was ended in the middle. Sorted by name, the oldest come first."""


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
        raise click.UsageError("--keep goes with a folder; end its name with /")
    source = database()
    if isinstance(source, PostgresServer):
        could_not_run(
            [f"{source} is a PostgreSQL database: use pg_dump, which copies it while relays run"]
        )
    file = _in_folder(Path(target)) if into_folder else Path(target)
    try:
        with click.progressbar(
            length=100, label=f"copying {source}", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            copied = copy_database(source, file, lambda done: bar.update(max(0, done - bar.pos)))
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error)])
    click.echo(f"{file}: {_contents(copied)}")
    if keep:
        _delete_older(file.parent, keep)


def _in_folder(folder: Path) -> Path:
    """Ends the command where the folder can't be made."""
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
    """Files of other names stay. Ends the command where one can't be deleted."""
    ours = sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name))
    whole = [path for path in ours if path.suffix == ".db"]
    for path in ours:
        if path < whole[-keep:][0]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                could_not_run([f"{path} is too many, and can't be deleted: {error.strerror}"])
            click.echo(f"{path}: deleted")


def _contents(copied: Copied) -> str:
    size = f"{copied.size / 2**20:.1f} MiB"
    queued = (
        f"{copied.queued} of them still queued" if copied.queued else "none of them still queued"
    )
    deliveries = counted(copied.deliveries, "delivery")
    return f"{counted(copied.chats, 'chat')}, {deliveries} ({queued}), {size}"
