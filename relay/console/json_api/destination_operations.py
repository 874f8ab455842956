"""Destinations, mutes and the relay's health, as the JSON API tells them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import HttpMethod
from msgspec import Struct

from relay import __version__
from relay.console.delivery_pages import cure_lines
from relay.console.json_api.operation import Call, Operations
from relay.console.json_api.problem_details import not_there
from relay.delivery.lane import Lane, LaneState
from relay.outbox.mutes import KeptMute
from relay.outbox.people import Role
from relay.services.find_deliveries import WaitingGroup, waiting_by_cause
from relay.services.muting import is_about_anything, list_mutes

destinations = Operations("Destinations")
mutes = Operations("Mutes")
health = Operations("Health")


class DestinationName(Struct, forbid_unknown_fields=True):
    """A path that ends with a destination's name."""

    name: str


class PausedBy(Struct, kw_only=True):
    """Who has paused a destination."""

    by: str
    because: str
    since: datetime | None
    until: datetime | None
    """Null: until somebody resumes it."""


class Destination(Struct, kw_only=True):
    """How it goes with one destination."""

    name: str
    transport: str
    state: LaneState
    since: datetime | None
    """When the trouble began."""
    paused: PausedBy | None
    waits: int
    oldest: datetime | None
    """When what waits longest was queued."""
    detail: str
    """The server's words."""
    cure: tuple[str, ...]
    """What to do about them, and the command to run then."""
    rules: list[str]
    """That send there."""


class LostDeliveries(Struct, kw_only=True):
    """Deliveries to a destination that is not in the rules any more."""

    name: str
    waits: int


class DestinationList(Struct, kw_only=True):
    """All destinations of the rules in force, and what waits for others."""

    destinations: list[Destination]
    lost: list[LostDeliveries]


class Mute(Struct, kw_only=True):
    """What is held back for a while."""

    id: int
    origin: str
    """file, command or console."""
    rule: str | None
    destination: str | None
    when: str | None
    begins: datetime
    until: datetime
    because: str
    by: str
    then: Literal["digest", "nothing"]
    urgent_too: bool
    alerts_too: bool
    held: int
    """How many deliveries it has held back or left out."""
    matches_no_rule: bool
    """Nothing in the rules in force is what it is about."""


class MuteList(Struct, kw_only=True):
    """The mutes that hold or will."""

    mutes: list[Mute]


class OpenTrouble(Struct, kw_only=True):
    """Something that is wrong with the relay."""

    kind: str
    subject: str
    since: datetime
    why: str
    told: tuple[str, ...]
    """Destinations that got the alert."""


class Readiness(Struct, kw_only=True):
    """What /readyz says. Where the database does not answer, the rest is empty."""

    ready: bool
    reasons: list[str]
    """Why no hook can be taken."""
    deliveries: Mapping[str, int] = {}
    oldest_queued_seconds: int = 0
    next_scheduled: datetime | None = None
    clock: str | None = None
    broken_destinations: Mapping[str, str] = {}
    destinations_not_in_the_rules: Mapping[str, int] = {}
    hooks_set_aside: int = 0
    last_hook: datetime | None = None


class RulesInForce(Struct, kw_only=True):
    """The rules file."""

    hash: str
    rules: int
    problems_of_the_saved_file: tuple[str, ...]
    """Why the file, as it was saved last, can't be used; empty where it is in force."""


class HealthAnswer(Struct, kw_only=True):
    """How the relay is."""

    version: str
    readiness: Readiness
    troubles: list[OpenTrouble]
    alerts_to: tuple[str, ...]
    rules: RulesInForce
    kept_days: int | None
    """Chats are erased then; null: never."""


@destinations.operation(HttpMethod.GET, "/destinations", Role.VIEWER)
async def list_destinations(call: Call) -> DestinationList:
    """How it goes with each destination, and what waits there."""
    lanes = call.running.parts.in_force.lanes
    waiting = await waiting_by_cause(call.running.parts.outbox.sessions)
    lost = dict.fromkeys(each.destination for each in waiting if each.destination not in lanes)
    return DestinationList(
        destinations=[_destination(call, lane, waiting) for lane in lanes.values()],
        lost=[LostDeliveries(name=name, waits=_count(waiting, name)) for name in lost],
    )


@destinations.operation(HttpMethod.GET, "/destinations/{name}", Role.VIEWER)
async def get_destination(call: Call, path: DestinationName) -> Destination:
    """How it goes with one destination, and what waits there."""
    lane = call.running.parts.in_force.lanes.get(path.name)
    if lane is None:
        raise not_there("such destination in the rules in force")
    waiting = await waiting_by_cause(call.running.parts.outbox.sessions)
    return _destination(call, lane, waiting)


def _count(waiting: list[WaitingGroup], name: str) -> int:
    return sum(each.count for each in waiting if each.destination == name)


def _destination(call: Call, lane: Lane, waiting: list[WaitingGroup]) -> Destination:
    now, groups = call.running.clock(), [each for each in waiting if each.destination == lane.name]
    state = lane.state(now)
    detail = lane.gate.reason if lane.gate else ""
    detail = detail or next((each.detail for each in groups if each.detail), "")
    paused = lane.paused if state is LaneState.PAUSED else None
    return Destination(
        name=lane.name,
        transport=lane.destination.transport,
        state=state,
        since=lane.trouble_since,
        paused=PausedBy(
            by=paused.by, because=paused.because, since=paused.since, until=paused.until
        )
        if paused
        else None,
        waits=_count(waiting, lane.name),
        oldest=min((each.oldest for each in groups), default=None),
        detail=detail,
        cure=cure_lines(detail, lane.name),
        rules=[
            rule.name
            for rule in call.running.parts.in_force.rules.rules
            if lane.name in rule.send_to
        ],
    )


@mutes.operation(HttpMethod.GET, "/mutes", Role.VIEWER)
async def find_mutes(call: Call) -> MuteList:
    """The mutes that hold or will, by whom, until when and why."""
    found = await list_mutes(call.running.parts.outbox.sessions, call.running.clock())
    return MuteList(mutes=[_mute(call, each) for each in found])


def _mute(call: Call, kept: KeptMute) -> Mute:
    mute = kept.mute
    return Mute(
        id=mute.id,
        origin=kept.origin,
        rule=mute.rule or None,
        destination=mute.destination or None,
        when=mute.when or None,
        begins=mute.begins,
        until=mute.until,
        because=mute.because,
        by=mute.by,
        then=mute.then,
        urgent_too=mute.urgent_too,
        alerts_too=mute.alerts_too,
        held=kept.matched,
        matches_no_rule=not is_about_anything(mute, call.running.parts.in_force.rules),
    )


@health.operation(HttpMethod.GET, "/health", Role.VIEWER)
async def get_health(call: Call) -> HealthAnswer:
    """Whether hooks are taken, what is wrong, and which rules are in force."""
    running = call.running
    _, readiness = await running.health.readiness()
    book, keeps = running.parts.in_force.rules, running.ready.settings.retention
    known: dict[str, Any] = {
        each.encode_name: readiness[each.encode_name]
        for each in msgspec.structs.fields(Readiness)
        if each.encode_name in readiness
    }
    return HealthAnswer(
        version=__version__,
        readiness=msgspec.convert(known, Readiness),
        troubles=[
            OpenTrouble(
                kind=each.kind,
                subject=each.subject,
                since=each.since,
                why=each.why,
                told=tuple(each.told),
            )
            for each in running.watch.glance.troubles
        ],
        alerts_to=tuple(book.alerts_to),
        rules=RulesInForce(
            hash=book.hash,
            rules=len(book.rules),
            problems_of_the_saved_file=tuple(running.parts.reload.problems),
        ),
        kept_days=keeps.days if keeps else None,
    )
