"""Operations on deliveries: list, group, show, render and resend them."""

from datetime import datetime
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.delivery_pages import MOST_FAILED, cure_lines
from relay.console.json_api.api_request import (
    Call,
    Instant,
    Line,
    Listing,
    Numbered,
    copied,
    following,
    position,
)
from relay.console.json_api.delivery_json import (
    Delivery,
    ShownNotification,
    TriedDelivery,
    attempt_of,
    delivery_of,
    shown_notification,
)
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing
from relay.console.notification_look import CantBeShown, rendered
from relay.outbox.delivery_types import State
from relay.outbox.history import Wanted
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import (
    Details,
    delivery_details,
    failed_by_cause,
    list_deliveries,
    waiting_by_cause,
)
from relay.services.resend import resend

deliveries = Operations("Deliveries")


class DeliveryFilter(Listing, kw_only=True):
    """Filters of the list of deliveries; a filter that is left out does not apply."""

    state: Annotated[
        tuple[State, ...], Meta(max_length=len(State), description="One of these states.")
    ] = ()
    destination: Line = ""
    """Only deliveries to the destination of this name."""
    rule: Line = ""
    """Only deliveries by the rule of this name."""
    account: Annotated[Line, Meta(description="With `chat`: only those about this chat.")] = ""
    chat: Annotated[Line, Meta(description="A chat's id; needs `account`.")] = ""
    since: Annotated[Instant | None, Meta(description="Only what was queued then or later.")] = None
    alerts: Annotated[bool, Meta(description="Only alerts of the relay about itself.")] = False


class DeliveryList(Struct, kw_only=True):
    """A page of the list of deliveries, newest first."""

    deliveries: list[Delivery]
    """The deliveries, newest first, at most `limit`."""
    next: str | None
    """The path of the next page; null on the last one."""


class DeliveryDetails(TriedDelivery, kw_only=True):
    """A delivery with its attempts, and how to fix its problem."""

    maybe_repeated: list[int]
    """The numbers of attempts whose answer was lost, and after which the delivery was sent again."""
    cure: tuple[str, ...]
    """How to fix the problem that the server reported, and the command to run afterwards."""


class FailedDeliveries(Struct, kw_only=True):
    """Deliveries to one destination that failed for the same reason."""

    id: str
    """The id of the group, with which all are sent again."""
    destination: str
    """The name of the destination."""
    state: State
    """Their state: failed, maybe delivered or quarantined."""
    detail: str
    """The server's answer, or why the deliveries were given up."""
    count: int
    """How many deliveries."""
    newest: datetime
    """When the newest of them ended, in UTC."""
    deliveries: list[int]
    """Their ids, the newest first."""
    cure: tuple[str, ...]
    """How to fix the problem, and the command to run afterwards."""


class WaitingDeliveries(Struct, kw_only=True):
    """Deliveries that wait for one destination, for one reason."""

    destination: str
    """The name of the destination."""
    state: State
    """Their state: queued or scheduled."""
    why: str | None
    """Why they wait for their time; null where they are due."""
    count: int
    """How many deliveries."""
    oldest: datetime
    """When the oldest of them was made, in UTC."""
    next: datetime
    """When the first of them is due, in UTC."""
    detail: str
    """The server's last answer; empty where there was no attempt."""


class Causes(Struct, kw_only=True):
    """Failed and waiting deliveries, grouped by destination and cause."""

    failed: list[FailedDeliveries]
    """Groups of failed deliveries, newest first."""
    more_failed: bool
    """Whether there are older failed deliveries that are not counted here."""
    waiting: list[WaitingDeliveries]
    """Groups of waiting deliveries, by destination."""


@deliveries.operation(HttpMethod.GET, "/deliveries", Role.VIEWER)
async def find_deliveries(call: Call, query: DeliveryFilter) -> DeliveryList:
    """Deliveries, the newest first, filtered."""
    if bool(query.chat) != bool(query.account):
        raise Refusal(422, "account and chat name a chat together", fields={"chat": "needs both"})
    wanted = Wanted(
        states=query.state,
        destination=query.destination,
        rule=query.rule,
        chats=[(query.account, query.chat)] if query.chat else (),
        since=query.since,
        before=position(call, query),
        alerts=query.alerts,
    )
    page = await list_deliveries(call.sessions, wanted, limit=query.limit)
    before = page.deliveries[-1].id if page.more else None
    return DeliveryList(
        deliveries=[delivery_of(each) for each in page.deliveries],
        next=following(call, query, before),
    )


@deliveries.operation(HttpMethod.GET, "/deliveries/causes", Role.VIEWER)
async def group_deliveries(call: Call) -> Causes:
    """Failed and waiting deliveries, grouped by destination and cause, with the fix."""
    sessions = call.sessions
    failed, more = await failed_by_cause(sessions, limit=MOST_FAILED)
    return Causes(
        failed=[
            copied(
                FailedDeliveries,
                group,
                count=len(group.deliveries),
                newest=group.deliveries[0].settled_at or group.deliveries[0].created_at,
                deliveries=[each.id for each in group.deliveries],
                cure=cure_lines(group.detail, group.destination),
            )
            for group in failed
        ],
        more_failed=more,
        waiting=[
            copied(WaitingDeliveries, group, why=group.why or None)
            for group in await waiting_by_cause(sessions)
        ],
    )


@deliveries.operation(HttpMethod.GET, "/deliveries/{number}", Role.VIEWER)
async def get_delivery(call: Call, path: Numbered) -> DeliveryDetails:
    """A delivery with each attempt, the server's answers, and how to fix its problem."""
    details = await _details(call, path.number)
    record = details.delivery
    return DeliveryDetails(
        delivery=delivery_of(record),
        attempts=[attempt_of(each) for each in details.attempts],
        maybe_repeated=details.maybe_repeated,
        cure=cure_lines(record.detail, record.destination),
    )


@deliveries.operation(HttpMethod.GET, "/deliveries/{number}/notification", Role.VIEWER)
async def get_notification(call: Call, path: Numbered) -> ShownNotification:
    """The notification of a delivery, rendered by the rules and templates as they are now."""
    record = (await _details(call, path.number)).delivery
    try:
        notification, transport, trouble = await rendered(call.running, record)
    except CantBeShown as error:
        raise Refusal(404, f"It can't be shown: {error}", kind="not-to-be-shown") from None
    return shown_notification(notification, transport, record.created_at, trouble)


class Resent(Struct, kw_only=True):
    """A delivery that was sent again."""

    id: int
    """The number of the delivery."""
    was_queued: bool
    """Whether the delivery waited already, and is now tried at once."""
    destination_is_broken: bool
    """Whether the delivery waits until its destination works again."""
    paused_until: datetime | None
    """When the pause of its destination ends, in UTC; null without a pause, or for one without an end."""
    is_paused: bool
    """Whether its destination is paused, and the delivery waits until the pause ends."""


@deliveries.operation(
    HttpMethod.POST,
    "/deliveries/{number}/resend",
    Role.EDITOR,
    status=202,
    refusals=(409,),
    once=True,
)
async def resend_delivery(call: Call, path: Numbered) -> Resent:
    """Send a delivery once more: as a new message if it had ended, at once if it waits."""
    record = (await _details(call, path.number)).delivery
    done = await resend(
        call.acting("send again", str(record.id), record.destination),
        [record.id],
        by=call.caller.name,
        now=call.now,
    )
    if not done.queued:
        raise Refusal(409, f"Delivery {record.id} is being sent just now.")
    pause = done.paused.get(record.destination)
    return Resent(
        id=record.id,
        was_queued=done.queued[0][0].state is State.QUEUED,
        destination_is_broken=done.queued[0][1] is not None,
        is_paused=pause is not None,
        paused_until=pause.until if pause else None,
    )


async def _details(call: Call, number: int) -> Details:
    """The delivery with this number, and its attempts. Raises Refusal where there is none."""
    for details in await delivery_details(call.sessions, [number]):
        return details
    raise missing(f"delivery {number}; it may have been erased")
