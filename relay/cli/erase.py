"""`relay erase`: all that is kept of one visitor, gone before its time."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from relay.cli.open_outbox import database, open_store
from relay.cli.printing import FINE, FOUND, could_not_run, counted, print_lines
from relay.cli.visitors import Name, Theirs, Whose, find_theirs, whose
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.command_session import empty_log
from relay.outbox.erasing import Erased, erase_chats, erase_set_aside


@click.command()
@whose
@click.option("--yes", is_flag=True, help="Don't ask.")
def erase(
    *, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None, yes: bool
) -> None:
    """Erase all that is kept of a visitor: chats, hooks, deliveries and attempts, for good.

    It shows the chats and asks first. What is still queued for them is not sent any more. The relay may run meanwhile.
    What was sent stays where it went, and backups hold what they hold.

    Exit code: 0 done, 1 nothing is kept of them or not all could be erased, 2 could not run.
    """
    theirs = find_theirs(Whose.asked(emails, visitors, chat))
    if theirs.chats or theirs.set_aside:
        print_lines(_listed(theirs))
        if not yes:
            click.confirm("Erase them for good?", abort=True)
    done = _erased(theirs)
    print_lines(_told(done))
    troubles = [*_troubles(done), *_left()]
    print_lines(troubles, err=True)
    sys.exit(FINE if (done.chats or done.set_aside) and not troubles else FOUND)


@dataclass(slots=True)
class _Done:
    chats: list[Erased] = field(default_factory=list)
    being_sent: list[Name] = field(default_factory=list)
    set_aside: int = 0


def _erased(theirs: Theirs) -> _Done:
    done = _Done()
    try:
        for name, erased in erase_chats(database(), theirs.chats):
            if erased is None:
                done.being_sent.append(name)
            else:
                done.chats.append(erased)
    except (StorageRefused, StorageUnavailable) as error:
        could_not_run([*(_told(done) if done.chats else ()), str(error)])
    if theirs.set_aside:
        with open_store(write=True) as session:
            done.set_aside = sum(erase_set_aside(session, hook.id) for hook in theirs.set_aside)
    return done


def _left() -> Iterator[str]:
    """SQLite's log still holds what was erased, until it is written into the file."""
    path = database()
    if not isinstance(path, Path):
        return
    if not empty_log(path):
        yield (
            f"what was erased is still in {path}-wal, which another program is reading: "
            "run this again later"
        )


# -- in words ----------------------------------------------------------------------------------------------


def _listed(theirs: Theirs) -> Iterator[str]:
    yield from (f"chat {'/'.join(name)}" for name in theirs.chats)
    yield from (f"hook set aside {hook.id}" for hook in theirs.set_aside)


def _told(done: _Done) -> Iterator[str]:
    if done.chats:
        hooks, deliveries, queued = (
            sum(getattr(chat, what) for chat in done.chats)
            for what in ("hooks", "deliveries", "queued")
        )
        unsent = f", {queued} of which nobody gets any more" if queued else ""
        yield (
            f"erased {counted(len(done.chats), 'chat')} with {counted(hooks, 'hook')} and "
            f"{counted(deliveries, 'delivery')}{unsent}"
        )
    if done.set_aside:
        yield f"erased {counted(done.set_aside, 'hook')} that could not be read"
    if not (done.chats or done.set_aside or done.being_sent):
        yield "nothing is kept of them"


def _troubles(done: _Done) -> Iterator[str]:
    for name in done.being_sent:
        yield f"chat {'/'.join(name)} is being sent right now and was left: run this again in a minute"
