"""`relay chats`: who wrote, which rules held, where it went, and what to type next. "Why did nobody get it?" begins here."""

import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import NUMBER, SINCE, database, open_store, past_hooks
from relay.cli.printing import JSON, counted, print_json, print_lines, terminal_width
from relay.cli.visitors import Name
from relay.mail_address import canonical_addresses
from relay.outbox.history import ENDED_BADLY, Held, Record, held
from relay.outbox.past_chats import ChatRow, PastChat, WantedChats, find_chats, past_chats
from relay.outbox.rows import State
from relay.rules import read_record
from relay.smartsupp import UnreadableHook, read_chat
from relay.text import clean_line, cut

SHOWN = 50
_WHO, _WHERE = 3, 4
"""Columns that give way where the terminal is narrow: the second first, each down to its least."""
_LEAST = {_WHERE: 16, _WHO: 12}


@click.command()
@click.argument("text", required=False, default="")
@SINCE
@click.option("--missed", is_flag=True, help="Only missed chats.")
@click.option("--no-match", is_flag=True, help="Only chats for which no rule held.")
@click.option("--failed", is_flag=True, help="Only chats of which a delivery ended badly.")
@click.option(
    "--limit", default=SHOWN, show_default=True, type=NUMBER, help="At most this many, the newest."
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
    """List chats that came in, newest first: when, who, what it was, which rules held, where it went and how that
    ended, and the command that tells more or helps.

    TEXT is looked for in the visitor's name and email address, or is the id of a chat or a visitor. It reads the
    database that RELAY_DATABASE names, and does not disturb a running relay.
    """
    among = _among(text) if text.strip() else lambda _: True
    wanted = WantedChats(
        since=since, missed=missed, failed=failed, undelivered=no_match, among=among
    )
    with open_store() as session:
        found = map(Told, past_chats(session, wanted))
        chosen = (each for each in found if not (no_match and each.rules))
        some = list(islice(chosen, limit + 1))
        gates = {one.destination: one for one in held(session) if one.gate.broken_since}
    shown, more = some[:limit], len(some) > limit
    if as_json:
        print_json([each.as_json(gates) for each in shown])
    else:
        clock = TimeFormat(UTC if in_utc else None)
        print_lines(_listed(shown, gates, clock, terminal_width(), more=more))


# -- which -----------------------------------------------------------------------------------------------------


def _among(text: str) -> Callable[[ChatRow], bool]:
    """By name and ids; by an address that has an index; and only where these find nothing, by a part of an address."""
    wanted = _plain(text)
    known = find_chats(database(), emails=canonical_addresses(text), visitors=[text.strip()])

    def by_row(row: ChatRow) -> bool:
        ids = {row.chat, "/".join(row.name)}
        return wanted in _plain(row.visitor) or text.strip() in ids or row.name in known

    with open_store() as session:
        if next(past_chats(session, WantedChats(among=by_row)), None):
            return by_row
    by_address = set(_with_address(wanted))
    return lambda row: row.name in by_address


def _with_address(wanted: str) -> Iterator[Name]:
    with past_hooks(database()) as hooks:
        for hook in hooks:
            with suppress(UnreadableHook):
                if wanted in _plain(read_chat(hook.body).visitor.email):
                    yield hook.account, hook.chat


def _plain(text: str) -> str:
    """Without case, accents and double blanks: as people type a name that they remember."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in folded if not unicodedata.combining(c)).split())


# -- how they are shown ----------------------------------------------------------------------------------------


def _listed(
    told: Sequence["Told"],
    broken: Mapping[str, Held],
    clock: TimeFormat,
    width: int,
    *,
    more: bool,
) -> Iterator[str]:
    """A line for each; the command at its end is always whole."""
    if not told:
        yield "No chats."
        return
    heading = (f"WHEN ({clock.name})", "CHAT", "WHAT", "WHO", "WHERE IT WENT", "NEXT")
    rows = [
        (
            clock(each.chat.about.last_hook)[: -len(":00")],
            each.name,
            each.what(),
            each.who(),
            each.where(),
            each.next(broken),
        )
        for each in told
    ]
    widths = [max(len(row[n]) for row in (heading, *rows)) for n in range(len(heading))]
    for column, least in _LEAST.items():
        too_wide = sum(widths) + 2 * (len(widths) - 1) - width
        widths[column] = min(widths[column], max(least, widths[column] - too_wide))
    for number, row in enumerate((heading, *rows)):
        cells = (cut(text, room).ljust(room) for text, room in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        yield line if number else click.style(line, bold=True)
    yield ""
    yield counted(len(told), "chat") + (
        "; there are older ones, --limit shows more" if more else ""
    )


def _ended(records: Sequence[Record]) -> str:
    """`room delivered, desk 2 failed`."""
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


@dataclass(frozen=True)
class Told:
    """A chat, and what is said of it."""

    chat: PastChat
    rules: Mapping[str, list[Record]] = field(init=False)
    """The rules that held, each with its deliveries; a rule may have none."""

    def __post_init__(self) -> None:
        rules: dict[str, list[Record]] = {name: [] for name in self._held()}
        for record in self.chat.deliveries:
            rules.setdefault(record.rule, []).append(record)
        object.__setattr__(self, "rules", rules)

    def _held(self) -> Iterator[str]:
        for hook in self.chat.hooks:
            with suppress(ValueError):  # the rules could not be asked
                yield from (each.rule for each in read_record(hook.verdicts).verdicts if each.holds)

    @property
    def name(self) -> str:
        return "/".join(self.chat.about.name)

    @property
    def email(self) -> str:
        with suppress(UnreadableHook):
            return read_chat(self.chat.hooks[-1].body).visitor.email
        return ""

    @property
    def trouble(self) -> str:
        """Why the rules could not be asked about the newest hook."""
        return self.chat.hooks[-1].trouble

    def who(self) -> str:
        name, email = clean_line(self.chat.about.visitor, 40), clean_line(self.email, 60)
        if name and email and "<" not in email:
            return f"{name} <{email}>"
        return email or name or "(no name)"

    def what(self) -> str:
        about = self.chat.about
        kinds = [word for word in ("missed", "offline") if getattr(about, word)]
        if about.rating is not None:
            kinds.append(f"rated {about.rating:g}")
        return ", ".join(kinds) or "finished"

    def where(self) -> str:
        if self.rules:
            return "; ".join(
                f"{clean_line(rule, 40)} -> {_ended(to)}" for rule, to in self.rules.items()
            )
        return clean_line(self.trouble) or "no rule matched"

    def next(self, broken: Mapping[str, Held]) -> str:
        """The command that helps, or else the one that tells more."""
        owed = [each for each in self.chat.deliveries if each.state is State.QUEUED]
        bad = [each for each in self.chat.deliveries if each.state in ENDED_BADLY]
        if waiting := [each for each in owed if each.destination in broken]:
            return f"relay resume {_typed(waiting[0].destination)}"
        if bad:
            return f"relay deliveries {' '.join(str(each.id) for each in bad)}"
        if self.trouble:
            return f"relay replay --chat {_typed(self.name)}"
        if not self.chat.deliveries:
            return f"relay explain --chat {_typed(self.name)}"
        return f"relay deliveries --chat {_typed(self.name)}"

    def as_json(self, broken: Mapping[str, Held]) -> dict[str, Any]:
        about = self.chat.about
        return {
            "chat": self.name,
            "visitor": about.visitor,
            "email": self.email,
            "began": about.began.isoformat() if about.began else None,
            "last_hook": about.last_hook.isoformat(),
            "missed": about.missed,
            "offline": about.offline,
            "rating": about.rating,
            "rules": [
                {
                    "rule": rule,
                    "deliveries": [
                        {
                            "id": each.id,
                            "destination": each.destination,
                            "recipient": each.recipient,
                            "state": each.state.value,
                            "waits_for_broken_destination": each.state is State.QUEUED
                            and each.destination in broken,
                            "detail": each.detail,
                        }
                        for each in to
                    ],
                }
                for rule, to in self.rules.items()
            ],
            "trouble": self.trouble,
            "next": self.next(broken),
        }
