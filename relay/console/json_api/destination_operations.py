"""Operations on destinations: list, pause, resume and test them."""

import time
from datetime import datetime
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.delivery_pages import cure_lines
from relay.console.destination_page import LONGEST_TEST
from relay.console.json_api.api_request import Call, Instant, Line, Reason, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing, wrong
from relay.console.logged_acts import act_of, write_act
from relay.delivery.lane import Lane, LaneState
from relay.outbox.pauses import Pause
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import WaitingGroup, waiting_by_cause
from relay.services.pause_and_resume import LONGEST_PAUSE, pause, resume
from relay.services.trial_send import CantTest, queued_test, trial_of
from relay.transports import Ending

destinations = Operations("Destinations")


class DestinationName(Struct, forbid_unknown_fields=True):
    """A path with a destination's name."""

    name: str
    """The name of a destination in force, percent-encoded."""


class PausedBy(Struct, kw_only=True):
    """The pause of a destination."""

    by: str
    """Who paused the destination."""
    because: str
    """The reason that they gave."""
    since: datetime | None
    """When the pause began, in UTC; null where that is not known."""
    until: datetime | None
    """When the pause ends, in UTC; null: when somebody resumes the destination."""


class Destination(Struct, kw_only=True):
    """The state of a destination."""

    name: str
    """The name of the destination in the rules file."""
    transport: str
    """The transport's name in the rules file, such as email."""
    state: LaneState
    """works, paused, broken, rate limited, ceiling reached or does not answer."""
    since: datetime | None
    """When the problem began, in UTC; null without one."""
    paused: PausedBy | None
    """Who paused it and why; null where it is not paused."""
    waits: int
    """How many deliveries wait for it."""
    oldest: datetime | None
    """When the longest waiting delivery was queued, in UTC; null where none waits."""
    detail: str
    """The server's last answer; may be empty."""
    cure: tuple[str, ...]
    """How to fix the problem that the server reported, and the command to run afterwards."""
    rules: list[str]
    """The names of the rules that send to it."""


class LostDeliveries(Struct, kw_only=True):
    """Deliveries to a destination that is no longer in the rules."""

    name: str
    """The name of the destination, as it was in the rules."""
    waits: int
    """How many deliveries wait."""


class DestinationList(Struct, kw_only=True):
    """All destinations of the rules in force, and deliveries that wait for destinations no longer in them."""

    destinations: list[Destination]
    """The destinations, in the order of the rules file."""
    lost: list[LostDeliveries]
    """Deliveries that wait for destinations that are no longer in the rules."""


@destinations.operation(HttpMethod.GET, "/destinations", Role.VIEWER)
async def list_destinations(call: Call) -> DestinationList:
    """The state of each destination, and how many deliveries wait for it."""
    lanes = call.running.parts.in_force.lanes
    waiting = await waiting_by_cause(call.sessions)
    lost = dict.fromkeys(each.destination for each in waiting if each.destination not in lanes)
    return DestinationList(
        destinations=[_destination(call, lane, waiting) for lane in lanes.values()],
        lost=[LostDeliveries(name=name, waits=_count(waiting, name)) for name in lost],
    )


@destinations.operation(HttpMethod.GET, "/destinations/{name}", Role.VIEWER)
async def get_destination(call: Call, path: DestinationName) -> Destination:
    """The state of one destination, and how many deliveries wait for it."""
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
        paused=copied(PausedBy, paused) if paused else None,
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
    """The end of a pause, and the reason."""

    because: Reason
    """Why; pages and the log show it."""
    until: Annotated[
        Instant | None,
        Meta(description="At most 366 days from now; left out: until somebody resumes it."),
    ] = None


class TestRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """The recipient of a test."""

    to: Annotated[
        Line, Meta(description="One of the destination's recipients; left out: the first.")
    ] = ""


class TestResult(Struct, kw_only=True):
    """The result of a test of a destination."""

    recipient: str
    """The recipient of the test: an email address; for other transports the name of the destination."""
    ending: Ending
    """How the attempt ended."""
    detail: str
    """The server's answer."""
    advice: str
    """What to do next; empty after a success."""
    cure: tuple[str, ...]
    """How to fix the problem that the server reported."""
    trouble: str
    """The error in the template; empty without one."""


class Resumed(Struct, kw_only=True):
    """The result of resuming a destination."""

    name: str
    """The name of the destination."""
    was_paused: bool
    """Whether it was paused; its deliveries are sent now, unless it is broken."""
    is_tried: bool
    """Whether it was broken, and one delivery is tried at once."""


def _lane(call: Call, name: str) -> Lane:
    """The lane of a destination in force. Raises Refusal where there is none."""
    lane = call.running.parts.in_force.lanes.get(name)
    if lane is None:
        raise missing("such destination in the rules in force")
    return lane


@destinations.operation(HttpMethod.POST, "/destinations/{name}/pause", Role.ADMIN, once=True)
async def pause_destination(call: Call, path: DestinationName, body: PauseRequest) -> PausedBy:
    """Pause a destination, so that nothing is sent to it. Replaces an earlier pause of it."""
    name = _lane(call, path.name).name
    if body.until is not None and not call.now < body.until <= call.now + LONGEST_PAUSE:
        days = LONGEST_PAUSE.days
        raise wrong("until", f"must be later than now, and at most {days} days from now")
    made = Pause(
        by=call.caller.name, until=body.until, because=body.because.strip(), since=call.now
    )
    await pause(call.acting("pause", name), name, made)
    await call.running.parts.in_force.apply_mutes_and_pauses()
    return copied(PausedBy, made)


@destinations.operation(HttpMethod.POST, "/destinations/{name}/resume", Role.ADMIN, once=True)
async def resume_destination(call: Call, path: DestinationName) -> Resumed:
    """End the pause of a destination, and try it at once if it is broken."""
    name = _lane(call, path.name).name
    done = await resume(call.acting("resume", name), [name], by=call.caller.name, now=call.now)
    await call.running.parts.in_force.apply_mutes_and_pauses()
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
    await write_act(call.sessions, act_of(call.caller, "test", lane.name), call.now, call.key)
    trial = await trial_of(
        delivery, lane.destination, lane.transport, in_force.renderer, LONGEST_TEST
    )
    return copied(TestResult, trial, advice=trial.next)
