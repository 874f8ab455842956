"""The output of `relay deliveries`: lines of text for people, values for programs."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import click

from relay.cli.printing import counted, fitted_widths
from relay.outbox.delivery_types import State
from relay.outbox.history import ENDED_BADLY, Attempt, Record, SetAside
from relay.services.find_deliveries import Details, Listed, Waiting, about
from relay.services.pause_and_resume import Paused
from relay.text import clean_line, cut

_COLOURS = {
    State.QUEUED: "yellow",
    State.SENDING: "yellow",
    State.SCHEDULED: "blue",
    State.DELIVERED: "green",
    State.ACCEPTED: "green",
    State.MAYBE_DELIVERED: "magenta",
    State.FAILED: "red",
    State.QUARANTINED: "red",
    State.MOVED: "cyan",
    State.IN_DIGEST: "green",
    State.LEFT_OUT: "cyan",
}
_TO_THE_RIGHT = (0, 3)
"""Columns of numbers, aligned to the right."""
_RULE, _LEAST_OF_A_RULE = 5, 12
"""The column that is narrowed in a narrow terminal, and its minimum."""
_ARRIVED = {State.DELIVERED, State.ACCEPTED}


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How a command shows times: in the given zone, by default the computer's."""

    zone: tzinfo | None = None

    def __call__(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    @property
    def name(self) -> str:
        """The name of the time zone at present, such as `CET`."""
        return datetime.now(UTC).astimezone(self.zone).tzname() or "local"


# -- many ----------------------------------------------------------------------------------------------


def listed(page: Listed, clock: TimeFormat, width: int) -> Iterator[str]:
    """A table of deliveries; below each that has not arrived, the last error."""
    records = page.deliveries
    if not records:
        yield "No deliveries."
        return
    heading = ("ID", f"CREATED ({clock.name})", "STATE", "TRIES", "CHAT", "RULE", "TO")
    rows = [_row(record, clock) for record in records]
    widths = fitted_widths((heading, *rows), width, {_RULE: _LEAST_OF_A_RULE})
    yield click.style(_aligned(heading, widths, width), bold=True)
    for record, row in zip(records, rows, strict=True):
        yield _coloured(_aligned(row, widths, width), row[2], _COLOURS[record.state])
        if words := _below(record, clock):
            yield click.style(cut(f"{' ' * widths[0]}  {words}", width), dim=True)
    yield ""
    yield _summary(records, more=page.more)


def why_they_wait(waiting: Waiting, clock: TimeFormat) -> Iterator[str]:
    """Lines that say why deliveries wait that have not failed themselves."""
    for held in waiting.broken:
        since = f" since {clock(held.gate.broken_since)}" if held.gate.broken_since else ""
        name = clean_line(held.destination)
        yield f"{counted(held.queued, 'delivery')} to {name}: waiting, because {name} is broken{since}:"
        yield f"  {_words(held.gate.reason)}"
        yield from (f"  {line}" for line in _cure(held.gate.reason, held.destination))
        yield f"  Once that is fixed: relay resume {shlex.quote(name)}; after a change of the settings restart the relay"
    yield from (paused_words(each, clock) for each in waiting.paused)
    for full in waiting.full:
        name = clean_line(full.destination)
        yield (
            f"{counted(full.queued, 'delivery')} to {name}: waiting, because {name} gets {full.most} an hour; "
            f"more are sent at {clock(full.more_at)}"
        )


def paused_words(paused: Paused, clock: TimeFormat) -> str:
    """A sentence: who has paused a destination, until when and why, and how to end it."""
    name, until = clean_line(paused.destination), paused.pause.until
    ends = f"until {clock(until)} ({clock.name})" if until else "until somebody resumes it"
    ends = f"since {clock(paused.pause.since)} {ends}" if paused.pause.since else ends
    return (
        f"{name} is paused {ends} by {clean_line(paused.pause.by)}: {clean_line(paused.pause.because)}; "
        f"deliveries that wait: {paused.queued}; `relay resume {shlex.quote(name)}` ends the pause"
    )


_WHY = {
    "hours": "outside the destination's hours",
    "send": "for the destination's digest",
    "limit": "the destination's limit is used up",
    "skip": "outside the destination's hours, and `outside_hours` is skip",
    "urgent": "an urgent rule sent it the chat at once",
    "once per visitor": "its rule has notified about this visitor already",
}


def _why(record: Record) -> str:
    """Why a delivery was not queued at once; empty if it was."""
    mute = record.why.removeprefix("muted:")
    return f"muted by mute {mute}" if mute != record.why else _WHY.get(record.why, "")


def _below(record: Record, clock: TimeFormat) -> str:
    """The line below a delivery that has not arrived; empty for others."""
    if record.state is State.SCHEDULED:
        why = _why(record)
        return f"waits until {clock(record.due_at)}" + (f": {why}" if why else "")
    if record.state is State.LEFT_OUT:
        return f"left out: {_why(record)}"
    if record.state is State.IN_DIGEST:
        return _in_digest(record, clock)
    return "" if record.state in _ARRIVED else _words(record.detail)


def _in_digest(record: Record, clock: TimeFormat) -> str:
    """The digest that a delivery's chat is in, in words."""
    closed = f" of {clock(record.settled_at)}" if record.settled_at else ""
    delivery = f", delivery {record.digest}" if record.digest else ""
    return f"in the digest{closed}{delivery}"


def _row(record: Record, clock: TimeFormat) -> tuple[str, ...]:
    return (
        str(record.id),
        clock(record.created_at),
        record.state.value,
        str(record.attempts),
        clean_line(about(record), 40),
        clean_line(record.rule, 40),
        _to(record),
    )


def _to(record: Record) -> str:
    """The recipient of a delivery; only the destination where that has a single recipient, such as a webhook."""
    if record.recipient == record.destination:
        return clean_line(record.destination, 60)
    return clean_line(f"{record.destination}: {record.recipient}", 80)


def _aligned(row: Sequence[str], widths: Sequence[int], width: int) -> str:
    cells = [cut(text, room).ljust(room) for text, room in zip(row, widths, strict=True)]
    for column in _TO_THE_RIGHT:
        cells[column] = cells[column].rstrip().rjust(widths[column])
    return cut("  ".join(cells).rstrip(), width)


def _coloured(line: str, word: str, colour: str) -> str:
    return line.replace(f"  {word}", f"  {click.style(word, fg=colour)}", 1)


def _summary(records: Sequence[Record], *, more: bool) -> str:
    number = counted(len(records), "delivery")
    counts = {state: sum(r.state is state for r in records) for state in State}
    parts = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    return f"{number}: {parts}" + ("; there are older ones, --limit shows more" if more else "")


# -- one -----------------------------------------------------------------------------------------------


def detail_lines(details: Details, clock: TimeFormat) -> Iterator[str]:
    """Lines about one delivery, with each attempt and the server's answer."""
    record = details.delivery
    state = click.style(record.state.value, fg=_COLOURS[record.state], bold=True)
    yield f"{click.style(f'Delivery {record.id}', bold=True)}: {state}"
    for label, value in _facts(record, clock):
        yield f"  {label:<12}{value}"
    if details.maybe_repeated:
        numbers = ", ".join(map(str, details.maybe_repeated))
        yield f"  copies      may have arrived more than once: no answer to attempt {numbers}"
    if not details.attempts:
        yield "  no attempt yet"
    for attempt in details.attempts:
        yield from _attempt(attempt, clock)


def _facts(record: Record, clock: TimeFormat) -> Iterator[tuple[str, str]]:
    yield from _subject(record)
    yield "to", _to(record)
    if record.instead_of:
        yield "instead of", f"{clean_line(record.instead_of)}, where it failed"
    yield "created", f"{clock(record.created_at)} {clock.name}"
    yield from _waits(record, clock)
    if record.settled_at:
        yield "settled", clock(record.settled_at)
    yield "Message-ID", f"<{record.message_id}>"
    if record.generation > 1:
        times = record.generation - 1
        yield "resent", f"{times} time{'s' if times > 1 else ''}"
    if record.state not in _ARRIVED and record.detail:
        yield from (("what to do", line) for line in _cure(record.detail, record.destination)[:1])
    if record.state in ENDED_BADLY:
        yield "send again", f"relay resend {record.id}"


def _subject(record: Record) -> Iterator[tuple[str, str]]:
    """What a delivery is about: an alert, a digest, or a chat and the rule that matched it."""
    if record.is_alert:
        yield "alert", clean_line(record.chat, 200)
    elif not record.account:
        yield "digest", f"{clean_line(record.chat)} (relay digests)"
    else:
        visitor = f", {clean_line(record.visitor, 60)}" if record.visitor else ""
        yield "chat", f"{clean_line(about(record), 80)}{visitor}"
        yield "hook", f"{record.hook_id} (relay replay {record.hook_id})"
        yield "rule", f"{clean_line(record.rule)} (template {record.template})"


def _waits(record: Record, clock: TimeFormat) -> Iterator[tuple[str, str]]:
    if record.state is State.QUEUED:
        yield "tried next", f"{clock(record.due_at)} at the earliest"
    if record.state is State.SCHEDULED:
        yield "waits until", f"{clock(record.due_at)} (relay resend {record.id} sends it now)"
    if why := _why(record):
        yield "why", why
    if record.state is State.IN_DIGEST:
        yield "sent", _in_digest(record, clock)
    if record.released_at:
        yield "released", clock(record.released_at)


def _attempt(attempt: Attempt, clock: TimeFormat) -> Iterator[str]:
    ending = attempt.ending or "under way"
    took = f" after {_took(attempt)}" if attempt.ended_at else ""
    yield f"  attempt {attempt.number}, {clock(attempt.started_at)}: {ending}{took}"
    if attempt.detail:
        yield f"      {_words(attempt.detail)}"


def _took(attempt: Attempt) -> str:
    seconds = ((attempt.ended_at or attempt.started_at) - attempt.started_at).total_seconds()
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _cure(detail: str, destination: str) -> tuple[str, ...]:
    """What to do about an error, and the command to run then; empty where that is not known."""
    # The transports take long to import, and most lists don't need them.
    from relay.transports.registry import cure_of  # noqa: PLC0415

    row = cure_of(detail)
    return row.lines(destination) if row else ()


def _words(detail: str) -> str:
    return clean_line(detail, 1000)


# -- unreadable ------------------------------------------------------------------------------------------


def set_aside(posts: Sequence[SetAside], clock: TimeFormat, width: int) -> Iterator[str]:
    """Lines about unreadable hooks, with the reason and their first words."""
    if not posts:
        yield "No unreadable posts."
        return
    for post in posts:
        size = f"{len(post.body)} byte{'' if len(post.body) == 1 else 's'}"
        yield f"{post.id:>5}  {clock(post.received_at)}  {size}: {clean_line(post.reason)}"
        begins = clean_line(post.body[:400].decode("utf-8", "replace"), 400)
        if begins:
            yield click.style(cut(f"       {begins}", width), dim=True)
    yield ""
    yield "relay replay --unreadable ID takes one in once it can be read."
