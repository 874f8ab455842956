"""`relay pause`: send nothing to a destination for a while; and the options for the reason, the person and the end."""

import getpass
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import answer_of, not_known, sessions
from relay.cli.open_rules import good_rules
from relay.cli.printing import could_not_run, print_lines
from relay.outbox.history import Wanted
from relay.outbox.pauses import Pause
from relay.rules import RuleBook
from relay.rules.reading.value_parsers import BadValue, duration
from relay.rules.schedule_parser import coming
from relay.services.find_deliveries import unknown_names
from relay.services.pause_and_resume import LONGEST_PAUSE
from relay.services.pause_and_resume import pause as pause_destination

_UTC = ZoneInfo("UTC")


def ends_and_why(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds the options --by, --because, --for and --until."""
    for option in (
        click.option("--by", metavar="NAME", help="Who wants it. Default: your login name."),
        click.option("--because", metavar="REASON", required=True, help="Why, for others to read."),
        click.option("--for", "lasting", metavar="2h", help="How long: 30m, 2h, 3d."),
        click.option(
            "--until",
            metavar="TIME",
            help='When it ends: "mon 08:00", 17:30 or "2026-12-07 08:00", in the time zone of the rules file.',
        ),
    ):
        command = option(command)
    return command


def end_of(
    until: str | None, lasting: str | None, rules: RuleBook | None, now: datetime
) -> datetime | None:
    """The end of a pause or mute by --until or --for; None where neither is given. Raises click.UsageError."""
    if until and lasting:
        raise click.UsageError("--until and --for can't be used together")
    name = "--until" if until else "--for"
    try:
        if until:
            return coming(until, rules.timezone if rules else _UTC, now)
        length = duration(lasting) if lasting else None
    except BadValue as bad:
        raise click.BadParameter(f"{bad.what}; {bad.hint}", param_hint=name) from None
    if length is not None and length <= timedelta():
        raise click.BadParameter("it ends when it begins", param_hint=name)
    return now + length if length else None


def author(by: str | None) -> str:
    """The name of the acting person: `by`, or else the login name."""
    if by and by.strip():
        return by.strip()
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def refuse_unknown(wanted: Wanted, rules: RuleBook | None) -> None:
    """End the command where neither the rules nor the history have a name in `wanted`."""
    if unknown := answer_of(unknown_names(sessions(), wanted, rules)):
        could_not_run(map(not_known, unknown))


def reason(text: str) -> str:
    """The reason without surrounding blanks. Raises click.UsageError for an empty one."""
    if not text.strip():
        raise click.BadParameter("write why", param_hint="--because")
    return text.strip()


@click.command()
@click.argument("destination")
@ends_and_why
def pause(
    destination: str, until: str | None, lasting: str | None, because: str, by: str | None
) -> None:
    """Send nothing to DESTINATION until the pause ends: what is to be sent there waits, and nothing is lost.

    It holds for all relays that share the database, over restarts too, and whatever the relay learns of the server meanwhile.
    It ends at --until or after --for, else when somebody runs `relay resume`; then all that has waited is sent, the oldest first.
    Alerts of the relay itself go to the other destinations of `alerts_to`. A second pause takes the place of the first.

    Exit code: 0 it is paused; 2 there is no such destination, or the database can't be used.
    """
    now, rules = datetime.now(UTC), good_rules()
    ends = end_of(until, lasting, rules, now)
    if ends and ends > now + LONGEST_PAUSE:
        words = "it is more than a year from now; leave it out to pause until `relay resume`"
        raise click.BadParameter(words, param_hint="--until")
    paused = Pause(by=author(by), until=ends, because=reason(because), since=now)
    refuse_unknown(Wanted(destination=destination), rules)
    answer_of(pause_destination(sessions(), destination, paused))
    clock = TimeFormat(rules.timezone if rules else None)
    words = f"until {clock(ends)} ({clock.name})" if ends else "until `relay resume`"
    print_lines([f"{destination} is paused {words}: what is to be sent there waits"])
