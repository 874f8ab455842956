"""`relay digests`: what waits for a digest, until when and why, and the digests that were sent."""

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import NUMBER, answer_of, sessions
from relay.cli.printing import JSON, counted, print_json, print_lines
from relay.services.find_digests import FoundDigests, PastDigest, WaitingDigest, find_digests
from relay.text import clean_line

SHOWN = 20


@click.command()
@click.option("--destination", default="", metavar="NAME", help="Of this destination.")
@click.option(
    "--limit",
    metavar="NUMBER",
    default=SHOWN,
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
    found = answer_of(find_digests(sessions(), limit=limit))
    if destination:
        found = found.only(destination)
    if as_json:
        print_json(
            {
                "waiting": [_waiting_as_json(one) for one in found.waiting],
                "past": [_past_as_json(one) for one in found.past],
            }
        )
    else:
        print_lines(_told(found, TimeFormat(UTC if in_utc else None)))


def _told(found: FoundDigests, clock: TimeFormat) -> Iterator[str]:
    yield click.style("Waiting", bold=True)
    for waiting in found.waiting:
        count = counted(sum(waiting.counts.values()), "chat")
        yield f"  {clock(waiting.due_at)}  {_to(waiting)}: {count} ({_whys(waiting.counts)})"
    if not found.waiting:
        yield "  Nothing waits for a digest."
    yield ""
    yield click.style("Closed", bold=True)
    for past in found.past:
        yield f"  {clock(past.closed_at)}  {_to(past)}: {_chats(past)}, {_delivery(past)}"
    if not found.past:
        yield "  No digest was closed yet."
    yield ""
    yield f"Times are in {clock.name}. A digest of one chat is sent as that chat's own notification."


def _to(one: WaitingDigest | PastDigest) -> str:
    """A webhook's recipient is the destination itself."""
    if one.recipient == one.destination:
        return clean_line(one.destination, 60)
    return clean_line(f"{one.destination}, {one.recipient}", 100)


def _whys(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{why}: {count}" if len(counts) > 1 else why for why, count in counts.items())


def _chats(past: PastDigest) -> str:
    """How many, and why they had waited."""
    counts = dict(past.counts)
    erased = counts.pop("erased", 0)
    beside = f", {erased} erased before" if erased else ""
    return f"{counted(sum(counts.values()), 'chat')} ({_whys(counts)}{beside})"


def _delivery(past: PastDigest) -> str:
    if past.delivery is None or past.state is None:
        return "its delivery was erased"
    return f"delivery {past.delivery}: {past.state.value}"


def _waiting_as_json(one: WaitingDigest) -> dict[str, Any]:
    return {
        "destination": one.destination,
        "recipient": one.recipient,
        "due_at": one.due_at.isoformat(),
        "chats": sum(one.counts.values()),
        "why": dict(one.counts),
    }


def _past_as_json(one: PastDigest) -> dict[str, Any]:
    counts = dict(one.counts)
    erased = counts.pop("erased", 0)
    return {
        "id": one.id,
        "destination": one.destination,
        "recipient": one.recipient,
        "due_at": one.since.isoformat(),
        "closed_at": one.closed_at.isoformat(),
        "chats": sum(counts.values()),
        "why": counts,
        "erased": erased,
        "delivery": one.delivery,
        "state": one.state.value if one.state else None,
    }
