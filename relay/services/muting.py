"""Makes, lists and ends mutes, which hold back for a while what a rule or a destination sends."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from relay.crash_points import CrashPoint, reach
from relay.outbox.database_session import CommandSessions, Session, Sessions
from relay.outbox.mutes import (
    KeptMute,
    Origin,
    add_mute,
    all_mutes,
    end_mute,
    find_mute,
    hold_waiting,
    lasting_mutes,
)
from relay.rules import RuleBook
from relay.rules.reading.mute_reader import with_condition
from relay.runtime.startup import read_rule_book
from relay.services import Progress, in_thread, read_all, read_in_thread, write_in_thread
from relay.services.child_process import Reporter
from relay.settings.database import Database
from relay.settings.table import Settings
from relay.smartsupp import UnreadableHook, read_chat
from relay.timing.plan import AT_ONCE, MUTED, Mute, Plan, Timing, plan

LONGEST = timedelta(days=31)
"""The longest mute that a command makes. A longer one belongs in the rules file, where others see it."""
LOOKED_BACK = timedelta(days=7)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WouldHaveHeld:
    """The chats that a mute would have held back in the last seven days, by the present rules."""

    chats: int
    notifications: int
    """How many matches of a rule and a destination."""


async def would_have_held(
    sessions: Sessions,
    mute: Mute,
    rules: RuleBook,
    now: datetime,
) -> WouldHaveHeld:
    """What the mute would have held back in the last seven days. `rules` must include the mute's condition."""
    return await in_thread(lambda report: _held_by(sessions, mute, rules, now, report))


def _held_by(
    sessions: Sessions, mute: Mute, rules: RuleBook, now: datetime, report: Progress
) -> WouldHaveHeld:
    since = now - LOOKED_BACK
    always = replace(mute, begins=since, until=now)
    held: set[tuple[str, str, str, str]] = set()
    for hook in read_all(sessions, report, since=since):
        try:
            chat = read_chat(hook.body, hook.received_at)
        except UnreadableHook:
            continue
        if mute.when and not rules.meets(mute.when, chat):
            continue
        held |= {
            (hook.account, hook.chat, match.rule, match.destination)
            for match in rules.matches(chat)
            if always.holds(
                rule=match.rule, urgent=match.urgent, destination=match.destination, arrived=since
            )
        }
    return WouldHaveHeld(len({key[:2] for key in held}), len(held))


class MuteTrial(Struct, frozen=True, kw_only=True):
    """A mute that may be made, with the data to count what it would have held back."""

    database: Database
    rules: bytes
    """The bytes of the rules file in force."""
    path: Path
    """The path of the rules file."""
    templates: Path | None
    mute: Mute
    now: datetime


def try_mute(trial: MuteTrial, reporter: Reporter) -> WouldHaveHeld:
    """Count like `would_have_held`, in a child process. Raises RulesError, StorageRefused and StorageUnavailable."""
    settings = Settings(templates=trial.templates)
    rules = read_rule_book(trial.rules, str(trial.path), settings)
    if trial.mute.when:
        rules = with_condition(rules, trial.mute.when)
    sessions = CommandSessions(trial.database)
    return _held_by(sessions, trial.mute, rules, trial.now, reporter.progress)


@dataclass(frozen=True, slots=True)
class NewMute:
    """A new mute, which is in force on every relay within two seconds."""

    number: int
    held: int
    """How many deliveries that waited already it holds back as well."""


async def make_mute(
    sessions: Sessions,
    mute: Mute,
    rules: RuleBook,
    *,
    origin: Origin = "command",
    also_waiting: bool = False,
    now: datetime,
) -> NewMute:
    """Make a mute. `also_waiting`: also hold back deliveries that wait already and were not tried yet."""

    def work(_: Progress) -> NewMute:
        with sessions.writing() as session:
            sql, cursor = session.operations.sql, session.cursor
            key = secrets.token_hex(16)
            number = add_mute(sql, cursor, mute, origin=origin, key=key, via=origin, now=now)
            numbered = replace(mute, id=number)

            def plan_of(rule: str, destination: str, body: bytes) -> Plan | None:
                if mute.when and not rules.meets(mute.when, read_chat(body)):
                    return None
                return _as_muted(numbered, rules, rule, destination)

            held = hold_waiting(sql, cursor, number, plan_of, now) if also_waiting else 0
            reach(CrashPoint.MUTED)
        return NewMute(number, held)

    made = await in_thread(work)
    log.info("%s mutes %s", mute.by, mute.rule or mute.destination or "by a condition")
    return made


def _as_muted(mute: Mute, rules: RuleBook, rule: str, destination: str) -> Plan | None:
    """The plan of a waiting delivery when the mute begins; None where the mute does not apply to it."""
    planned = plan(
        rule=rule,
        urgent=any(each.urgent for each in rules.rules if each.name == rule),
        destination=destination,
        timing=timings_of(rules).get(destination, AT_ONCE),
        mutes=[mute],
        arrived=mute.begins,
    )
    return planned if planned.why.startswith(MUTED) else None


def can_hold_back(mute: Mute, rules: RuleBook) -> bool:
    """Whether the rules file has a rule that the mute can hold back."""
    return any(
        mute.rule in {"", rule.name} and (not mute.destination or mute.destination in rule.send_to)
        for rule in rules.rules
    )


def timings_of(rules: RuleBook | None) -> Mapping[str, Timing]:
    """The timing of each destination of the rules file, by name; empty without rules."""
    return {name: each.timing for name, each in rules.destinations.items()} if rules else {}


async def list_mutes(sessions: Sessions, now: datetime, *, ended: bool = False) -> list[KeptMute]:
    """The mutes that are in force or will be; with `ended` all that ever were."""

    def work(session: Session) -> list[KeptMute]:
        sql, cursor = session.operations.sql, session.cursor
        return all_mutes(sql, cursor) if ended else lasting_mutes(sql, cursor, now)

    return await read_in_thread(sessions, work)


Unmuted = tuple[Literal["ended", "over", "of the file", "unknown"], KeptMute | None]


async def unmute(
    sessions: Sessions, number: int, *, by: str, rules: RuleBook | None, now: datetime
) -> Unmuted:
    """End a mute early: what it has held back is sent now, or at its destination's next digest or hours.

    Mutes of the rules file are not changed, nor those that have ended.
    """

    def work(session: Session) -> Unmuted:
        sql, cursor = session.operations.sql, session.cursor
        kept = find_mute(sql, cursor, number)
        if kept is None:
            return "unknown", None
        if not kept.lasts(now):
            return "over", kept
        if kept.origin == "file":
            return "of the file", kept
        end_mute(sql, cursor, number, by=by, timings=timings_of(rules), now=now)
        return "ended", kept

    done = await write_in_thread(sessions, work)
    if done[0] == "ended":
        log.info("%s ends mute %d", by, number)
    return done


def mute_json(kept: KeptMute) -> dict[str, Any]:
    """A mute as `relay mutes --json` and `relay export` print it."""
    mute = kept.mute
    return {
        "id": mute.id,
        "origin": kept.origin,
        "rule": mute.rule or None,
        "destination": mute.destination or None,
        "when": mute.when or None,
        "from": mute.begins.isoformat(),
        "until": mute.until.isoformat(),
        "because": mute.because,
        "by": mute.by,
        "then": mute.then,
        "urgent_too": mute.urgent_too,
        "alerts_too": mute.alerts_too,
        "held": kept.matched,
        "ended_at": kept.ended_at.isoformat() if kept.ended_at else None,
        "ended_by": kept.ended_by or None,
    }
