"""`relay resume`: a broken destination that somebody has fixed is tried at once."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import open_store
from relay.cli.printing import FINE, FOUND, print_lines
from relay.outbox.history import Held, held
from relay.outbox.requeue import look_now


@click.command()
@click.argument("names", metavar="[DESTINATION]...", nargs=-1)
def resume(names: tuple[str, ...]) -> None:
    """Try a broken destination at once; without DESTINATION, list those that wait.

    One of its deliveries is sent, within a few seconds if a relay is running. If it gets through, all others follow.
    If not, the destination waits as before, and is tried again by itself after a while.

    Exit code: 0 it is tried, or nothing waits; 1 something waits, or a name is not that of a broken destination; 2
    the database can't be used.
    """
    now = datetime.now(UTC)
    with open_store(write=bool(names)) as session:
        waiting = held(session)
        broken = {one.destination: one for one in waiting if one.gate.broken_since}
        for name in broken.keys() & set(names):
            look_now(session, name, broken[name].gate, now)
    if not names:
        waiting = [one for one in waiting if one.gate.broken_since or one.gate.closed_until > now]
        print_lines(_listed(waiting, TimeFormat()))
        sys.exit(FOUND if waiting else FINE)
    print_lines(f"{name} is tried at once" for name in names if name in broken)
    others = [name for name in names if name not in broken]
    print_lines((f"{name} is not broken: {_why(name, waiting)}" for name in others), err=True)
    sys.exit(FOUND if others else FINE)


def _listed(waiting: Sequence[Held], clock: TimeFormat) -> Iterator[str]:
    if not waiting:
        yield "No destination has to wait."
    for one in waiting:
        yield f"{one.destination}  {_since(one, clock)}; deliveries that wait: {one.queued}"
        yield f"    {one.gate.reason}"


def _since(one: Held, clock: TimeFormat) -> str:
    until = clock(one.gate.closed_until)
    if one.gate.broken_since is None:
        return f"was asked to wait until {until}"
    return f"broken since {clock(one.gate.broken_since)}, is tried again at {until}"


def _why(name: str, waiting: Sequence[Held]) -> str:
    if any(one.destination == name for one in waiting):
        return "its server has asked the relay to wait; it is retried after that"
    # The rules take 0.2 s to import.
    from relay.cli.opening import objections  # noqa: PLC0415

    with open_store() as session:
        return "".join(objections(session, destination=name)) or "nothing holds it back"
