"""`relay check`, `relay explain` and `relay holidays`: commands about the rules file."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from relay.cli import rules_output as words
from relay.cli.env_file import advice
from relay.cli.open_outbox import CHAT, answer_of, sessions
from relay.cli.open_rules import RULES, open_chat, open_rules
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
from relay.rules import Problem, RulesError
from relay.rules.reading.holidays_file import path_for
from relay.rules.reading.value_parsers import BadValue
from relay.runtime.startup import settings_of
from relay.services import explanation
from relay.services.check import Checked, check_file, stranded_deliveries
from relay.services.public_holidays import Added, NotInstalled, add_holidays
from relay.services.trial_send import Tried, connect_all
from relay.timing.timing_words import timing_sentence


@click.command()
@RULES
@click.option(
    "--connect",
    is_flag=True,
    help="Also connect to each destination's server and log in there. Nothing is sent.",
)
@JSON
def check(rules: Path | None, *, connect: bool, as_json: bool) -> None:
    """Read the rules file and name everything that is wrong with it.

    RULES is the file to check; without it, the one that RELAY_RULES names (rules.yaml). The templates that
    the rules name are tried out with made-up chats. Nothing is sent.

    With --connect it also goes to each destination's server: logs in at the mail server and reads its limits, asks Slack
    who the bot is and what it may do, and looks whether the hosts of webhooks answer. It names destinations that
    deliveries wait for and that the rules file does not have.

    Exit code: 0 all fine, 1 there are problems, a server can't be used or deliveries wait for what is not there, 2 the
    file or the settings can't be read.
    """
    checked, tried, waits = asyncio.run(_check(rules, connect=connect))
    unreached = sum(not each.well for each in tried)
    code = words.exit_code(checked)
    if as_json:
        extra = {"connections": words.connected_json(tried)} if connect else {}
        print_json({**words.checked_json(checked), **extra})
    else:
        _print_checked(checked, tried, unreached)
    sys.exit(code or (NOT_FINE if unreached or waits else FINE))


def _print_checked(checked: Checked, tried: Sequence[Tried], unreached: int) -> None:
    print_lines(words.trouble(checked), err=True)
    if checked.lacking and (advised := advice(click.get_current_context())):
        click.echo(advised, err=True)
    print_lines(words.connected(tried))
    print_lines(_timings(checked))
    print_lines(words.closed_days(checked))
    click.echo(words.summary(checked, unreached), err=bool(words.exit_code(checked)))


async def _check(
    rules: Path | None, *, connect: bool
) -> tuple[Checked, Sequence[Tried], Sequence[Problem]]:
    """The check's result, the results of connecting, and warnings about deliveries that wait for missing destinations."""
    checked = await check_file(rules, os.environ, datetime.now(UTC))
    if not connect or checked.book is None or checked.settings:
        return checked, (), ()
    settings = settings_of(os.environ)[0]
    with progress_bar("Connecting") as progress:
        tried = await connect_all(checked.book, settings, os.environ, progress)
    waits: Sequence[Problem] = ()
    if not isinstance(settings.database, Path) or settings.database.exists():
        waits = await stranded_deliveries(checked.book, CommandSessions(settings.database))
    return replace(checked, warnings=(*checked.warnings, *waits)), tried, waits


def _timings(checked: Checked) -> Iterator[str]:
    """A sentence about the timing of each destination whose notifications may wait."""
    for name, destination in (checked.book.destinations if checked.book else {}).items():
        if destination.timing.waits:
            yield timing_sentence(name, destination.timing)


@click.command()
@click.argument("file", type=click.File("rb"), metavar="[CHAT.json]", required=False)
@RULES
@click.option(
    "--at",
    metavar="TIME",
    help="As if the chat had begun then: 2026-11-21 23:30, sat 23:30 (of its week) or 23:30 (of its day), "
    "in the file's time zone.",
)
@click.option(
    "--arrives",
    metavar="TIME",
    help="As if its hook came in then, for destinations with hours, digests or limits: 'fri 17:05'. Without it at the "
    "chat's end.",
)
@CHAT
@JSON
def explain(
    file: BinaryIO | None,
    rules: Path | None,
    at: str | None,
    arrives: str | None,
    chat: tuple[str, str] | None,
    *,
    as_json: bool,
) -> None:
    """Explain which rules match a chat, and why.

    CHAT.json is a hook as Smartsupp posts it; - reads it from the standard input. RULES is the rules file;
    without it, the one that RELAY_RULES names (rules.yaml). Nothing is sent.

    With --chat it explains a chat in the relay's database by the rules of the day on which it came in: why did nobody
    get it?

    Schedules are compared with the chat's own times. --at moves the chat: what if it had begun on a Saturday night?
    When a destination is notified depends on when the hook comes in: --arrives sets that time.
    """
    if (file is None) == (chat is None):
        raise click.UsageError("give either CHAT.json or --chat ACCOUNT/ID")
    if file is None:
        _explain_stored(*(chat or ("", "")), as_json=as_json)
        return
    read = open_chat(file)
    try:
        explained = explanation.explain(
            open_rules(rules), read, at or "", arrives or "", now=datetime.now(UTC)
        )
    except BadValue as bad:
        named = " / ".join(name for name, text in (("--at", at), ("--arrives", arrives)) if text)
        raise click.BadParameter(f"{bad.message}; {bad.hint}", param_hint=named) from None
    if as_json:
        print_json(words.explained_json(explained))
    else:
        print_lines(words.explained(explained))


def _explain_stored(account: str, chat: str, *, as_json: bool) -> None:
    explanations = answer_of(explanation.past_explanations(sessions(), account, chat))
    if not explanations:
        could_not_run([f"there is no chat {account}/{chat}; it may have been erased for its age"])
    if as_json:
        print_json([words.remembered_json(each) for each in explanations])
        return
    for each in explanations:
        print_lines(words.remembered(each))


@click.command()
@click.argument("country")
@click.argument(
    "years", metavar="YEAR...", nargs=-1, required=True, type=click.IntRange(1900, 2200)
)
@click.option(
    "--subdivision", metavar="BY", default="", help="A state or region with holidays of its own."
)
@JSON
def holidays(country: str, years: tuple[int, ...], subdivision: str, *, as_json: bool) -> None:
    """Write the public holidays of COUNTRY in a YEAR, for schedules to use, and print them.

    COUNTRY is its two letters, such as CZ. The days go into holidays.yaml beside the rules file that RELAY_RULES names,
    in place of those of the same country and year. A schedule uses them by `except: [holidays CZ]`, with a subdivision
    `except: [holidays DE-BY]`. Only the file counts: read it, add days, delete days. A running relay uses a saved file
    within two seconds.

    It needs the package `holidays`, beside the relay in its environment: `pip install holidays`.

    Exit code: 0 they are written; 1 the country, the subdivision or the year is not known; 2 the file or the package can't be
    used.
    """
    rules = settings_of(os.environ)[0].rules
    added = _added(rules, country, subdivision, years)
    if as_json:
        print_json([_json(each) for each in added])
        return
    print_lines(_holiday_lines(added, path_for(rules)))


def _added(rules: Path, country: str, subdivision: str, years: tuple[int, ...]) -> list[Added]:
    try:
        return add_holidays(rules, country, subdivision, years)
    except BadValue as bad:
        print_lines([f"{bad.message}; {bad.hint}" if bad.hint else bad.message], err=True)
        sys.exit(NOT_FINE)
    except (NotInstalled, RulesError) as error:
        could_not_run(str(error).splitlines())
    except OSError as error:
        could_not_run([f"{path_for(rules)}: can't be written: {error.strerror}"])


def _holiday_lines(added: list[Added], path: Path) -> Iterator[str]:
    for entry in added:
        yield f"{entry.region} {entry.year}, {counted(len(entry.days), 'holiday')}:"
        yield from (f"  {day:%a %Y-%m-%d}  {words}" for day, words in entry.days.items())
        yield from (
            f"  {day:%a %Y-%m-%d}  {words}: no longer in the file"
            for day, words in entry.gone.items()
        )
    yield f"They are in {path}; a schedule takes them by `except: [holidays {added[0].region}]`."


def _json(entry: Added) -> dict[str, object]:
    return {
        "region": entry.region,
        "year": entry.year,
        "days": {day.isoformat(): words for day, words in entry.days.items()},
        "gone": {day.isoformat(): words for day, words in entry.gone.items()},
    }
