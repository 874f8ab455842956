"""`relay resend`: one delivery again."""

import sys
from datetime import UTC, datetime

import click

from relay.chat import Chat
from relay.cli.open_outbox import NUMBER, open_store
from relay.cli.printing import FINE, FOUND, not_there, print_lines
from relay.intake import message_id
from relay.outbox.history import Record, Wanted, find, gate_of
from relay.outbox.requeue import queue_again
from relay.outbox.rows import State
from relay.outbox.session import Session


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=NUMBER)
def resend(ids: tuple[int, ...]) -> None:
    """Send deliveries once more, by the ids that `relay deliveries` shows.

    A delivery that has ended is queued again, as a new message: a mail gets another Message-ID, so that no mailbox
    takes it for a copy. One that waits is tried at once. A running relay takes it up within a few seconds,
    otherwise the next start does.

    Exit code: 0 all are queued, 1 some could not be, 2 the database can't be used.
    """
    now = datetime.now(UTC)
    with open_store(write=True) as session:
        found = find(session, Wanted(ids=ids), limit=len(ids))
        told = {record.id: _resend(session, record, now) for record in reversed(found)}
    print_lines(words for words in told.values() if words)
    refused = [record.id for record in found if not told[record.id]]
    for each in refused:
        click.echo(f"delivery {each} is being sent right now; nothing was changed", err=True)
    missing = sorted(set(ids) - told.keys())
    print_lines(not_there("delivery", missing), err=True)
    sys.exit(FOUND if refused or missing else FINE)


def _resend(session: Session, record: Record, now: datetime) -> str:
    """What was done, in words; empty where it is being sent."""
    if not queue_again(session, record, _next_message_id(record), now):
        return ""
    again = "is tried at once" if record.state is State.QUEUED else "is queued again"
    return f"delivery {record.id} to {record.destination} {again}{_but(session, record)}"


def _next_message_id(record: Record) -> str:
    return message_id(
        Chat(account=record.account, id=record.chat),
        rule=record.rule,
        destination=record.destination,
        recipient=record.recipient,
        domain=record.message_id.rpartition("@")[2],
        generation=record.generation + 1,
    )


def _but(session: Session, record: Record) -> str:
    gate = gate_of(session, record.destination)
    if gate is None or gate.broken_since is None:
        return ""
    return f"; it waits until that destination works again ({gate.reason})"
