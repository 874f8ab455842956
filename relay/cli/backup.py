"""`relay backup`: a consistent copy of the database, made beside a running relay."""

import sys
from pathlib import Path

import click

from relay.cli.printing import could_not_run, counted
from relay.cli.store import database
from relay.database import PostgresServer
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.copying import Copied, copy_database


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Copy the database to FILE, while the relay runs or not. FILE must not exist yet.

    The copy is one moment's: whatever was answered before is in it. To restore it, stop the relay and put the copy in
    the database's place.
    """
    source = database()
    if isinstance(source, PostgresServer):
        could_not_run(
            [f"{source} is a PostgreSQL database: use pg_dump, which copies it while relays run"]
        )
    try:
        with click.progressbar(
            length=100, label=f"copying {source}", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            copied = copy_database(source, file, lambda done: bar.update(max(0, done - bar.pos)))
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error)])
    click.echo(f"{file}: {_contents(copied)}")


def _contents(copied: Copied) -> str:
    size = f"{copied.size / 2**20:.1f} MiB"
    owed = f"{copied.owed} of them still owed" if copied.owed else "none of them still owed"
    deliveries = counted(copied.deliveries, "delivery")
    return f"{counted(copied.chats, 'chat')}, {deliveries} ({owed}), {size}"
