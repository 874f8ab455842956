"""`relay mute`, `mutes`, `unmute` and `pause`: hold back for a while what a rule or a destination sends."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Literal
from zoneinfo import ZoneInfo

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import NUMBER, answer_of, author, sessions, unknown_name_words
from relay.cli.open_rules import good_rules, open_rules
from relay.cli.printing import JSON, NOT_FINE, could_not_run, counted, print_json, print_lines
from relay.outbox.history import Wanted
from relay.outbox.mutes import KeptMute
from relay.outbox.pauses import Pause
from relay.rules import RuleBook, RulesError
from relay.rules.reading.mute_reader import with_condition
from relay.rules.reading.value_parsers import BadValue, did_you_mean, duration, quoted
from relay.rules.rule_book import urgent_and_muted
from relay.rules.schedule_parser import next_moment
from relay.services.find_deliveries import unknown_names
from relay.services.muting import (
    LONGEST,
    NewMute,
    WouldHaveHeld,
    can_hold_back,
    list_mutes,
    make_mute,
    mute_json,
    would_have_held,
)
from relay.services.muting import unmute as unmute_one
from relay.services.pause_and_resume import LONGEST_PAUSE
from relay.services.pause_and_resume import pause as pause_destination
from relay.text import clean_line
from relay.timing.plan import Mute

_UTC = ZoneInfo("UTC")


def end_and_reason_options(command: Callable[..., Any]) -> Callable[..., Any]:
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
            return next_moment(until, rules.timezone if rules else _UTC, now)
        length = duration(lasting) if lasting else None
    except BadValue as bad:
        raise click.BadParameter(f"{bad.message}; {bad.hint}", param_hint=name) from None
    if length is not None and length <= timedelta():
        raise click.BadParameter("it ends when it begins", param_hint=name)
    return now + length if length else None


def reason(text: str) -> str:
    """The reason without surrounding blanks. Raises click.UsageError for an empty one."""
    if not text.strip():
        raise click.BadParameter("write why", param_hint="--because")
    return text.strip()


@click.command()
@click.argument("rule", required=False, metavar="[RULE]")
@click.option("--destination", metavar="NAME", default="", help="Mute what is sent to it.")
@click.option(
    "--when",
    metavar="CONDITIONS",
    default="",
    help="Mute chats that meet these: \"{visitor.email: {ends_with: '@example.com'}}\", as in a rule's when:.",
)
@end_and_reason_options
@click.option(
    "--then",
    type=click.Choice(["digest", "nothing"]),
    default="digest",
    help="What becomes of the chats: one digest at the end (the default), or nothing.",
)
@click.option("--also-waiting", is_flag=True, help="Also what waits already and was not tried yet.")
@click.option("--urgent-too", is_flag=True, help="Also urgent rules, where no RULE is named.")
@click.option("--alerts-too", is_flag=True, help="Also the relay's own alerts to --destination.")
@click.option("--yes", is_flag=True, help="Do not ask before a whole destination is muted.")
@JSON
def mute(
    *,
    rule: str | None,
    destination: str,
    when: str,
    until: str | None,
    lasting: str | None,
    because: str,
    by: str | None,
    then: Literal["digest", "nothing"],
    also_waiting: bool,
    urgent_too: bool,
    alerts_too: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Hold back for a while what RULE sends, or what is sent to a destination.

    At the end, what was held back is sent as one digest; with `--then nothing` it is left out. Say what is muted, why and until
    when, at most 31 days. The relay says first what it would have held back in the last seven days, and asks where a whole
    destination is muted. A mute of a rule holds back urgent rules too; others do so with --urgent-too.

    Exit code: 0 it is in force; 1 it was not confirmed; 2 it can't be made, or the database can't be used.
    """
    now, rules = datetime.now(UTC), open_rules(None)
    made = Mute(
        id=0,
        rule=rule or "",
        destination=destination,
        when=when.strip(),
        begins=now,
        until=_end(until, lasting, rules, now),
        because=reason(because),
        by=author(by),
        then=then,
        urgent_too=urgent_too,
        alerts_too=alerts_too,
    )
    _refuse_unknown(made, rules)
    rules = _with_condition(rules, made.when)
    counts = answer_of(would_have_held(sessions(), made, rules, now))
    print_lines([_preview(counts), *_of_urgent(made, rules)], err=as_json)
    if not made.rule and not yes:
        click.confirm(f"Mute {_conditions(made)}?", abort=True, err=as_json)
    done = answer_of(make_mute(sessions(), made, rules, also_waiting=also_waiting, now=now))
    if as_json:
        print_json({"mute": done.number, "until": made.until.isoformat(), "held": done.held})
    else:
        print_lines(_lines(made, done, TimeFormat(rules.timezone), also_waiting=also_waiting))


def _preview(counts: WouldHaveHeld) -> str:
    held = counted(counts.notifications, "notification")
    return f"In the last 7 days it would have held back {counted(counts.chats, 'chat')} ({held})."


def _of_urgent(mute: Mute, rules: RuleBook) -> Iterator[str]:
    """A line about urgent rules that the mute holds back, or could."""
    if not (names := urgent_and_muted(rules.rules, mute)):
        return
    listed = ", ".join(map(quoted, names))
    are = "is an urgent rule" if len(names) == 1 else "are urgent rules"
    if mute.urgent_too:
        yield f"{listed} {are}: held back as well."
    else:
        them = "it" if len(names) == 1 else "them"
        yield f"{listed} {are}: told all the same; --urgent-too holds {them} back as well."


def _lines(mute: Mute, done: NewMute, clock: TimeFormat, *, also_waiting: bool) -> Iterator[str]:
    yield f"Mute {done.number} is in force: {_conditions(mute)}, until {clock(mute.until)} ({clock.name})."
    if also_waiting:
        verb = "is" if done.held == 1 else "are"
        yield f"{counted(done.held, 'delivery')} that waited {verb} held back as well."
    yield f"`relay unmute {done.number}` ends it."


def _end(until: str | None, lasting: str | None, rules: RuleBook, now: datetime) -> datetime:
    ends = end_of(until, lasting, rules, now)
    if ends is None:
        raise click.UsageError("say when it ends: --until TIME or --for 2h")
    if ends - now > LONGEST:
        raise click.UsageError(
            f"a mute by a command lasts at most {LONGEST.days} days: a longer one belongs under `mutes:` in the rules file"
        )
    return ends


def _refuse_unknown(mute: Mute, rules: RuleBook) -> None:
    """End the command where nothing to mute is named, or the name does not exist."""
    if not (mute.rule or mute.destination or mute.when):
        raise click.UsageError("say what to mute: RULE, --destination NAME or --when CONDITIONS")
    if mute.alerts_too and (mute.rule or mute.when):
        raise click.UsageError("--alerts-too is for --destination NAME alone")
    for kind, name, known in (
        ("rule", mute.rule, [each.name for each in rules.rules]),
        ("destination", mute.destination, list(rules.destinations)),
    ):
        if name and name not in known:
            could_not_run([f"there is no {kind} {quoted(name)}; {did_you_mean(name, known)}"])


def _with_condition(rules: RuleBook, when: str) -> RuleBook:
    """The rules with a mute's condition; ends the command where it can't be read."""
    try:
        return with_condition(rules, when) if when else rules
    except RulesError as error:
        could_not_run([f"--when: {problem.words}" for problem in error.problems])


def _conditions(mute: Mute) -> str:
    """Return the conditions of a mute in words."""
    parts = [
        f"the rule {quoted(mute.rule)}" if mute.rule else "",
        f"the destination {quoted(mute.destination)}" if mute.destination else "",
        f"chats with {mute.when}" if mute.when else "",
    ]
    return ", ".join(filter(None, parts))


@click.command()
@click.option("--all", "ended", is_flag=True, help="Also those that are over.")
@JSON
def mutes(*, ended: bool, as_json: bool) -> None:
    """List the mutes in force and those to come: what is muted, until when, by whom and why, and how much each has held back.

    Mutes of the rules file are marked, and are ended in that file.

    Exit code: 0; 2 the database can't be used.
    """
    now, rules = datetime.now(UTC), good_rules()
    listed = answer_of(list_mutes(sessions(), now, ended=ended))
    if as_json:
        print_json([_as_json(each, rules, now) for each in listed])
        return
    clock = TimeFormat(rules.timezone if rules else None)
    print_lines(chain.from_iterable(_listed(each, rules, now, clock) for each in listed))
    if not listed:
        print_lines(["Nothing is muted."])


def _listed(
    kept: KeptMute, rules: RuleBook | None, now: datetime, clock: TimeFormat
) -> Iterator[str]:
    mute, marks = kept.mute, [*_marks(kept, rules, now, clock)]
    begins = f"from {clock(mute.begins)} " if mute.begins > now else ""
    yield (
        f"{mute.id}  {clean_line(_conditions(mute), 200)}: {begins}until {clock(mute.until)} ({clock.name})"
        f"{''.join(f'; {mark}' for mark in marks)}"
    )
    yield (
        f"    by {clean_line(mute.by)}: {clean_line(mute.because)}; "
        f"{'left out' if mute.then == 'nothing' else 'held back'} so far: {kept.matched}"
    )


def _marks(
    kept: KeptMute, rules: RuleBook | None, now: datetime, clock: TimeFormat
) -> Iterator[str]:
    if kept.origin == "file":
        yield "of the rules file"
    if kept.mute.urgent_too:
        yield "urgent rules too"
    if kept.mute.alerts_too:
        yield "alerts too"
    if kept.ended_at:
        yield f"ended {clock(kept.ended_at)} by {clean_line(kept.ended_by)}"
    elif not kept.lasts(now):
        yield "over"
    elif rules and not can_hold_back(kept.mute, rules):
        yield "matches no rule"


def _as_json(kept: KeptMute, rules: RuleBook | None, now: datetime) -> dict[str, Any]:
    return {
        **mute_json(kept),
        "lasts": kept.lasts(now),
        "matches_no_rule": not can_hold_back(kept.mute, rules) if rules else None,
    }


@click.command()
@click.argument("number", metavar="ID", type=NUMBER)
@click.option("--by", metavar="NAME", help="Who ends it. Default: your login name.")
def unmute(number: int, by: str | None) -> None:
    """End the mute with this ID, as `relay mutes` lists it: what it has held back is sent now, as one digest.

    If the destination has `hours:` or times in `send:`, the digest waits for them.

    Exit code: 0 it is ended; 1 it was over already, is one of the rules file, or there is none; 2 the database can't be used.
    """
    now, rules = datetime.now(UTC), good_rules()
    became, kept = answer_of(unmute_one(sessions(), number, by=author(by), rules=rules, now=now))
    if became == "ended" and kept:
        held = counted(kept.matched, "delivery") if kept.matched else "nothing"
        print_lines([f"Mute {number} is ended; it had held back {held}."])
        return
    words = {
        "over": f"mute {number} was over already",
        "of the file": f"mute {number} stands in the rules file, under `mutes:`: take it out there",
        "unknown": f"there is no mute {number}; `relay mutes` lists them",
    }
    print_lines([words[became]], err=True)
    sys.exit(NOT_FINE)


# -- pause ----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("destination")
@end_and_reason_options
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
    ends = _end_of_pause(until, lasting, rules, now)
    paused = Pause(by=author(by), until=ends, because=reason(because), since=now)
    if unknown := answer_of(unknown_names(sessions(), Wanted(destination=destination), rules)):
        could_not_run(map(unknown_name_words, unknown))
    answer_of(pause_destination(sessions(), destination, paused))
    clock = TimeFormat(rules.timezone if rules else None)
    words = f"until {clock(ends)} ({clock.name})" if ends else "until `relay resume`"
    print_lines([f"{destination} is paused {words}: what is to be sent there waits"])


def _end_of_pause(
    until: str | None, lasting: str | None, rules: RuleBook | None, now: datetime
) -> datetime | None:
    ends = end_of(until, lasting, rules, now)
    if ends and ends > now + LONGEST_PAUSE:
        words = "it is more than a year from now; leave it out to pause until `relay resume`"
        raise click.BadParameter(words, param_hint="--until")
    return ends
