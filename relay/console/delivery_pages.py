"""Pages of deliveries: failed and waiting ones in groups with advice; and one delivery with a picture of its message."""

from contextlib import suppress
from datetime import datetime

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.console.delivery_states import is_under_way, mutes_of, outcome_of, words_of
from relay.console.logged_acts import ActingSessions, AlreadyDone, act_of, new_key
from relay.console.notification_look import look_of, mail_of
from relay.console.page import (
    AnyRequest,
    Number,
    Page,
    Pages,
    form_route,
    number_in,
    page_route,
    redirect,
)
from relay.console.request_context import caller_of
from relay.delivery.lane import LaneState
from relay.languages import N_, Language, language_called
from relay.outbox.chat_list import number_of_chat
from relay.outbox.delivery_types import State
from relay.outbox.history import Record, Wanted
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import (
    Details,
    FailedGroup,
    WaitingGroup,
    delivery_details,
    failed_by_cause,
    list_deliveries,
    unreadable_posts,
    waiting_by_cause,
)
from relay.services.resend import resend
from relay.transports.cures import CHECK, RESUME, SEND_TEST
from relay.transports.registry import cure_of
from relay.web.app import Running

_SEND_TEST = N_("Then send a test to {destination}, under “Destinations”.")
_NEXT_ACT = {
    CHECK: _SEND_TEST,
    SEND_TEST: _SEND_TEST,
    RESUME: N_("Then choose “Retry now” at {destination}, under “Destinations”."),
}
"""What to do in the console where a row names a command. A failed delivery has its button beside it."""
MOST_FAILED = 1_000
MOST_IN_A_GROUP = 20
MOST_UNREADABLE = 20
ARRIVED = (State.DELIVERED, State.ACCEPTED, State.IN_DIGEST)
MOST_ARRIVED = 30
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
)
"""The Content-Security-Policy of an email in a frame: it may have styles of its own, and do nothing else."""
LANE_STATES = {
    LaneState.WORKS: ("neutral", N_("waiting to be sent")),
    LaneState.PAUSED: ("warn", N_("paused")),
    LaneState.BROKEN: ("bad", N_("broken")),
    LaneState.RATE_LIMITED: ("neutral", N_("asked to wait")),
    LaneState.FULL: ("warn", N_("hourly limit reached")),
    LaneState.AWAY: ("bad", N_("does not answer")),
}


def framed_mail(html: str) -> Response[bytes]:
    """The HTML of an email, to be shown in a frame of a page. Raises NotFoundException for an empty one."""
    if not html:
        raise NotFoundException
    headers = {"content-security-policy": MAIL_POLICY, "x-frame-options": "SAMEORIGIN"}
    return Response(html.encode("utf-8", "replace"), media_type="text/html", headers=headers)


class WaitingCard(Struct, frozen=True):
    """Deliveries that wait for one destination, for one reason."""

    group: WaitingGroup
    tone: str
    words: str
    since: datetime | None
    """When the destination's problem began."""
    until: datetime | None
    why: str
    """Why they wait, as `pieces.waited` shows it; empty where they only wait to be sent."""
    detail: str
    cure: tuple[str, ...]


class FailedCard(Struct, frozen=True):
    """Deliveries that failed at one destination with the same error."""

    id: str
    destination: str
    tone: str
    words: str
    count: int
    newest: datetime
    detail: str
    cure: tuple[str, ...]
    some: list[Record]


class DeliveryPages:
    """`/deliveries` and below."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/deliveries", Role.VIEWER, self._list),
            page_route("/deliveries/{number:int}", Role.VIEWER, self._show_delivery),
            page_route("/deliveries/{number:int}/look", Role.VIEWER, self._look),
            page_route("/deliveries/{number:int}/mail", Role.VIEWER, self._mail),
            form_route("/deliveries/{number:int}/resend", Role.EDITOR, self._resend),
        ]

    async def _look(self, request: AnyRequest, number: Number) -> Page:
        record, language = await self._record(number), self._pages.language(request)
        shown = await look_of(self._running, record, language)
        return await self._pages.show(request, "delivery_look.html", delivery=record, look=shown)

    async def _mail(self, number: Number) -> Response[bytes]:
        return framed_mail(await mail_of(self._running, await self._record(number)))

    async def _resend(self, request: AnyRequest, number: Number) -> Response[bytes]:
        record, now = await self._record(number), self._running.clock()
        act = act_of(caller_of(request.scope), "send again", str(number), record.destination)
        sessions = ActingSessions(self._running.parts.outbox.sessions, act, now)
        with suppress(AlreadyDone):
            await resend(sessions, [number], by=act.by, now=now)
        return redirect(f"/deliveries/{number}")

    async def _list(self, request: AnyRequest) -> Page:
        sessions, language = self._running.parts.outbox.sessions, self._pages.language(request)
        failed, is_more = await failed_by_cause(sessions, limit=MOST_FAILED)
        waiting = await waiting_by_cause(sessions)
        to, before = request.query_params.get("to", ""), number_in(request, "before")
        wanted = Wanted(states=ARRIVED, destination=to, before=before)
        arrived = await list_deliveries(sessions, wanted, limit=MOST_ARRIVED)
        return await self._pages.show(
            request,
            "deliveries.html",
            nav="deliveries",
            failed=[failed_card(group, language) for group in failed],
            is_more=is_more,
            waiting=[self._waiting_card(group, language) for group in waiting],
            mutes=await mutes_of(self._running.parts.outbox, waiting),
            unreadable=await unreadable_posts(sessions, limit=MOST_UNREADABLE),
            arrived=[(each, outcome_of(each, language)) for each in arrived.deliveries],
            older=arrived.deliveries[-1].id if arrived.more else 0,
            is_first=before is None,
            to=to,
            destinations=list(self._running.parts.in_force.rules.destinations),
        )

    def _waiting_card(self, group: WaitingGroup, language: Language) -> WaitingCard:
        lane, now = self._running.parts.in_force.lanes.get(group.destination), self._running.clock()
        tone, words, detail = "neutral", words_of(group.state, language), group.detail
        since, until, why = None, None, ""
        if group.state is State.SCHEDULED:
            until, why = group.next, group.why
        if lane is None:
            tone, words = "bad", language.gettext("no longer in the rules")
        elif group.state is State.QUEUED:
            tone, message = LANE_STATES[lane.state(now)]
            words = language.gettext(message)
            detail = (lane.gate.reason if lane.gate else "") or group.detail
            until = lane.paused.until if lane.paused else None
            since = None if lane.paused else lane.trouble_since
        cure = cure_lines(detail, group.destination, language)
        return WaitingCard(group, tone, words, since, until, why, detail, cure)

    async def _record(self, number: int) -> Record:
        return (await self._details(number)).delivery

    async def _details(self, number: int) -> Details:
        details = await delivery_details(self._running.parts.outbox.sessions, [number])
        if not details:
            raise NotFoundException
        return details[0]

    async def _show_delivery(self, request: AnyRequest, number: Number) -> Page:
        outbox, language = self._running.parts.outbox, self._pages.language(request)
        details, now = await self._details(number), self._running.clock()
        delivery, outcome = details.delivery, outcome_of(details.delivery, language)
        name = (delivery.account, delivery.chat)
        cure = cure_lines(delivery.detail, delivery.destination, language)
        return await self._pages.show(
            request,
            "delivery.html",
            nav="deliveries",
            delivery=delivery,
            outcome=outcome,
            mutes=await mutes_of(outbox, [delivery]),
            attempts=details.attempts,
            maybe_repeated=details.maybe_repeated,
            chat_id=await outbox.read(lambda read: number_of_chat(read, name)),
            cure=() if outcome.tone == "good" else cure,
            look=await look_of(self._running, delivery, language),
            is_under_way=is_under_way(delivery, now),
            now=now,
            key=new_key(),
        )


def failed_card(group: FailedGroup, language: Language) -> FailedCard:
    """A group of failed deliveries as pages show it."""
    newest = group.deliveries[0]
    outcome = outcome_of(newest, language)
    return FailedCard(
        group.id,
        group.destination,
        outcome.tone,
        outcome.words,
        len(group.deliveries),
        newest.settled_at or newest.created_at,
        group.detail,
        cure_lines(group.detail, group.destination, language),
        group.deliveries[:MOST_IN_A_GROUP],
    )


def cure_lines(
    words: str, destination: str, language: Language | None = None, *, is_retried: bool = True
) -> tuple[str, ...]:
    """What to do about a server's answer, and what to do next; empty where that is not known.

    `language`: of the page, which names what to do in the console; None names the command, in English.
    """
    row = cure_of(words) if words else None
    if row is None or language is None:
        return row.lines(destination, is_retried=is_retried) if row else ()
    advice = row.advice(language_called(language.name).gettext, is_retried=is_retried)
    then = _NEXT_ACT.get(row.command)
    return (advice, *([language.gettext(then, destination=destination)] if then else []))
