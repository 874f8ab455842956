"""Destinations, as the JSON API tells, pauses and tests them."""

import time
from datetime import datetime
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.acts import act_of, write_act
from relay.console.delivery_pages import cure_lines
from relay.console.destination_page import LONGEST_TEST
from relay.console.json_api.call import Call, Instant, Line, Reason
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, not_there, wrong
from relay.delivery.lane import Lane, LaneState
from relay.outbox.pauses import Pause
from relay.outbox.people import Role
from relay.services.find_deliveries import WaitingGroup, waiting_by_cause
from relay.services.resume import LONGEST_PAUSE, pause, resume
from relay.services.trial_send import CantTest, queued_test, trial_of
from relay.transports.outcome import Ending

destinations = Operations("Destinations")


class DestinationName(Struct, forbid_unknown_fields=True):
    """A path that ends with a destination's name."""

    name: str
    """The name of a destination in force, percent-encoded."""


class PausedBy(Struct, kw_only=True):
    """Who has paused a destination."""

    by: str
    """Who paused it."""
    because: str
    """Why, in their words."""
    since: datetime | None
    """When the pause began, in UTC; null where that is not known."""
    until: datetime | None
    """Null: until somebody resumes it."""


class Destination(Struct, kw_only=True):
    """How it goes with one destination."""

    name: str
    """As the rules file has it."""
    transport: str
    """email, slack, teams or webhook."""
    state: LaneState
    """How it is: works, paused, broken, rate limited, ceiling reached or does not answer."""
    since: datetime | None
    """When the trouble began."""
    paused: PausedBy | None
    """By whom and why; null where it is not paused."""
    waits: int
    """How many deliveries wait for it."""
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
    """Of the destination, as it was in the rules."""
    waits: int
    """How many deliveries wait."""


class DestinationList(Struct, kw_only=True):
    """All destinations of the rules in force, and what waits for others."""

    destinations: list[Destination]
    """In the order of the rules file."""
    lost: list[LostDeliveries]
    """What waits for destinations that are not in the rules any more."""


@destinations.operation(HttpMethod.GET, "/destinations", Role.VIEWER)
async def list_destinations(call: Call) -> DestinationList:
    """How it goes with each destination, and what waits there."""
    lanes = call.running.parts.in_force.lanes
    waiting = await waiting_by_cause(call.sessions)
    lost = dict.fromkeys(each.destination for each in waiting if each.destination not in lanes)
    return DestinationList(
        destinations=[_destination(call, lane, waiting) for lane in lanes.values()],
        lost=[LostDeliveries(name=name, waits=_count(waiting, name)) for name in lost],
    )


@destinations.operation(HttpMethod.GET, "/destinations/{name}", Role.VIEWER)
async def get_destination(call: Call, path: DestinationName) -> Destination:
    """How it goes with one destination, and what waits there."""
    lane = _lane(call, path.name)
    waiting = await waiting_by_cause(call.sessions)
    return _destination(call, lane, waiting)


def _count(waiting: list[WaitingGroup], name: str) -> int:
    return sum(each.count for each in waiting if each.destination == name)


def _destination(call: Call, lane: Lane, waiting: list[WaitingGroup]) -> Destination:
    now, groups = call.now, [each for each in waiting if each.destination == lane.name]
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


class PauseRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Until when nothing is sent, and why."""

    because: Reason
    """Why; pages and the log show it."""
    until: Annotated[
        Instant | None,
        Meta(description="At most 366 days from now; left out: until somebody resumes it."),
    ] = None


class TestRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """To whom a test is sent."""

    to: Annotated[Line, Meta(description="One of its recipients; left out: the first.")] = ""


class TestResult(Struct, kw_only=True):
    """How sending a test ended."""

    recipient: str
    """To whom it was sent: an email address; for other transports the name of the destination."""
    ending: Ending
    """How the attempt ended."""
    detail: str
    """The server's words."""
    advice: str
    """What to do now; empty after a success."""
    cure: tuple[str, ...]
    """What to do about the server's words."""
    trouble: str
    """What is wrong with the template; empty where nothing is."""


class Resumed(Struct, kw_only=True):
    """What became of a destination that was resumed."""

    name: str
    """Of the destination."""
    was_paused: bool
    """What waits is sent now, unless the destination is broken."""
    is_tried: bool
    """It was broken, and one delivery is tried at once."""


def _lane(call: Call, name: str) -> Lane:
    """Raises Refusal."""
    lane = call.running.parts.in_force.lanes.get(name)
    if lane is None:
        raise not_there("such destination in the rules in force")
    return lane


@destinations.operation(HttpMethod.POST, "/destinations/{name}/pause", Role.ADMIN, once=True)
async def pause_destination(call: Call, path: DestinationName, body: PauseRequest) -> PausedBy:
    """Send nothing to a destination for a while; in place of an earlier pause of it."""
    name = _lane(call, path.name).name
    if body.until is not None and not call.now < body.until <= call.now + LONGEST_PAUSE:
        days = LONGEST_PAUSE.days
        raise wrong("until", f"must be later than now, and at most {days} days from now")
    made = Pause(by=call.visit.name, until=body.until, because=body.because.strip(), since=call.now)
    await pause(call.acting("pause", name), name, made)
    return PausedBy(by=made.by, because=made.because, since=made.since, until=made.until)


@destinations.operation(HttpMethod.POST, "/destinations/{name}/resume", Role.ADMIN, once=True)
async def resume_destination(call: Call, path: DestinationName) -> Resumed:
    """End the pause of a destination, and have it tried at once if it is broken."""
    name = _lane(call, path.name).name
    done = await resume(call.acting("resume", name), [name], by=call.visit.name, now=call.now)
    return Resumed(name=name, was_paused=name in done.no_longer_paused, is_tried=name in done.tried)


@destinations.operation(
    HttpMethod.POST, "/destinations/{name}/test", Role.ADMIN, once=True, refusals=(429,)
)
async def test_destination(call: Call, path: DestinationName, body: TestRequest) -> TestResult:
    """Send a made-up chat to one recipient of a destination, once, and wait for the server's answer."""
    lane, in_force = _lane(call, path.name), call.running.parts.in_force
    try:
        delivery = queued_test(
            in_force.rules,
            lane.name,
            to=body.to or None,
            mail_domain=in_force.mail_domain,
            now=call.now,
        )[0]
    except CantTest as error:
        raise wrong("to", "; ".join(error.problems)) from None
    if wait := call.api.tests.take("", time.monotonic()):
        words = f"Too many tests. Wait {wait} s."
        raise Refusal(429, words, headers={"retry-after": str(wait)})
    await write_act(call.sessions, act_of(call.visit, "test", lane.name), call.now, call.key)
    found = await trial_of(
        delivery, lane.destination, lane.transport, in_force.renderer, LONGEST_TEST
    )
    return TestResult(
        recipient=found.recipient,
        ending=found.ending,
        detail=found.detail,
        advice=found.next,
        cure=found.cure,
        trouble=found.trouble,
    )
