"""`relay deliveries`: what was sent, what waits and what went wrong. `relay digests`: what waits for a digest, and past digests."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli import deliveries_words as words
from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import CHAT, NUMBER, SINCE, answer_of, sessions, unknown_name_words
from relay.cli.printing import (
    JSON,
    NOT_FINE,
    could_not_run,
    counted,
    missing_rows,
    print_json,
    print_lines,
    terminal_width,
)
from relay.outbox.delivery_types import State
from relay.outbox.history import ENDED_BADLY, Wanted
from relay.services.find_deliveries import (
    delivery_details,
    delivery_json,
    details_json,
    list_deliveries,
    set_aside_json,
    unknown_names,
    unreadable_posts,
    waiting_destinations,
)
from relay.services.find_digests import ListedDigests, PastDigest, WaitingDigest, find_digests
from relay.text import clean_line

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
@click.option(
    "--scheduled", is_flag=True, help="Those that wait for their time, with until when and why."
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
    metavar="NUMBER",
    default=SHOWN,
    show_default=True,
    type=NUMBER,
    help="At most this many, the newest.",
)
@click.option("--unreadable", is_flag=True, help="Instead: unreadable posts, kept.")
@click.option("--set-aside", "set_aside", is_flag=True, hidden=True)  # its previous name
@click.option("--utc", "in_utc", is_flag=True, help="Times in UTC, not in this computer's zone.")
@JSON
def deliveries(
    ids: tuple[int, ...],
    *,
    failed: bool,
    states: tuple[str, ...],
    scheduled: bool,
    destination: str,
    rule: str,
    chat: tuple[str, str] | None,
    alerts: bool,
    since: datetime | None,
    limit: int,
    unreadable: bool,
    set_aside: bool,
    in_utc: bool,
    as_json: bool,
) -> None:
    """List deliveries, newest first, or with ID show everything about one: each attempt, and what the server answered.

    It reads the database that RELAY_DATABASE names, and does not disturb a running relay.
    """
    clock = words.TimeFormat(UTC if in_utc else None)
    wanted = Wanted(
        states=_wanted_states(states, failed=failed, scheduled=scheduled),
        destination=destination,
        rule=rule,
        chats=[chat] if chat else (),
        alerts=alerts,
        since=since,
    )
    unreadable = unreadable or set_aside
    if ids:
        if unreadable or wanted != Wanted():
            raise click.UsageError("an ID and filters can't be used together")
        _show(ids, clock, as_json=as_json)
        return
    if unreadable:
        if wanted != Wanted():
            raise click.UsageError("--unreadable and filters of deliveries can't be used together")
        _list_set_aside(limit, clock, as_json=as_json)
        return
    page = answer_of(list_deliveries(sessions(), wanted, limit=limit))
    if not page.deliveries:
        _refuse_unknown(wanted)
    if as_json:
        print_json([delivery_json(record) for record in page.deliveries])
        return
    waiting = answer_of(waiting_destinations(sessions(), datetime.now(UTC)))
    print_lines(words.listed(page, clock, terminal_width()))
    print_lines(words.why_they_wait(waiting.only(destination) if destination else waiting, clock))


def _wanted_states(names: Iterable[str], *, failed: bool, scheduled: bool) -> tuple[State, ...]:
    waiting = (State.SCHEDULED,) if scheduled else ()
    return *(_STATES[name] for name in names), *(ENDED_BADLY if failed else ()), *waiting


def _refuse_unknown(wanted: Wanted) -> None:
    """End the command where nothing was found because a rule, destination or chat does not exist."""
    if not (wanted.chats or wanted.rule or wanted.destination):
        return
    # The modules that read rules take 0.3 s to import.
    from relay.cli.open_rules import good_rules  # noqa: PLC0415

    rules = good_rules() if wanted.rule or wanted.destination else None
    if unknown := answer_of(unknown_names(sessions(), wanted, rules)):
        could_not_run(map(unknown_name_words, unknown))


def _list_set_aside(limit: int, clock: words.TimeFormat, *, as_json: bool) -> None:
    posts = answer_of(unreadable_posts(sessions(), limit=limit))
    if as_json:
        print_json([set_aside_json(hook) for hook in posts])
    else:
        print_lines(words.set_aside(posts, clock, terminal_width()))


def _show(ids: tuple[int, ...], clock: words.TimeFormat, *, as_json: bool) -> None:
    details = answer_of(delivery_details(sessions(), ids))
    if as_json:
        print_json([details_json(each) for each in details])
    else:
        waiting = answer_of(waiting_destinations(sessions(), datetime.now(UTC)))
        for number, each in enumerate(details):
            print_lines([""] if number else [])
            print_lines(words.detail_lines(each, clock))
            if each.delivery.state is State.QUEUED:
                print_lines(words.why_they_wait(waiting.only(each.delivery.destination), clock))
    if missing := sorted(set(ids) - {each.delivery.id for each in details}):
        print_lines(missing_rows("delivery", missing), err=True)
        sys.exit(NOT_FINE)


DIGESTS_SHOWN = 20


@click.command()
@click.option("--destination", default="", metavar="NAME", help="Of this destination.")
@click.option(
    "--limit",
    metavar="NUMBER",
    default=DIGESTS_SHOWN,
    show_default=True,
    type=NUMBER,
    help="At most this many of those that were sent, the newest.",
)
@click.option("--utc", "in_utc", is_flag=True, help="Times in UTC, not in this computer's zone.")
@JSON
def digests(*, destination: str, limit: int, in_utc: bool, as_json: bool) -> None:
    """List the chats that wait for a digest: for which destination, until when, how many, and why. Then the digests
    that were closed, newest first.

    It reads the database that RELAY_DATABASE names, and does not disturb a running relay.
    """
    listed = answer_of(find_digests(sessions(), destination=destination, limit=limit))
    if as_json:
        print_json(
            {
                "waiting": [_waiting_as_json(each) for each in listed.waiting],
                "past": [_past_as_json(each) for each in listed.past],
            }
        )
    else:
        print_lines(_digest_lines(listed, TimeFormat(UTC if in_utc else None)))


def _digest_lines(listed: ListedDigests, clock: TimeFormat) -> Iterator[str]:
    yield click.style("Waiting", bold=True)
    for waiting in listed.waiting:
        count = counted(sum(waiting.counts.values()), "chat")
        yield f"  {clock(waiting.due_at)}  {_to(waiting)}: {count} ({_whys(waiting.counts)})"
    if not listed.waiting:
        yield "  Nothing waits for a digest."
    yield ""
    yield click.style("Past", bold=True)
    for past in listed.past:
        yield f"  {clock(past.closed_at)}  {_to(past)}: {_chats(past)}, {_delivery(past)}"
    if not listed.past:
        yield "  There has been no digest yet."
    yield ""
    yield f"Times are in {clock.name}. A digest of one chat is sent as that chat's own notification."


def _to(digest: WaitingDigest | PastDigest) -> str:
    """The recipient of a digest; only the destination where that has a single recipient, such as a webhook."""
    if digest.recipient == digest.destination:
        return clean_line(digest.destination, 60)
    return clean_line(f"{digest.destination}, {digest.recipient}", 100)


def _whys(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{why}: {count}" if len(counts) > 1 else why for why, count in counts.items())


def _chats(past: PastDigest) -> str:
    """How many chats are in a digest, and why they had waited."""
    counts = dict(past.counts)
    erased = counts.pop("erased", 0)
    note = f", {erased} erased before" if erased else ""
    return f"{counted(sum(counts.values()), 'chat')} ({_whys(counts)}{note})"


def _delivery(past: PastDigest) -> str:
    if past.delivery is None or past.state is None:
        return "its delivery was erased"
    return f"delivery {past.delivery}: {past.state.value}"


def _waiting_as_json(digest: WaitingDigest) -> dict[str, Any]:
    return {
        "destination": digest.destination,
        "recipient": digest.recipient,
        "due_at": digest.due_at.isoformat(),
        "chats": sum(digest.counts.values()),
        "why": dict(digest.counts),
    }


def _past_as_json(digest: PastDigest) -> dict[str, Any]:
    counts = dict(digest.counts)
    erased = counts.pop("erased", 0)
    return {
        "id": digest.id,
        "destination": digest.destination,
        "recipient": digest.recipient,
        "due_at": digest.since.isoformat(),
        "closed_at": digest.closed_at.isoformat(),
        "chats": sum(counts.values()),
        "why": counts,
        "erased": erased,
        "delivery": digest.delivery,
        "state": digest.state.value if digest.state else None,
    }
