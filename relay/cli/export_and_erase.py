"""`relay export` and `relay erase`, and the options with which they name a visitor."""

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli.open_outbox import CHAT, acting_user, answer_of, sessions
from relay.cli.open_rules import good_rules
from relay.cli.printing import FINE, NOT_FINE, could_not_run, counted, print_lines, progress_bar
from relay.services import personal_data
from relay.services.personal_data import ErasedData, Name, Person, PersonalData

Command = Callable[..., Any]


def person_options(command: Command) -> Command:
    """A decorator that adds the options that name a visitor, as `emails`, `visitors` and `chat`."""
    for option in (
        CHAT,
        click.option(
            "--visitor",
            "visitors",
            multiple=True,
            metavar="ID",
            help="Of the visitor with this id of Smartsupp's; may be repeated.",
        ),
        click.option(
            "--email",
            "emails",
            multiple=True,
            metavar="ADDRESS",
            help="Of the visitor who gave this address; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def _find(emails: Iterable[str], visitors: Iterable[str], chat: Name | None) -> PersonalData:
    """The stored data of a person; ends the command where nobody is named."""
    try:
        person = Person.named(emails, visitors, chat)
    except ValueError:
        raise click.UsageError(
            "say whose: --email ADDRESS, --visitor ID or --chat ACCOUNT/ID"
        ) from None
    with progress_bar("Reading chats") as progress:
        return answer_of(personal_data.find_personal_data(sessions(), person, progress))


@click.command()
@person_options
def export(*, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None) -> None:
    """Print all that is kept about a visitor as JSON: the hooks as they came, the deliveries, every attempt, the mutes that name them.

    The relay may run meanwhile.

    Exit code: 0 done, 1 nothing is kept about them, 2 could not run.
    """
    stored = _find(emails, visitors, chat)
    with progress_bar("Reading deliveries") as progress:
        kept = answer_of(personal_data.export(sessions(), stored.chats, progress))
    mutes = answer_of(personal_data.find_mutes(sessions(), stored.mutes))
    click.echo(personal_data.exported(kept, stored.set_aside, mutes))
    sys.exit(FINE if kept or stored.set_aside or mutes else NOT_FINE)


@click.command()
@person_options
@click.option("--yes", is_flag=True, help="Don't ask.")
def erase(
    *, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None, yes: bool
) -> None:
    """Erase all that is kept about a visitor: chats, hooks, deliveries and attempts, for good.

    It shows the chats and asks first. What is still queued for them is not sent any more. The relay may run meanwhile.
    What was sent already, and backups, stay as they are.

    Exit code: 0 done, 1 nothing is kept about them or not all could be erased, 2 could not run.
    """
    stored = _find(emails, visitors, chat)
    if stored.chats or stored.set_aside or stored.mutes:
        print_lines(_listed(stored))
        if not yes:
            click.confirm("Erase them for good?", abort=True)
    done = _erase(stored)
    if done.trouble:
        could_not_run([*(_erased(done) if done.chats else ()), done.trouble])
    print_lines(_erased(done))
    troubles = list(_left(done))
    print_lines(troubles, err=True)
    sys.exit(FINE if (done.chats or done.set_aside or done.mutes) and not troubles else NOT_FINE)


def _erase(stored: PersonalData) -> ErasedData:
    with progress_bar("Erasing") as progress:
        return answer_of(
            personal_data.erase(
                sessions(),
                stored,
                by=acting_user(),
                rules=good_rules(),
                now=datetime.now(UTC),
                progress=progress,
            )
        )


# -- in words ----------------------------------------------------------------------------------------------


def _listed(stored: PersonalData) -> Iterator[str]:
    yield from (f"chat {'/'.join(name)}" for name in stored.chats)
    yield from (f"unreadable post {hook.id}" for hook in stored.set_aside)
    yield from (f"mute {number}" for number in stored.mutes)


def _erased(done: ErasedData) -> Iterator[str]:
    if done.chats:
        hooks, deliveries, queued = (
            sum(getattr(chat, kind) for chat in done.chats)
            for kind in ("hooks", "deliveries", "queued")
        )
        unsent = f", {queued} of which were still queued and are not sent" if queued else ""
        yield (
            f"erased {counted(len(done.chats), 'chat')} with {counted(hooks, 'hook')} and "
            f"{counted(deliveries, 'delivery')}{unsent}"
        )
    if done.set_aside:
        yield f"erased {counted(done.set_aside, 'hook')} that could not be read"
    if done.mutes:
        yield f"ended {counted(done.mutes, 'mute')}, and erased what {'it was' if done.mutes == 1 else 'they were'} about"
    if not (done.chats or done.set_aside or done.being_sent or done.mutes):
        yield "nothing is kept about them"


def _left(done: ErasedData) -> Iterator[str]:
    for name in done.being_sent:
        yield f"chat {'/'.join(name)} is being sent right now and was left: run this again in a minute"
    for number in done.mutes_of_the_file:
        yield f"mute {number} stands in the rules file, which names them: take it out there"
    if done.left_in:
        yield f"what was erased is still in {done.left_in}, which another program is reading: run this again later"
