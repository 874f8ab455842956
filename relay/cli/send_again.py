"""`relay resume`: a broken destination that somebody has fixed is tried at once."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import answer_of, database, this_user
from relay.cli.printing import FINE, FOUND, print_lines
from relay.outbox.history import Held, Wanted
from relay.services.find_deliveries import unknown_names
from relay.services.resume import Resumed, held_destinations
from relay.services.resume import resume as resume_all


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
    if not names:
        waiting = answer_of(held_destinations(database(), now))
        print_lines(_listed(waiting, TimeFormat()))
        sys.exit(FOUND if waiting else FINE)
    done = answer_of(resume_all(database(), names, by=this_user(), now=now))
    print_lines(f"{name} is tried at once" for name in done.tried)
    others = [name for name in names if name not in done.tried]
    print_lines((f"{name} is not broken: {_why(name, done)}" for name in others), err=True)
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


def _why(name: str, done: Resumed) -> str:
    if name in done.asked_to_wait:
        return "its server has asked the relay to wait; it is retried after that"
    # The rules take 0.2 s to import.
    from relay.cli.opening import good_rules, not_known  # noqa: PLC0415

    unknown = answer_of(unknown_names(database(), Wanted(destination=name), good_rules()))
    return "".join(map(not_known, unknown)) or "nothing holds it back"
