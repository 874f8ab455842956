"""`relay chats`: who wrote, which rules matched, where it was sent, and what to type next."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import NUMBER, SINCE, answer_of, sessions
from relay.cli.printing import (
    JSON,
    counted,
    fitted_widths,
    print_json,
    print_lines,
    progress_bar,
    terminal_width,
)
from relay.outbox.delivery_types import State
from relay.outbox.history import ENDED_BADLY, Held, Record
from relay.outbox.past_chats import ChatRow, WantedChats
from relay.services.find_chats import ChatSearchPage, StoredChat, search_chats
from relay.text import clean_line, cut

SHOWN = 50
_WHO, _WHERE = 3, 4
"""Columns that are narrowed in a narrow terminal: the second first, each down to its minimum."""
_LEAST = {_WHERE: 16, _WHO: 12}


@click.command()
@click.argument("text", required=False, default="")
@SINCE
@click.option("--missed", is_flag=True, help="Only missed chats.")
@click.option("--no-match", is_flag=True, help="Only chats that no rule matched.")
@click.option("--failed", is_flag=True, help="Only chats of which a delivery ended badly.")
@click.option(
    "--limit",
    metavar="NUMBER",
    default=SHOWN,
    show_default=True,
    type=NUMBER,
    help="At most this many, the newest.",
)
@click.option("--utc", "in_utc", is_flag=True, help="Times in UTC, not in this computer's zone.")
@JSON
def chats(
    text: str,
    since: datetime | None,
    *,
    missed: bool,
    no_match: bool,
    failed: bool,
    limit: int,
    in_utc: bool,
    as_json: bool,
) -> None:
    """List chats that came in, newest first: when, who, what it was, which rules matched, where it went and how that
    ended, and the command that shows more or helps.

    TEXT is looked for in the visitor's name and email address, or is the id of a chat or a visitor. It reads the
    database that RELAY_DATABASE names, and does not disturb a running relay.
    """
    wanted = WantedChats(since=since, missed=missed, failed=failed)
    with progress_bar("Reading chats") as progress:
        page = answer_of(
            search_chats(
                sessions(), text, wanted, no_match=no_match, limit=limit, progress=progress
            )
        )
    if as_json:
        print_json([_as_json(each, page.broken) for each in page.chats])
    else:
        clock = TimeFormat(UTC if in_utc else None)
        print_lines(_listed(page, clock, terminal_width()))


# -- how they are shown ----------------------------------------------------------------------------------------


def _listed(page: ChatSearchPage, clock: TimeFormat, width: int) -> Iterator[str]:
    """A table of chats, one line each; the command at the end of a line is never cut."""
    if not page.chats:
        yield "No chats."
        return
    heading = (f"WHEN ({clock.name})", "CHAT", "WHAT", "WHO", "WHERE IT WENT", "NEXT")
    rows = [_row(each, page.broken, clock) for each in page.chats]
    widths = fitted_widths((heading, *rows), width, _LEAST)
    for number, row in enumerate((heading, *rows)):
        cells = (cut(text, room).ljust(room) for text, room in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        yield line if number else click.style(line, bold=True)
    yield ""
    yield counted(len(page.chats), "chat") + (
        "; there are older ones, --limit shows more" if page.more else ""
    )


def _row(chat: StoredChat, broken: Mapping[str, Held], clock: TimeFormat) -> tuple[str, ...]:
    at, kinds = clock(chat.chat.about.last_hook)[: -len(":00")], _kinds(chat.chat.about)
    return at, chat.name, kinds, _who(chat), _where(chat), _next(chat, broken)


def _ended(records: Sequence[Record]) -> str:
    """The states of deliveries by destination: `room delivered, desk 2 failed`."""
    states: dict[str, Counter[State]] = {}
    for record in records:
        states.setdefault(record.destination, Counter())[record.state] += 1
    return (
        ", ".join(f"{clean_line(name, 40)} {_counted(ended)}" for name, ended in states.items())
        or "nobody"
    )


def _counted(ended: "Counter[State]") -> str:
    alone = ended.total() == 1
    return ", ".join(
        state.value if alone else f"{count} {state.value}" for state, count in ended.items()
    )


def _typed(name: str) -> str:
    """The text quoted as an argument of a shell command."""
    return shlex.quote(clean_line(name))


# -- one chat --------------------------------------------------------------------------------------------------


def _who(chat: StoredChat) -> str:
    name, email = clean_line(chat.chat.about.visitor, 40), clean_line(chat.email, 60)
    if name and email and "<" not in email:
        return f"{name} <{email}>"
    return email or name or "(no name)"


def _kinds(about: ChatRow) -> str:
    kinds = [word for word in ("missed", "offline") if getattr(about, word)]
    if about.rating is not None:
        kinds.append(f"rated {about.rating:g}")
    return ", ".join(kinds) or "finished"


def _where(chat: StoredChat) -> str:
    if chat.rules:
        return "; ".join(
            f"{clean_line(rule, 40)} -> {_ended(to)}" for rule, to in chat.rules.items()
        )
    return clean_line(chat.trouble) or "no rule matched"


def _next(chat: StoredChat, broken: Mapping[str, Held]) -> str:
    """The command that fixes a problem of the chat, or else one that shows more."""
    queued = [each for each in chat.chat.deliveries if each.state is State.QUEUED]
    bad = [each for each in chat.chat.deliveries if each.state in ENDED_BADLY]
    if waiting := [each for each in queued if each.destination in broken]:
        return f"relay resume {_typed(waiting[0].destination)}"
    if bad:
        return f"relay deliveries {' '.join(str(each.id) for each in bad)}"
    if chat.trouble:
        return f"relay replay --chat {_typed(chat.name)}"
    if not chat.chat.deliveries:
        return f"relay explain --chat {_typed(chat.name)}"
    return f"relay deliveries --chat {_typed(chat.name)}"


def _as_json(chat: StoredChat, broken: Mapping[str, Held]) -> dict[str, Any]:
    about = chat.chat.about
    return {
        "chat": chat.name,
        "visitor": about.visitor,
        "email": chat.email,
        "began": about.began.isoformat() if about.began else None,
        "last_hook": about.last_hook.isoformat(),
        "missed": about.missed,
        "offline": about.offline,
        "rating": about.rating,
        "rules": [
            {"rule": rule, "deliveries": [_delivery_json(each, broken) for each in to]}
            for rule, to in chat.rules.items()
        ],
        "trouble": chat.trouble,
        "next": _next(chat, broken),
    }


def _delivery_json(record: Record, broken: Mapping[str, Held]) -> dict[str, Any]:
    waits = record.state is State.QUEUED and record.destination in broken
    return {
        "id": record.id,
        "destination": record.destination,
        "recipient": record.recipient,
        "state": record.state.value,
        "waits_for_broken_destination": waits,
        "detail": record.detail,
    }
