"""`relay resend`, `replay`, `resume` and `move-deliveries`: send again, at once, or to another destination."""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from relay.alerts.problem_detection import stranded
from relay.cli.deliveries_words import TimeFormat, paused_words
from relay.cli.open_outbox import CHAT, NUMBER, acting_user, answer_of, sessions, unknown_name_words
from relay.cli.printing import (
    ERASED,
    FINE,
    NOT_FINE,
    could_not_run,
    counted,
    missing_rows,
    print_lines,
    progress_bar,
)
from relay.outbox.delivery_types import Gate, State
from relay.outbox.history import Held, Record, Wanted
from relay.rules import RuleBook
from relay.rules.reading.value_parsers import did_you_mean, quoted
from relay.services.find_deliveries import unknown_names
from relay.services.move_deliveries import Unsent, unsent_deliveries, waiting_deliveries
from relay.services.move_deliveries import move_deliveries as move_all
from relay.services.pause_and_resume import Paused, Resumed, held_destinations, paused_destinations
from relay.services.pause_and_resume import resume as resume_all
from relay.services.replay import Judged, Replayed
from relay.services.replay import replay as replay_all
from relay.services.resend import Resent
from relay.services.resend import resend as resend_all

if TYPE_CHECKING:
    from relay.runtime.startup import Ready


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=NUMBER)
def resend(ids: tuple[int, ...]) -> None:
    """Send deliveries once more, by the ids that `relay deliveries` shows.

    A delivery that has ended is queued again, as a new message: a mail gets another Message-ID, so that no mailbox
    takes it for a copy. One that waits is tried at once, also where it is muted; where the destination is paused it
    waits for the end of the pause. A running relay takes it up within a few seconds, otherwise the next start does.

    Exit code: 0 all are queued, 1 some could not be, 2 the database can't be used.
    """
    now = datetime.now(UTC)
    done = answer_of(resend_all(sessions(), ids, by=acting_user(), now=now))
    print_lines(_resent(record, gate, done, now) for record, gate in done.queued)
    for each in reversed(done.being_sent):
        click.echo(f"delivery {each} is being sent right now; nothing was changed", err=True)
    print_lines(missing_rows("delivery", done.missing), err=True)
    sys.exit(NOT_FINE if done.being_sent or done.missing else FINE)


def _resent(record: Record, broken: Gate | None, done: Resent, now: datetime) -> str:
    action = "is tried at once" if record.state is State.QUEUED else "is queued again"
    name = record.destination
    if name in done.paused:
        action = "waits until the destination's pause ends (`relay resume` ends it now)"
    but = f"; it waits until that destination works again ({broken.reason})" if broken else ""
    for each in done.mutes:
        if not each.when and each.holds(
            rule=record.rule, urgent=False, destination=name, arrived=now
        ):
            but += f"; mute {each.id} does not hold it back"
    return f"delivery {record.id} to {name} {action}{but}"


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=NUMBER)
@CHAT
@click.option(
    "--unreadable",
    multiple=True,
    type=NUMBER,
    metavar="ID",
    help="A post that could not be read when it came; may be repeated.",
)
@click.option("--set-aside", "aside", multiple=True, type=NUMBER, hidden=True)  # its previous name
def replay(
    ids: tuple[int, ...],
    *,
    chat: tuple[str, str] | None,
    unreadable: tuple[int, ...],
    aside: tuple[int, ...],
) -> None:
    """Run today's rules on stored hooks, and queue the deliveries that were not made before.

    ID is a hook's id, as `relay deliveries ID` shows it. What was already sent is not sent again; for that there is
    `relay resend`. The rules are those that RELAY_RULES names.

    Exit code: 0 done, 1 some hooks are not there or still can't be read, 2 could not run.
    """
    if not (ids or chat or unreadable or aside):
        raise click.UsageError("name hooks by their ids, by --chat or by --unreadable")
    done = _replayed(ids, chat, (*unreadable, *aside))
    for each in done.judged:
        print_lines(_judged(each))
    troubles = list(_not_replayed(done))
    print_lines(troubles, err=True)
    sys.exit(NOT_FINE if troubles else FINE)


def _replayed(
    ids: Sequence[int], chat: tuple[str, str] | None, set_aside: Sequence[int]
) -> Replayed:
    ready = _ready()
    with progress_bar("Replaying hooks") as progress:
        return answer_of(
            replay_all(
                sessions(),
                ready.rules,
                ready.settings.mail_domain,
                ids=ids,
                chats=[chat] if chat else (),
                set_aside=set_aside,
                by=acting_user(),
                now=datetime.now(UTC),
                progress=progress,
            )
        )


def _judged(judged: Judged) -> Iterator[str]:
    chat = judged.hook.chat
    kind = "unreadable post" if judged.was_set_aside else "hook"
    about = f"{kind} {judged.id}, chat {chat.account}/{chat.id}"
    if judged.queued:
        yield f"{about}: queued"
    elif judged.hook.deliveries:
        yield f"{about}: nothing new, all deliveries of the matching rules existed before"
    else:
        yield f"{about}: no rule matched"
    for each in judged.queued:
        recipient = "" if each.recipient == each.destination else f": {each.recipient}"
        yield f"  {each.rule} -> {each.destination}{recipient}"


def _not_replayed(done: Replayed) -> Iterator[str]:
    for number in done.alerts:
        yield (
            f"hook {number} is an alert of the relay itself, which no rule is asked about; "
            "`relay resend` sends its deliveries again"
        )
    for number, problem in done.unreadable.items():
        yield f"hook {number} can't be read any more: {problem}"
    for number, problem in done.still_unreadable.items():
        yield f"unreadable post {number} still can't be read: {problem}"
    yield from missing_rows("hook", done.missing)
    yield from missing_rows("unreadable post", done.missing_posts)
    for chat in done.missing_chats:
        yield f"there is no chat {'/'.join(chat)}; {ERASED}"


def _ready() -> "Ready":
    """The rules and settings in use; ends the command where they are bad."""
    # The modules that read rules take 0.3 s to import, and `relay resume` does not need them.
    from relay.runtime.startup import NotReady, get_ready  # noqa: PLC0415

    try:
        return get_ready(os.environ)
    except NotReady as error:
        could_not_run(error.problems)


@click.command()
@click.argument("names", metavar="[DESTINATION]...", nargs=-1)
def resume(names: tuple[str, ...]) -> None:
    """End a pause, or try a broken destination at once; without DESTINATION, list the destinations that wait.

    What a pause has held back is sent. For a broken destination one delivery is sent, within a few seconds if a relay is
    running. If it arrives, all others follow. If not, the destination waits as before, and the relay tries it again by
    itself after a while.

    Exit code: 0 done, or no destination waits; 1 a destination waits, or a named one is neither paused nor broken; 2 the database can't be used.
    """
    now = datetime.now(UTC)
    if not names:
        _list_held(now)
    done = answer_of(resume_all(sessions(), names, by=acting_user(), now=now))
    print_lines(f"{name} is no longer paused" for name in done.no_longer_paused)
    print_lines(f"{name} is tried at once" for name in done.tried)
    others = [name for name in names if name not in (*done.no_longer_paused, *done.tried)]
    print_lines(
        (f"{name} is neither paused nor broken: {_why(name, done)}" for name in others), err=True
    )
    sys.exit(NOT_FINE if others else FINE)


def _list_held(now: datetime) -> NoReturn:
    waiting = answer_of(held_destinations(sessions(), now))
    paused = answer_of(paused_destinations(sessions(), now))
    print_lines(_listed(waiting, paused, TimeFormat()))
    sys.exit(NOT_FINE if waiting or paused else FINE)


def _listed(waiting: Sequence[Held], paused: Sequence[Paused], clock: TimeFormat) -> Iterator[str]:
    if not waiting and not paused:
        yield "No destination has to wait."
    yield from (paused_words(each, clock) for each in paused)
    for held in waiting:
        yield f"{held.destination}  {_since(held, clock)}; deliveries that wait: {held.queued}"
        yield f"    {held.gate.reason}"


def _since(held: Held, clock: TimeFormat) -> str:
    until = clock(held.gate.closed_until)
    if held.gate.broken_since is None:
        return f"was asked to wait until {until}"
    return f"broken since {clock(held.gate.broken_since)}, is tried again at {until}"


def _why(name: str, done: Resumed) -> str:
    if name in done.asked_to_wait:
        return "its server has asked the relay to wait; it is retried after that"
    # The modules that read rules take 0.3 s to import, and most names are known.
    from relay.cli.open_rules import good_rules  # noqa: PLC0415

    return _unknown(name, good_rules()) or "nothing holds it back"


def _unknown(destination: str, rules: RuleBook | None) -> str:
    """A sentence about a destination that does not exist; else empty."""
    wanted = Wanted(destination=destination)
    return "".join(map(unknown_name_words, answer_of(unknown_names(sessions(), wanted, rules))))


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
    unsent = answer_of(unsent_deliveries(sessions(), old))
    if not unsent.waiting and not unsent.sending:
        print_lines([_unknown(old, ready.rules) or f"nothing waits for {old}"], err=True)
        sys.exit(NOT_FINE)
    if unsent.waiting:
        click.echo(f"{_deliveries(unsent.waiting)} for {old}; {_recipients(ready.rules, new)}")
        if not yes:
            click.confirm(f"Send to {new} instead?", abort=True)
    if moved := _moved(ready, old, new):
        click.echo(f"{counted(moved, 'delivery')} moved from {old} to {new}")
    troubles = list(_left(answer_of(unsent_deliveries(sessions(), old)), old, new))
    print_lines(troubles, err=True)
    sys.exit(NOT_FINE if troubles else FINE)


def _list(rules: RuleBook) -> NoReturn:
    sentences = stranded(answer_of(waiting_deliveries(sessions())), rules.destinations)
    print_lines(f"{name}: {words}" for name, words in sentences.items())
    if not sentences:
        click.echo("Nothing waits for a destination that is not in the rules file.")
    sys.exit(NOT_FINE if sentences else FINE)


def _refuse_bad_names(old: str, new: str, rules: RuleBook) -> None:
    if new not in rules.destinations:
        hint = did_you_mean(new, rules.destinations)
        could_not_run([f"the rules file has no destination {quoted(new)}; {hint}"])
    if old == new:
        could_not_run([f"{quoted(old)} stands twice: name the destination that gets them second"])


def _moved(ready: "Ready", old: str, new: str) -> int:
    with progress_bar("Moving deliveries") as progress:
        service = move_all(
            sessions(),
            ready.rules,
            ready.settings.mail_domain,
            old=old,
            new=new,
            by="relay move-deliveries",
            now=datetime.now(UTC),
            progress=progress,
        )
        return answer_of(service, "run this again: what is moved already is not moved twice")


def _deliveries(count: int) -> str:
    return f"{counted(count, 'delivery')} {'waits' if count == 1 else 'wait'}"


def _recipients(rules: RuleBook, new: str) -> str:
    recipients = rules.recipients[new]
    if recipients.patterns:
        return f"at {new} each chat chooses who gets it"
    if recipients.fixed == (new,):
        return f"{new} gets each of them"
    return f"{new} is {', '.join(recipients.fixed)}"


def _left(unsent: Unsent, old: str, new: str) -> Iterator[str]:
    if unsent.waiting:
        yield f"{_deliveries(unsent.waiting)} for {old} as before: nobody at {new} can get them, or they came just now"
    if unsent.sending:
        is_being = "delivery is" if unsent.sending == 1 else "deliveries are"
        yield f"{unsent.sending} {is_being} being sent to {old} right now: run this again in a minute"
