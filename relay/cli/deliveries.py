"""`relay deliveries`: what was sent, what waits and what went wrong, read beside a running relay."""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import click

from relay.cli import deliveries_words as words
from relay.cli.open_outbox import CHAT, NUMBER, SINCE, open_store
from relay.cli.printing import FOUND, JSON, could_not_run, print_json, print_lines, terminal_width
from relay.outbox.history import (
    ENDED_BADLY,
    Wanted,
    attempts_at,
    find,
    full,
    held,
    hooks_set_aside,
    stored_hooks,
)
from relay.outbox.rows import State
from relay.outbox.session import Session

_STATES = {state.value.replace(" ", "-"): state for state in State}
SHOWN = 50


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=NUMBER)
@click.option(
    "--failed", is_flag=True, help="Those that ended badly: failed, maybe delivered, quarantined."
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(list(_STATES)),
    help="In this state; may be repeated.",
)
@click.option("--destination", default="", metavar="NAME", help="To this destination.")
@click.option("--rule", default="", metavar="NAME", help="By this rule.")
@CHAT
@click.option(
    "--alerts", is_flag=True, help="Only alerts: what the relay said about its own trouble."
)
@SINCE
@click.option(
    "--limit",
    default=SHOWN,
    show_default=True,
    type=NUMBER,
    help="At most this many, the newest.",
)
@click.option("--set-aside", is_flag=True, help="Instead: unreadable posts that were kept.")
@click.option("--utc", "in_utc", is_flag=True, help="Times in UTC, not in this computer's zone.")
@JSON
def deliveries(
    ids: tuple[int, ...],
    *,
    failed: bool,
    states: tuple[str, ...],
    destination: str,
    rule: str,
    chat: tuple[str, str] | None,
    alerts: bool,
    since: datetime | None,
    limit: int,
    set_aside: bool,
    in_utc: bool,
    as_json: bool,
) -> None:
    """List deliveries, newest first, or with ID show everything about one: each attempt, and what the server answered.

    It reads the database that RELAY_DATABASE names, and does not disturb a running relay.
    """
    clock = words.TimeFormat(UTC if in_utc else None)
    wanted = Wanted(
        states=(*(_STATES[name] for name in states), *(ENDED_BADLY if failed else ())),
        destination=destination,
        rule=rule,
        chats=[chat] if chat else (),
        alerts=alerts,
        since=since,
    )
    if ids:
        if set_aside or wanted != Wanted():
            raise click.UsageError("an id names its delivery; leave the filters out beside it")
        _tell(ids, clock, as_json=as_json)
        return
    if set_aside:
        if wanted != Wanted():
            raise click.UsageError("--set-aside lists hooks; no filter of deliveries goes with it")
        _list_set_aside(limit, clock, as_json=as_json)
        return
    with open_store() as session:
        found = find(session, wanted, limit=limit + 1)
        if not found:
            _refuse_unknown(session, wanted)
        waiting = [] if as_json else list(_waiting(session, destination, clock))
    shown, more = found[:limit], len(found) > limit
    if as_json:
        print_json([words.as_json(record) for record in shown])
        return
    print_lines(words.listed(shown, clock, terminal_width(), more=more))
    print_lines(waiting)


def _waiting(session: Session, destination: str, clock: words.TimeFormat) -> Iterator[str]:
    """Why deliveries wait of which none has failed, at this destination or, where it is empty, at all."""
    broken = [one for one in held(session) if one.gate.broken_since and one.queued]
    had_most = full(session, datetime.now(UTC))
    yield from words.waiting_for_broken(
        [one for one in broken if destination in {"", one.destination}], clock
    )
    yield from words.waiting_for_the_hour(
        [one for one in had_most if destination in {"", one.destination}], clock
    )


def _refuse_unknown(session: Session, wanted: Wanted) -> None:
    """Ends the command where nothing was found because a name is that of nothing."""
    unknown = [
        f"there is no chat {'/'.join(name)}; it may be so old that it was erased, and `relay chats` lists those that are there"
        for name in wanted.chats
        if not stored_hooks(session, names=[name])
    ]
    if wanted.rule or wanted.destination:
        # The rules take 0.2 s to import.
        from relay.cli.opening import objections  # noqa: PLC0415

        unknown += objections(session, rule=wanted.rule, destination=wanted.destination)
    if unknown:
        could_not_run(unknown)


def _list_set_aside(limit: int, clock: words.TimeFormat, *, as_json: bool) -> None:
    with open_store() as session:
        found = hooks_set_aside(session, limit=limit)
    if as_json:
        print_json([words.set_aside_as_json(hook) for hook in found])
    else:
        print_lines(words.set_aside(found, clock, terminal_width()))


def _tell(ids: tuple[int, ...], clock: words.TimeFormat, *, as_json: bool) -> None:
    with open_store() as session:
        found = find(session, Wanted(ids=ids), limit=len(ids))
        tries = {record.id: attempts_at(session, record.id) for record in found}
        waiting = {
            record.id: list(_waiting(session, record.destination, clock))
            for record in found
            if record.state is State.QUEUED and not as_json
        }
    if as_json:
        print_json(
            [
                {
                    **words.as_json(r),
                    "maybe_repeated": words.maybe_repeated(tries[r.id]),
                    "tries": [words.attempt_as_json(a) for a in tries[r.id]],
                }
                for r in found
            ]
        )
    else:
        for number, record in enumerate(found):
            print_lines([""] if number else [])
            print_lines(words.told(record, tries[record.id], clock))
            print_lines(waiting.get(record.id, ()))
    if missing := sorted(set(ids) - tries.keys()):
        print_lines(not_there("delivery", missing), err=True)
        sys.exit(FOUND)


def not_there(what: str, ids: Iterable[int]) -> Iterator[str]:
    """A sentence for each that was asked for and is not in the database."""
    for each in ids:
        yield f"there is no {what} {each}; it may be so old that it was erased"
