"""The page of destinations: the state of each, what waits and what to do. Pauses, resumes and tests them, and sends digests."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from litestar import Response
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.console.delivery_pages import LANE_STATES, cure_lines
from relay.console.logged_acts import ActingSessions, AlreadyDone, act_of, new_key, write_act
from relay.console.page import (
    AnyRequest,
    FormRefused,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.request_context import caller_of
from relay.console.throttle import Throttle
from relay.delivery.lane import Lane, LaneState
from relay.languages import N_, Language
from relay.outbox.delivery_types import from_ms, to_ms
from relay.outbox.pauses import Pause
from relay.outbox.user_accounts import Role
from relay.rules.recipients import Recipients
from relay.rules.schedule_parser import next_moment
from relay.services.find_deliveries import WaitingGroup, waiting_by_cause
from relay.services.find_digests import WaitingDigest, find_digests, send_digest_now
from relay.services.pause_and_resume import pause, resume
from relay.services.recent_counts import HourOfDeliveries, LastDay, last_day
from relay.services.trial_send import CantTest, TrialResult, queued_test, trial_of
from relay.transports import Ending
from relay.web.app import Running

LENGTHS: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
MORNING, OPEN = "morning", "open"
MORNING_AT = "08:00"
LONGEST_REASON = 300
NO_REASON = N_("Say why, so that others know.")
TESTS, BETWEEN_TESTS = 6, 10.0
"""How many tests may be sent at once, and how many seconds there are between further ones."""
_AFTER_A_TEST = {
    Ending.ACCEPTED: N_("Look whether it arrived: this does not prove that it was posted."),
    Ending.LATER: N_(
        "It was not delivered, for a reason that may pass. Try again in a few minutes."
    ),
    Ending.RATE_LIMITED: N_("It was not delivered. Try again in a few minutes."),
    Ending.MAYBE_DELIVERED: N_("Check whether it arrived before you send another one."),
    Ending.REFUSED: N_(
        "It was not delivered, and would be refused again. Fix what the answer names."
    ),
    Ending.DESTINATION_BROKEN: N_("Nothing is delivered there until that is fixed."),
}
LONGEST_TEST = 20.0
"""Seconds that a server may take, while somebody waits for the page."""


class DigestLine(Struct, frozen=True):
    """Chats that wait for one digest."""

    recipient: str
    """The recipient; empty where the destination has only itself as one."""
    to: str
    due: datetime
    due_ms: int
    chats: int


class DestinationCard(Struct, frozen=True):
    """The state of one destination."""

    name: str
    transport: str
    tone: str
    words: str
    is_paused: bool
    is_broken: bool
    waits: int
    oldest: datetime | None
    since: datetime | None
    """When the problem began; None while it is paused."""
    until: datetime | None
    detail: str
    """The server's answer, or who has paused the destination and why."""
    cure: tuple[str, ...]
    rules: list[str]
    """The names of the rules that send to the destination."""
    digests: list[DigestLine]
    recipients: Recipients
    hours: list[HourOfDeliveries]
    """The last 24 hours; empty without deliveries."""

    @property
    def addresses(self) -> list[str]:
        """Email addresses, and patterns that each chat fills in; none for other transports."""
        patterns = [each.written for each in self.recipients.patterns]
        return [*(each for each in self.recipients.fixed if each != self.name), *patterns]

    @property
    def day_total(self) -> int:
        """How many deliveries were made in the last 24 hours."""
        return sum(hour.total for hour in self.hours)

    @property
    def day_failed(self) -> int:
        """How many deliveries of the last 24 hours failed."""
        return sum(hour.failed for hour in self.hours)


class DestinationPage:
    """`/destinations` and its forms."""

    def __init__(self, running: Running, pages: Pages, tests: Throttle) -> None:
        """`tests`: limits how often a destination may be tested, here and by the API."""
        self._running, self._pages, self._tests = running, pages, tests

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/destinations", Role.VIEWER, self._list),
            form_route("/destinations/pause", Role.ADMIN, self._pause),
            form_route("/destinations/resume", Role.ADMIN, self._resume),
            form_route("/destinations/test", Role.ADMIN, self._test),
            form_route("/destinations/digest", Role.EDITOR, self._send_digest),
        ]

    async def _list(self, request: AnyRequest) -> Page:
        in_force, language = self._running.parts.in_force, self._pages.language(request)
        waiting = await waiting_by_cause(self._running.parts.outbox.sessions)
        digests = (await find_digests(self._running.parts.outbox.sessions, limit=0)).waiting
        day = await last_day(self._running.parts.outbox.sessions, self._running.clock())
        cards = [
            self._card(
                lane, waiting, [each for each in digests if each.destination == name], day, language
            )
            for name, lane in in_force.lanes.items()
        ]
        return await self._pages.show(
            request,
            "destinations.html",
            nav="destinations",
            cards=sorted(cards, key=lambda card: (card.tone == "good", card.name)),
            lost=sorted({group.destination for group in waiting} - in_force.lanes.keys()),
            key=new_key(),
        )

    def _card(
        self,
        lane: Lane,
        waiting: list[WaitingGroup],
        digests: list[WaitingDigest],
        day: LastDay,
        language: Language,
    ) -> DestinationCard:
        rules, name = self._running.parts.in_force.rules, lane.destination.name
        now, groups = self._running.clock(), [each for each in waiting if each.destination == name]
        state = lane.state(now)
        tone, words = LANE_STATES[state]
        detail = next((group.detail for group in groups if group.detail), "")
        paused = lane.paused if state is LaneState.PAUSED else None
        if lane.gate and lane.gate.reason:
            detail = lane.gate.reason
        if paused:
            detail = f"{paused.by}: {paused.because}"
        elif state is LaneState.WORKS:
            tone, words = (
                ("warn", N_("the last attempts failed")) if detail else ("good", N_("works"))
            )
        return DestinationCard(
            name=name,
            transport=lane.destination.transport,
            tone=tone,
            words=language.gettext(words),
            is_paused=paused is not None,
            is_broken=lane.is_broken,
            waits=sum(group.count for group in groups),
            oldest=min((group.oldest for group in groups), default=None),
            since=None if paused else lane.trouble_since,
            until=paused.until if paused else None,
            detail=detail if tone != "good" else "",
            cure=() if tone == "good" or paused else cure_lines(detail, name, language),
            rules=[rule.name for rule in rules.rules if name in rule.send_to],
            digests=list(map(_digest_line, digests)),
            recipients=rules.recipients[name],
            hours=day.by_destination.get(name, []),
        )

    async def _pause(self, request: AnyRequest) -> Response[bytes]:
        caller, now = caller_of(request.scope), self._running.clock()
        name, because = self._named(request), caller.form.get("because", "").strip()
        if not because:
            raise FormRefused(NO_REASON)
        act = act_of(caller, "pause", name)
        ends = end_of(caller.form.get("until", ""), self._running, now)
        paused = Pause(by=act.by, until=ends, because=because[:LONGEST_REASON])
        sessions = ActingSessions(self._running.parts.outbox.sessions, act, now)
        with suppress(AlreadyDone):
            await pause(sessions, name, paused)
        await self._running.parts.in_force.apply_mutes_and_pauses()
        return redirect("/destinations")

    async def _resume(self, request: AnyRequest) -> Response[bytes]:
        caller, now, name = caller_of(request.scope), self._running.clock(), self._named(request)
        act = act_of(caller, "resume", name)
        sessions = ActingSessions(self._running.parts.outbox.sessions, act, now)
        with suppress(AlreadyDone):
            await resume(sessions, [name], by=act.by, now=now)
        await self._running.parts.in_force.apply_mutes_and_pauses()
        return redirect("/destinations")

    async def _test(self, request: AnyRequest) -> Page:
        caller, now, name = caller_of(request.scope), self._running.clock(), self._named(request)
        in_force, sessions = self._running.parts.in_force, self._running.parts.outbox.sessions
        tested = partial(self._tested, request, name)
        to, domain = caller.form.get("to", "").strip() or None, in_force.mail_domain
        try:
            delivery = queued_test(in_force.rules, name, to=to, mail_domain=domain, now=now)[0]
        except CantTest as error:
            return await tested(status=422, problems=error.problems)
        if wait := self._tests.take("", time.monotonic()):
            return await tested(status=429, headers={"retry-after": str(wait)}, wait=wait)
        try:
            await write_act(sessions, act_of(caller, "test", name), now)
        except AlreadyDone:
            return await tested(is_repeated=True)
        lane = in_force.lanes[name]
        result = await trial_of(
            delivery, lane.destination, lane.transport, in_force.renderer, LONGEST_TEST
        )
        return await tested(result=result)

    async def _tested(
        self,
        request: AnyRequest,
        name: str,
        result: TrialResult | None = None,
        **values: Any,  # noqa: ANN401 - what the template shows
    ) -> Page:
        """The result of a test, or with `values` why there was none."""
        language = self._pages.language(request)
        shown = {"problems": [], "wait": 0, "is_repeated": False, "next": "", "cure": (), **values}
        if result:
            shown["next"] = language.gettext(_AFTER_A_TEST.get(result.ending, ""))
            if not result.is_good:
                shown["cure"] = cure_lines(result.detail, name, language, is_retried=False)
        shown |= {"nav": "destinations", "name": name, "result": result}
        return await self._pages.show(request, "destination_test.html", **shown)

    async def _send_digest(self, request: AnyRequest) -> Response[bytes]:
        caller, now, name = caller_of(request.scope), self._running.clock(), self._named(request)
        due = caller.form.get("due", "")
        if not (due.isascii() and due.isdigit() and len(due) < 15):
            raise ClientException
        act = act_of(caller, "send digest", name)
        with suppress(AlreadyDone):
            await send_digest_now(
                ActingSessions(self._running.parts.outbox.sessions, act, now),
                name,
                caller.form.get("to", ""),
                from_ms(int(due)),
                mail_domain=self._running.parts.in_force.mail_domain,
                by=act.by,
                now=now,
            )
        return redirect("/destinations")

    def _named(self, request: AnyRequest) -> str:
        """The destination that a form names. Raises FormRefused if the rules in force do not have it."""
        name = caller_of(request.scope).form.get("destination", "")
        if name not in self._running.parts.in_force.lanes:
            raise FormRefused(N_("The rules in force have no destination “{name}”."), name=name)
        return name


def _digest_line(digest: WaitingDigest) -> DigestLine:
    shown = "" if digest.recipient == digest.destination else digest.recipient
    due, chats = digest.due_at, sum(digest.counts.values())
    return DigestLine(shown, digest.recipient, due, to_ms(due), chats)


def end_of(chosen: str, running: Running, now: datetime) -> datetime | None:
    """The end of a pause or mute as chosen in a form; None for an open end. Raises ClientException."""
    if chosen == OPEN:
        return None
    if chosen == MORNING:
        return next_moment(MORNING_AT, running.parts.in_force.rules.timezone, now)
    if chosen not in LENGTHS:
        raise ClientException
    return now + LENGTHS[chosen]
