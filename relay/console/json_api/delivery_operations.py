"""Deliveries and digests, as the JSON API tells them."""

from datetime import datetime
from functools import partial
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.delivery_pages import MOST_FAILED, MOST_UNREADABLE, cure_lines
from relay.console.json_api.call import Call, Instant, Line, Numbered
from relay.console.json_api.chat_operations import QueuedAnew, queued_of
from relay.console.json_api.cursor import Listing, following, position
from relay.console.json_api.delivery_json import Delivery, TriedDelivery, attempt_of, delivery_of
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, not_there
from relay.outbox.chat_list import number_of_chat
from relay.outbox.history import SetAside, Wanted
from relay.outbox.people import Role
from relay.outbox.rows import State
from relay.services.find_deliveries import (
    delivery_details,
    failed_by_cause,
    list_deliveries,
    unreadable_posts,
    waiting_by_cause,
)
from relay.services.replay import replay
from relay.services.resend import resend

deliveries = Operations("Deliveries")


class DeliveryFilter(Listing, kw_only=True):
    """Which deliveries to list; what is left out is not asked."""

    state: Annotated[
        tuple[State, ...], Meta(max_length=len(State), description="One of these states.")
    ] = ()
    destination: Line = ""
    rule: Line = ""
    account: Annotated[Line, Meta(description="With `chat`: only those about this chat.")] = ""
    chat: Annotated[Line, Meta(description="A chat's id; needs `account`.")] = ""
    since: Annotated[Instant | None, Meta(description="Only what was queued then or later.")] = None
    alerts: Annotated[bool, Meta(description="Only alerts of the relay about itself.")] = False


class DeliveryList(Struct, kw_only=True):
    """Deliveries, the newest first."""

    deliveries: list[Delivery]
    next: str | None
    """The path of the rest; null where there is no more."""


class DeliveryDetails(TriedDelivery, kw_only=True):
    """A delivery with its attempts, and what to do about it."""

    maybe_repeated: list[int]
    """The numbers of attempts whose answer was lost and after which it was sent again."""
    cure: tuple[str, ...]
    """What to do about the server's words, and the command to run then."""


class FailedDeliveries(Struct, kw_only=True):
    """Deliveries to one destination that ended badly with the same words."""

    id: str
    """By which all are sent again."""
    destination: str
    state: State
    detail: str
    count: int
    newest: datetime
    deliveries: list[int]
    """Their ids, the newest first."""
    cure: tuple[str, ...]


class WaitingDeliveries(Struct, kw_only=True):
    """What waits for one destination, for one reason."""

    destination: str
    state: State
    why: str | None
    count: int
    oldest: datetime
    next: datetime
    """When the first of them is due."""
    detail: str


class Causes(Struct, kw_only=True):
    """What failed and what waits, grouped by destination and cause."""

    failed: list[FailedDeliveries]
    more_failed: bool
    """There are older ones that are not counted here."""
    waiting: list[WaitingDeliveries]


class UnreadablePost(Struct, kw_only=True):
    """A post that is no hook that this relay can read."""

    id: int
    received_at: datetime
    reason: str
    size: int


class UnreadableBody(Struct, kw_only=True):
    """A post that could not be read, with its bytes."""

    post: UnreadablePost
    body: str
    """As text; what is no UTF-8 in it is replaced."""


class TakenIn(Struct, kw_only=True):
    """A post that was taken in."""

    chat: int | None
    """The number of its chat; null where it was erased meanwhile."""
    queued: list[QueuedAnew]
    """The deliveries that the rules ask for."""


class UnreadablePosts(Struct, kw_only=True):
    """The newest posts that could not be read."""

    posts: list[UnreadablePost]


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
    found = await list_deliveries(call.sessions, wanted, limit=query.limit)
    before = found.deliveries[-1].id if found.more else None
    return DeliveryList(
        deliveries=[delivery_of(each) for each in found.deliveries],
        next=following(call, query, before),
    )


@deliveries.operation(HttpMethod.GET, "/deliveries/causes", Role.VIEWER)
async def group_deliveries(call: Call) -> Causes:
    """What failed and what waits, grouped by destination and cause, with the cure."""
    sessions = call.sessions
    failed, more = await failed_by_cause(sessions, limit=MOST_FAILED)
    return Causes(
        failed=[
            FailedDeliveries(
                id=group.id,
                destination=group.destination,
                state=group.state,
                detail=group.detail,
                count=len(group.deliveries),
                newest=group.deliveries[0].settled_at or group.deliveries[0].created_at,
                deliveries=[each.id for each in group.deliveries],
                cure=cure_lines(group.detail, group.destination),
            )
            for group in failed
        ],
        more_failed=more,
        waiting=[
            WaitingDeliveries(
                destination=group.destination,
                state=group.state,
                why=group.why or None,
                count=group.count,
                oldest=group.oldest,
                next=group.next,
                detail=group.detail,
            )
            for group in await waiting_by_cause(sessions)
        ],
    )


@deliveries.operation(HttpMethod.GET, "/deliveries/{number}", Role.VIEWER)
async def get_delivery(call: Call, path: Numbered) -> DeliveryDetails:
    """A delivery with each attempt, the server's answers, and what to do."""
    found = await delivery_details(call.sessions, [path.number])
    if not found:
        raise not_there(f"delivery {path.number}; it may have been erased")
    (details,) = found
    record = details.delivery
    return DeliveryDetails(
        delivery=delivery_of(record),
        attempts=[attempt_of(each) for each in details.attempts],
        maybe_repeated=details.maybe_repeated,
        cure=cure_lines(record.detail, record.destination),
    )


@deliveries.operation(HttpMethod.GET, "/unreadable-posts", Role.VIEWER)
async def list_unreadable_posts(call: Call) -> UnreadablePosts:
    """The newest posts to the hook's address that could not be read."""
    found = await unreadable_posts(call.sessions, limit=MOST_UNREADABLE)
    return UnreadablePosts(posts=list(map(_unreadable, found)))


@deliveries.operation(HttpMethod.GET, "/unreadable-posts/{number}", Role.ADMIN)
async def get_unreadable_post(call: Call, path: Numbered) -> UnreadableBody:
    """A post that could not be read, with its bytes."""
    return unreadable_body(await _post(call, path.number))


@deliveries.operation(
    HttpMethod.POST, "/unreadable-posts/{number}/take-in", Role.ADMIN, status=202, once=True
)
async def take_in_post(call: Call, path: Numbered) -> TakenIn:
    """Take in a post that can be read by now, as if it came just now: the rules in force are asked about it."""
    post, in_force = await _post(call, path.number), call.running.parts.in_force
    replayed = partial(
        replay,
        rules=in_force.rules,
        mail_domain=in_force.mail_domain,
        set_aside=[post.id],
        by=call.visit.name,
        now=call.now,
    )
    # First as a trial: what is refused uses up no Idempotency-Key.
    if still := (await replayed(call.sessions, dry_run=True)).still_unreadable.get(post.id):
        words = f"Unreadable post {post.id} still can't be read: {still}"
        raise Refusal(422, words, kind="still-unreadable")
    done = await replayed(call.acting("take in", str(post.id)))
    if not done.judged:
        raise not_there(f"unreadable post {post.id}")
    (judged,) = done.judged
    name = judged.hook.chat.account, judged.hook.chat.id
    outbox = call.running.parts.outbox
    return TakenIn(
        chat=await outbox.read(lambda read: number_of_chat(read, name)),
        queued=queued_of(judged),
    )


async def _post(call: Call, number: int) -> SetAside:
    """Raises Refusal."""
    for post in await unreadable_posts(call.sessions, ids=[number], limit=1):
        return post
    raise not_there(f"unreadable post {number}")


def unreadable_body(post: SetAside) -> UnreadableBody:
    """A post that could not be read, as it is told to admins."""
    return UnreadableBody(post=_unreadable(post), body=post.body.decode("utf-8", "replace"))


def _unreadable(post: SetAside) -> UnreadablePost:
    return UnreadablePost(
        id=post.id, received_at=post.received_at, reason=post.reason, size=len(post.body)
    )


class Resent(Struct, kw_only=True):
    """A delivery that is sent once more."""

    id: int
    was_queued: bool
    """It waited already, and is tried at once."""
    destination_is_broken: bool
    """It waits until the destination works."""
    paused_until: datetime | None
    """It waits for the end of a pause, too."""
    is_paused: bool


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
    found = await delivery_details(call.sessions, [path.number])
    if not found:
        raise not_there(f"delivery {path.number}; it may have been erased")
    record = found[0].delivery
    done = await resend(
        call.acting("send again", str(record.id), record.destination),
        [record.id],
        by=call.visit.name,
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
