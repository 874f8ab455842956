"""`relay backtest`: compares edited rules with those in force on the chats that came in."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from relay.cli.open_outbox import answer_of
from relay.cli.open_rules import open_rules
from relay.cli.printing import (
    FINE,
    JSON,
    NOT_FINE,
    could_not_run,
    counted,
    print_json,
    print_lines,
    progress_bar,
)
from relay.outbox.database_session import CommandSessions
from relay.rules.reading.value_parsers import BadValue, duration, duration_words
from relay.services import backtesting
from relay.services.backtesting import Change, Comparison, Name, Times
from relay.settings.table import Settings, SettingsError, read_settings

FEW = 5
"""How many chats are named for each change without --all."""


@click.command()
@click.argument("new", metavar="NEW.yaml", type=click.Path(path_type=Path))
@click.option(
    "--since", metavar="30d", help="Only chats that came in since then: 30d, 12h or 2026-10-01."
)
@click.option(
    "--rules",
    "old",
    type=click.Path(path_type=Path),
    help="The rules to compare with. Default: those of RELAY_RULES.",
)
@click.option("--all", "every", is_flag=True, help=f"Name every chat, not {FEW} for each change.")
@JSON
def backtest(new: Path, since: str | None, old: Path | None, *, every: bool, as_json: bool) -> None:
    """Try edited rules on the chats that came in: what would NEW.yaml have sent instead?

    Compares NEW.yaml with the rules in force, over the history in the relay's database (RELAY_DATABASE), which may
    be in use meanwhile. Nothing is sent and nothing is changed.

    Exit code: 0 no difference, 1 there are some, 2 could not run.
    """
    settings = _settings()
    before, after = open_rules(old or settings.rules), open_rules(new)
    began = _since(since)
    with progress_bar("Reading chats") as progress:
        comparison = answer_of(
            backtesting.backtest(CommandSessions(settings.database), before, after, began, progress)
        )
    if as_json:
        print_json(_as_json(comparison))
    else:
        print_lines(_lines(comparison, sys.maxsize if every else FEW))
    sys.exit(NOT_FINE if any(comparison.changes) else FINE)


def _settings() -> Settings:
    try:
        return read_settings(os.environ)
    except SettingsError as error:
        could_not_run(error.problems)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A bare day begins at midnight here.
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - duration(text)
    except (BadValue, OverflowError):
        problem = f"{text!r} is not a time; write 30d, 12h or 2026-10-01"
        raise click.BadParameter(problem, param_hint="--since") from None


# -- to people ---------------------------------------------------------------------------------------------


def _lines(comparison: Comparison, limit: int) -> Iterator[str]:
    before, after = comparison.told_before, comparison.told_after
    yield f"{counted(comparison.chats, 'chat')}; {before} of them go to somebody now, {after} by the new rules"
    if comparison.times:
        yield _when(comparison.times)
    if comparison.unreadable:
        yield f"{counted(comparison.unreadable, 'hook')} could not be read"
    for change in comparison.changes:
        yield f"{change.rule}{', for nobody' if change.for_nobody else ''}: {_summary(change)}"
        for sign, colour, chats in (
            ("+", "green", change.added),
            ("-", "red", change.dropped),
            ("~", "yellow", change.redirected),
        ):
            if chats:
                yield f"  {click.style(sign, fg=colour)} {_names(chats, limit)}"


def _when(times: Times) -> str:
    parts = (
        (times.at_once, f"{times.at_once} at once"),
        (times.later, f"{times.later} when hours begin"),
        (times.in_digests, f"{times.in_digests} in {counted(times.digests, 'digest')}"),
        (times.left_out, f"{times.left_out} left out"),
    )
    words = ", ".join(words for count, words in parts if count) or "none"
    total = times.at_once + times.later + times.in_digests + times.left_out
    longest = timedelta(seconds=round(times.longest_wait.total_seconds()))
    wait = f"; the longest wait is {duration_words(longest)}" if longest else ""
    muted = f"; {times.muted} {'was' if times.muted == 1 else 'were'} muted" if times.muted else ""
    return f"{counted(total, 'notification')} by the new rules: {words}{wait}{muted}"


def _summary(change: Change) -> str:
    if not change:
        return f"{counted(change.after, 'chat')}, as before"
    parts = (
        (len(change.added), "added"),
        (len(change.dropped), "dropped"),
        (len(change.redirected), "sent to others"),
    )
    words = ", ".join(f"{number} {noun}" for number, noun in parts if number)
    return f"{counted(change.before, 'chat')} -> {change.after} ({words})"


def _names(chats: tuple[Name, ...], limit: int) -> str:
    # The newest, which people remember.
    names = ", ".join("/".join(chat) for chat in chats[::-1][:limit])
    more = len(chats) - limit
    return f"{names} and {more} more" if more > 0 else names


# -- to programs -------------------------------------------------------------------------------------------


def _as_json(comparison: Comparison) -> dict[str, object]:
    return {
        "chats": comparison.chats,
        "told_before": comparison.told_before,
        "told_after": comparison.told_after,
        "times": _times_as_json(comparison.times) if comparison.times else None,
        "rules": [
            {
                "rule": change.rule,
                "before": change.before,
                "after": change.after,
                "added": ["/".join(chat) for chat in change.added],
                "dropped": ["/".join(chat) for chat in change.dropped],
                "redirected": ["/".join(chat) for chat in change.redirected],
            }
            for change in comparison.changes
        ],
    }


def _times_as_json(times: Times) -> dict[str, float]:
    return {
        "at_once": times.at_once,
        "at_an_opening": times.later,
        "digests": times.digests,
        "in_digests": times.in_digests,
        "left_out": times.left_out,
        "muted": times.muted,
        "longest_wait_seconds": times.longest_wait.total_seconds(),
    }
