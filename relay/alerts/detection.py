"""What is wrong just now. Pure: all that it is judged by comes in as values."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from relay.outbox import Gate
from relay.outbox.troubles import Trouble
from relay.rules.schedules import Silence

LATE = timedelta(minutes=15)
"""How long a delivery may wait while nothing passes, before somebody is told."""


class Kind(StrEnum):
    """The kinds of trouble that the relay tells of."""

    BROKEN = "destination broken"
    """Somebody has to fix it; its deliveries wait."""
    LATE = "deliveries late"
    """Something has waited for long, and nothing has passed meanwhile."""
    REMOVED = "destination removed"
    """The rules file has none of this name any more, and deliveries wait for it."""
    CEILING = "ceiling reached"
    """More is to be sent there than it gets in an hour; the others wait."""
    FAILED = "deliveries failed"
    """Ended for good, and nobody was told instead. It happens; it is never over."""
    RULES = "rules file"
    """As saved it can't be used."""
    STORAGE = "hooks refused"
    """The disk is nearly full."""
    DATABASE = "database"
    """The database is gone, can't be written, or lacks something: notifications wait. Told without it."""
    LOST = "data lost"
    """At a start the database file was gone, or older than what was written to it. It happens; it is never over."""
    SILENCE = "silence"
    """No chat has come in for too long."""
    FLOOD = "too many chats"
    """Far more chats come in than usual."""
    MUTED = "still muted"
    """A mute lasts for long, or is about to end. It happens; it is never over."""
    PAUSED = "still paused"
    """A pause lasts for long. It happens; it is never over."""
    UNREACHED = "rule reaches nobody"
    """At a destination whose recipients the chat chooses. It happens; it is never over."""
    UNASKED = "rule not asked"
    """About a chat: it took too long, or failed."""

    @property
    def is_of_a_destination(self) -> bool:
        return self in {
            *(Kind.BROKEN, Kind.LATE, Kind.REMOVED, Kind.FAILED, Kind.CEILING),
        }

    @property
    def is_of_a_rule(self) -> bool:
        return self in {Kind.UNREACHED, Kind.UNASKED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that one look finds, by which is judged what is wrong."""

    destinations: Collection[str]
    """Names of the destinations in the rules file."""
    paused: Collection[str] = ()
    """Destinations that somebody has paused: what waits there is meant to."""
    gates: Mapping[str, Gate]
    queued: Mapping[str, int]
    """How many wait, for each destination."""
    scheduled: Mapping[str, int] = field(default_factory=dict)
    """How many wait for their time, for each destination."""
    oldest: Mapping[str, datetime]
    """When the oldest of them was first queued."""
    worked: Mapping[str, datetime]
    """When something last passed, where that is known."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What was said last of those that wait."""
    heard: datetime
    """When the last chat came in, or since when one was waited for."""
    silence: Silence | None
    full: Mapping[str, int] = field(default_factory=dict)
    """How many an hour may be sent, for each destination that has had so many."""
    flood: int = 0
    """How many chats came in within an hour, where those are far more than usual."""
    rules: str = ""
    """What is wrong with the rules file as saved."""
    storage: str = ""
    """Why no hooks are taken."""
    box: str = ""
    """Tells this relay's files from those of others that share its database."""

    @property
    def broken(self) -> Mapping[str, Gate]:
        return {
            name: gate
            for name, gate in self.gates.items()
            if gate.broken_since is not None and name in self.destinations
        }

    def late(self, now: datetime) -> Iterator[str]:
        """Destinations of the rules file where something has waited for long."""
        return (
            name
            for name, since in self.oldest.items()
            if now - since >= LATE and name in self.destinations and name not in self.paused
        )


def now_wrong(seen: Seen, now: datetime) -> dict[tuple[str, str], Trouble]:
    """All that is wrong now, by kind and subject."""
    return {trouble.key: trouble for trouble in _wrong(seen, now)}


def _wrong(seen: Seen, now: datetime) -> Iterator[Trouble]:
    yield from _of_destinations(seen, now)
    if seen.rules:
        yield Trouble(kind=Kind.RULES, subject=seen.box, since=now, why=seen.rules)
    if seen.storage:
        yield Trouble(kind=Kind.STORAGE, subject=seen.box, since=now, why=seen.storage)
    if seen.flood:
        yield Trouble(kind=Kind.FLOOD, subject="", since=now, waiting=seen.flood)
    if seen.silence and seen.silence.begins(seen.heard, now):
        yield Trouble(
            kind=Kind.SILENCE, subject="", since=seen.heard, why=", ".join(seen.silence.schedules)
        )


def _of_destinations(seen: Seen, now: datetime) -> Iterator[Trouble]:
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
    for name in seen.late(now):
        worked = seen.worked.get(name)
        if not {name} & {*seen.broken, *seen.full} and (worked is None or now - worked >= LATE):
            yield Trouble(
                kind=Kind.LATE,
                subject=name,
                since=seen.oldest[name],
                why=seen.words.get(name, ""),
                waiting=seen.queued[name],
            )
