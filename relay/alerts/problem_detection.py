"""Detects problems: present ones from what one look at the relay has found, and floods from counts of hooks."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import median

import sqlalchemy as sa

from relay.outbox import Gate
from relay.outbox.pace import BEGIN_PACE, READ_PACE, WRITE_PACE
from relay.outbox.schema import hooks
from relay.outbox.statements import Query, Statements
from relay.outbox.troubles import Trouble
from relay.outbox.writer import Cursor
from relay.rules import RuleBook
from relay.timing.schedule import Silence

LATE = timedelta(minutes=15)
"""How long a delivery may wait while nothing arrives, before there is an alert."""
LONG_ATTEMPT = timedelta(minutes=1)
"""An attempt that takes longer is no reason to expect that its delivery is about to arrive."""


class Kind(StrEnum):
    """The kinds of problems that lead to alerts."""

    BROKEN = "destination broken"
    """The destination refuses everything until somebody fixes it; its deliveries wait."""
    LATE = "deliveries late"
    """A delivery has waited for long, and no other has arrived since."""
    REMOVED = "destination removed"
    """Deliveries wait for a destination that the rules file does not have any more."""
    CEILING = "ceiling reached"
    """The destination has reached its hourly limit, and deliveries wait."""
    FAILED = "deliveries failed"
    """Deliveries have failed and did not go to a fallback. An event, which is never over."""
    RULES = "rules file"
    """The saved rules file can't be used."""
    STORAGE = "hooks refused"
    """The disk is nearly full, so that hooks are refused."""
    DATABASE = "database"
    """The database is gone, can't be written, or lacks something: notifications wait. The alert is sent without it."""
    LOST = "data lost"
    """At the start the database file was gone, or older than what was written to it. An event, which is never over."""
    SILENCE = "silence"
    """No chat has come in for too long."""
    FLOOD = "too many chats"
    """Far more chats come in than usual."""
    MUTED = "still muted"
    """A mute lasts for long, or is about to end. An event, which is never over."""
    PAUSED = "still paused"
    """A pause lasts for long. An event, which is never over."""
    UNREACHED = "rule reaches nobody"
    """A rule reaches nobody for a chat that chooses the recipients. An event, which is never over."""
    UNASKED = "rule not asked"
    """A rule could not be evaluated for a chat: it took too long, or failed. An event, which is never over."""

    @property
    def is_of_a_destination(self) -> bool:
        """Whether the subject of such a problem is a destination's name."""
        return self in {
            *(Kind.BROKEN, Kind.LATE, Kind.REMOVED, Kind.FAILED, Kind.CEILING),
        }

    @property
    def is_of_a_rule(self) -> bool:
        """Whether the subject of such a problem is a rule's name."""
        return self in {Kind.UNREACHED, Kind.UNASKED}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """The state that only this process knows, not the database."""

    rules: RuleBook
    rules_trouble: str = ""
    """Why the saved rules file can't be used; empty where it can."""
    storage_trouble: str = ""
    worked: Mapping[str, datetime] = field(default_factory=dict)
    """When a delivery last arrived, by destination."""
    broken: Collection[str] = ()
    """Destinations that are broken, as this process sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The present problems, as the last look found them."""

    troubles: tuple[Trouble, ...] = ()
    """All problems, each with the destinations that an alert about it has reached or is about to reach."""
    unreached: tuple[Trouble, ...] = ()
    """Problems about which no alert has reached anybody."""
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What happened to the alerts about the problems in `unreached`, by kind and subject; missing where no destination could be used."""
    last_chat: datetime | None = None
    """When the last chat came in, or since when the relay waits for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of the relay at one moment, from which its problems are detected."""

    destinations: Collection[str]
    """Names of the destinations in the rules file."""
    paused: Collection[str] = ()
    """Destinations that somebody has paused, where deliveries wait on purpose."""
    gates: Mapping[str, Gate]
    queued: Mapping[str, int]
    """How many deliveries are queued, by destination."""
    scheduled: Mapping[str, int] = field(default_factory=dict)
    """How many deliveries wait for their time, by destination."""
    hanging: Mapping[str, int] = field(default_factory=dict)
    """How many deliveries are in a long attempt, by destination."""
    oldest: Mapping[str, datetime]
    """When the oldest delivery that is queued or in a long attempt was queued, by destination."""
    late_before: Collection[str] = ()
    """Destinations whose deliveries were late at the last look. What holds them back since then does not end that."""
    worked: Mapping[str, datetime]
    """When a delivery last arrived, by destination, where that is known."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The last error of a delivery that is late, by destination."""
    last_chat: datetime
    """When the last chat came in, or when the relay began to wait for one."""
    silence: Silence | None
    full: Mapping[str, int] = field(default_factory=dict)
    """The hourly limit of each destination that has reached it."""
    flood: int = 0
    """How many chats came in within an hour, if far more than usual; else 0."""
    rules: str = ""
    """The problems of the saved rules file; empty for none."""
    storage: str = ""
    """Why hooks are refused; empty where they are not."""
    box: str = ""
    """Names this relay's host where others share its database; else empty."""

    @property
    def broken(self) -> Mapping[str, Gate]:
        """The gates of broken destinations that the rules have, by name."""
        return {
            name: gate
            for name, gate in self.gates.items()
            if gate.broken_since is not None and name in self.destinations
        }

    def late(self, now: datetime) -> Iterator[str]:
        """The destinations of the rules file for which a delivery has waited longer than LATE."""
        return (
            name
            for name, since in self.oldest.items()
            if now - since >= LATE
            and name in self.destinations
            and (name in self.late_before or name not in self.paused)
        )


def troubles_in(seen: Snapshot, now: datetime) -> dict[tuple[str, str], Trouble]:
    """All present problems, by kind and subject."""
    return {trouble.key: trouble for trouble in _troubles(seen, now)}


def _troubles(seen: Snapshot, now: datetime) -> Iterator[Trouble]:
    yield from _of_destinations(seen, now)
    if seen.rules:
        yield Trouble(kind=Kind.RULES, subject=seen.box, since=now, why=seen.rules)
    if seen.storage:
        yield Trouble(kind=Kind.STORAGE, subject=seen.box, since=now, why=seen.storage)
    if seen.flood:
        yield Trouble(kind=Kind.FLOOD, subject="", since=now, waiting=seen.flood)
    if (silence := seen.silence) and silence.begins(seen.last_chat, now):
        yield Trouble(
            kind=Kind.SILENCE, subject="", since=seen.last_chat, why=", ".join(silence.schedules)
        )


def _of_destinations(seen: Snapshot, now: datetime) -> Iterator[Trouble]:
    for name, gate in seen.broken.items():
        since = gate.broken_since or now
        waiting = seen.queued.get(name, 0)
        yield Trouble(kind=Kind.BROKEN, subject=name, since=since, why=gate.reason, waiting=waiting)
    for name in seen.queued.keys() | seen.scheduled.keys():
        if name not in seen.destinations:
            waiting = seen.queued.get(name, 0) + seen.scheduled.get(name, 0)
            yield Trouble(kind=Kind.REMOVED, subject=name, since=now, waiting=waiting)
    for name, most in seen.full.items():
        if waiting := seen.queued.get(name, 0):
            yield Trouble(
                kind=Kind.CEILING, subject=name, since=now, why=str(most), waiting=waiting
            )
    yield from _late(seen, now)


def _late(seen: Snapshot, now: datetime) -> Iterator[Trouble]:
    """A problem for each destination for which a delivery has waited too long without a known reason."""
    for name in seen.late(now):
        worked = seen.worked.get(name)
        is_held_back = name in {*seen.broken, *seen.full} and name not in seen.late_before
        if not is_held_back and (worked is None or now - worked >= LATE):
            yield Trouble(
                kind=Kind.LATE,
                subject=name,
                since=seen.oldest[name],
                why=seen.words.get(name, ""),
                waiting=seen.queued.get(name, 0) + seen.hanging.get(name, 0),
            )


def stranded(queued: Mapping[str, int], destinations: Collection[str]) -> dict[str, str]:
    """Destinations with waiting deliveries that the rules do not have, each with a sentence on what to do.

    `queued`: how many wait, by destination. `destinations`: names of those in the rules.
    """
    return {
        name: f"{count} {'delivery waits' if count == 1 else 'deliveries wait'} for it, and the rules file does not"
        f" have it: put it back, or send what waits elsewhere with `{move_command(name)}`"
        for name, count in sorted(queued.items())
        if name not in destinations
    }


def move_command(destination: str) -> str:
    """The command that sends deliveries waiting for a destination elsewhere."""
    return f"relay move-deliveries {shlex.quote(destination)} NEW"


# -- floods of hooks ------------------------------------------------------------------------------------------

_NEWEST_HOOK = Query(sa.select(sa.func.coalesce(sa.func.max(hooks.c.id), 0)))
KEPT_HOURS = 14 * 24
"""How many hours are remembered."""
FEWEST = 200
"""Hooks in an hour that are never too many."""
TIMES = 4
"""An hour is a flood if it has more than this many times the hooks of a usual day's busiest hour."""
_HOOKS = "hooks: at the beginning of each hour"
"""The name of the row in `paces`."""


def flood(sql: Statements, cursor: Cursor, now: datetime) -> int:
    """How many hooks came in this hour or the one before, if that is far more than usual; else 0.

    Stores the number of the newest hook at the beginning of each hour.
    """
    hour = int(now.timestamp()) // 3600
    newest = sql[_NEWEST_HOOK].run(cursor).fetchone()[0]
    row = sql[READ_PACE].run(cursor, of_destination=_HOOKS).fetchone()
    if row is None and sql[BEGIN_PACE].run(cursor, destination=_HOOKS).rowcount != 1:
        return 0  # another relay has the row
    begun = {at: first for at, first in json.loads(row[0] if row else "[]") if at <= hour}
    if hour not in begun:
        begun[hour] = newest
        recorded = [(at, first) for at, first in begun.items() if hour - at <= KEPT_HOURS]
        sql[WRITE_PACE].run(cursor, of_destination=_HOOKS, begun=json.dumps(recorded))
    counts = counts_of({**begun, hour + 1: newest})
    recent = max(counts.get(hour, 0), counts.get(hour - 1, 0))
    earlier = {at: count for at, count in counts.items() if at < hour - 1}
    return recent if recent > max(FEWEST, TIMES * busiest_hour(earlier)) else 0


def counts_of(begun: Mapping[int, int]) -> dict[int, int]:
    """How many hooks came in each hour, counted from 1970, whose beginning and end are known.

    `begun`: the number of the newest hook at the beginning of each hour.
    """
    return {
        at: max(0, end - first)
        for (at, first), (following, end) in pairwise(sorted(begun.items()))
        if following == at + 1
    }


def busiest_hour(counts: Mapping[int, int]) -> float:
    """The hooks of a usual day's busiest hour: the median over all days, 0 without any. A flood of a few days hardly changes it."""
    by_day: dict[int, int] = {}
    for hour, count in counts.items():
        by_day[hour // 24] = max(count, by_day.get(hour // 24, 0))
    return median(by_day.values()) if by_day else 0
