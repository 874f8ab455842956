"""`relay move-deliveries`: what waits for one destination goes to another."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

import click

from relay.cli.open_outbox import answer_of, database, open_store
from relay.cli.opening import not_known
from relay.cli.printing import FINE, FOUND, could_not_run, counted, print_lines
from relay.delivery.retry import Redirect, stranded
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.history import Wanted
from relay.outbox.requeue import count_sending, reassign_all, waiting
from relay.rules import RuleBook
from relay.rules.reading.values import did_you_mean, quoted
from relay.runtime.startup import NotReady, Ready, get_ready
from relay.services.find_deliveries import unknown_names


@click.command()
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
def move_deliveries(*, old: str | None, new: str | None, yes: bool) -> None:
    """Send what waits for one destination to another one, as after a change of its name.

    OLD is the destination for which deliveries wait, whether or not the rules file still has it. NEW is a destination
    of the rules file: each of its recipients gets the notifications. It shows how many there are and asks first. The
    history says where each went. The relay may run meanwhile, and sends them within a few seconds.

    Without names it lists the destinations for which deliveries wait and which the rules file does not have.

    Exit code: 0 done, or nothing waits; 1 something waits for a destination that is not in the rules, or not all
    could be moved; 2 could not run.
    """
    ready = _ready()
    if not old:
        _list(ready.rules)
    if not new:
        raise click.UsageError("name two destinations: for which they wait, and who gets them")
    _refuse_bad_names(old, new, ready.rules)
    with open_store() as session:
        count, sending = waiting(session).get(old, 0), count_sending(session, old)
    if not count and not sending:
        unknown = answer_of(unknown_names(database(), Wanted(destination=old), ready.rules))
        print_lines(map(not_known, unknown) if unknown else [f"nothing waits for {old}"], err=True)
        sys.exit(FOUND)
    if count:
        click.echo(f"{_deliveries(count)} for {old}; {_recipients(ready.rules, new)}")
        if not yes:
            click.confirm(f"Send to {new} instead?", abort=True)
    moved = _moved(ready, old, new)
    print_lines(_told(old, new, moved))
    troubles = list(_left(old, new))
    print_lines(troubles, err=True)
    sys.exit(FOUND if troubles else FINE)


def _ready() -> Ready:
    try:
        return get_ready(os.environ)
    except NotReady as error:
        could_not_run(error.problems)


def _list(rules: RuleBook) -> NoReturn:
    with open_store() as session:
        found = stranded(waiting(session), rules.destinations)
    print_lines(f"{name}: {words}" for name, words in found.items())
    if not found:
        click.echo("Nothing waits for a destination that is not in the rules file.")
    sys.exit(FOUND if found else FINE)


def _refuse_bad_names(old: str, new: str, rules: RuleBook) -> None:
    if new not in rules.destinations:
        hint = did_you_mean(new, rules.destinations)
        could_not_run([f"the rules file has no destination {quoted(new)}; {hint}"])
    if old == new:
        could_not_run([f"{quoted(old)} stands twice: name the destination that gets them second"])


def _moved(ready: Ready, old: str, new: str) -> int:
    redirect = Redirect(ready.rules, ready.settings.mail_domain)
    try:
        return reassign_all(
            database(),
            old,
            lambda delivery: redirect.to_other(delivery, new),
            words=f"{new} gets it instead: relay move-deliveries",
            now=datetime.now(UTC),
        )
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([str(error), "run this again: what is moved already is not moved twice"])


# -- in words ----------------------------------------------------------------------------------------------


def _deliveries(count: int) -> str:
    return f"{counted(count, 'delivery')} {'waits' if count == 1 else 'wait'}"


def _recipients(rules: RuleBook, new: str) -> str:
    recipients = rules.recipients[new]
    if recipients.patterns:
        return f"at {new} each chat chooses who gets it"
    if recipients.fixed == (new,):
        return f"{new} gets each of them"
    return f"{new} is {', '.join(recipients.fixed)}"


def _told(old: str, new: str, moved: int) -> Iterator[str]:
    if moved:
        yield f"{counted(moved, 'delivery')} moved from {old} to {new}"


def _left(old: str, new: str) -> Iterator[str]:
    with open_store() as session:
        count, sending = waiting(session).get(old, 0), count_sending(session, old)
    if count:
        yield f"{_deliveries(count)} for {old} as before: nobody at {new} can get them, or they came just now"
    if sending:
        is_being = "delivery is" if sending == 1 else "deliveries are"
        yield f"{sending} {is_being} being sent to {old} right now: run this again in a minute"
