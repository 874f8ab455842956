"""Operations on digests: list them, and send one early."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.json_api.api_request import IN_A_LIST, Call, Instant, Line, copied
from relay.console.json_api.operation import Operations
from relay.outbox.delivery_types import State
from relay.outbox.user_accounts import Role
from relay.services.find_digests import find_digests, send_digest_now

digests = Operations("Digests")


class WaitingDigest(Struct, kw_only=True):
    """The chats that wait for a digest."""

    destination: str
    """The name of the destination."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    due_at: datetime
    """When it is closed and sent, in UTC."""
    chats: Mapping[str, int]
    """How many chats wait, by reason."""


class PastDigest(Struct, kw_only=True):
    """A digest that was closed and sent."""

    id: int
    """The relay's number of the digest."""
    destination: str
    """The name of the destination."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    due_at: datetime
    """When it was due, in UTC."""
    closed_at: datetime
    """When it was closed, in UTC."""
    chats: Mapping[str, int]
    """How many chats had waited, by reason, and as `erased` how many were erased before the digest was closed."""
    delivery: int | None
    """The number of its delivery; null where that was erased."""
    state: State | None
    """The state of its delivery; null where that was erased."""


class DigestList(Struct, kw_only=True):
    """Open digests with waiting chats, and the newest closed ones."""

    waiting: list[WaitingDigest]
    """Open digests, by destination, recipient and time."""
    past: list[PastDigest]
    """Closed digests, newest first, at most `limit`."""


class DigestQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list of digests."""

    destination: Line = ""
    """Only digests for the destination of this name."""
    limit: Annotated[int, Meta(ge=1, le=200)] = IN_A_LIST
    """How many closed digests to list, at most."""


@digests.operation(HttpMethod.GET, "/digests", Role.VIEWER)
async def list_digests(call: Call, query: DigestQuery) -> DigestList:
    """Open digests with waiting chats, and the newest closed ones."""
    listed = await find_digests(call.sessions, limit=query.limit, destination=query.destination)
    return DigestList(
        waiting=[copied(WaitingDigest, row, chats=row.counts) for row in listed.waiting],
        past=[copied(PastDigest, row, due_at=row.since, chats=row.counts) for row in listed.past],
    )


class DigestRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """An open digest, as `/digests` lists it."""

    destination: Line
    """The `destination` of the digest."""
    recipient: Line
    """The `recipient` of the digest."""
    due_at: Instant
    """The `due_at` of the digest."""


class SentDigest(Struct, kw_only=True):
    """The result of sending a digest early."""

    is_queued: bool
    """Whether it was queued; false where no chat waits for it any more."""


@digests.operation(HttpMethod.POST, "/digests/send", Role.EDITOR, status=202, once=True)
async def send_digest(call: Call, body: DigestRequest) -> SentDigest:
    """Send a digest now, regardless of its hours. A pause of the destination still holds it back."""
    is_queued = await send_digest_now(
        call.acting("send digest", body.destination),
        body.destination,
        body.recipient,
        body.due_at,
        mail_domain=call.running.parts.in_force.mail_domain,
        by=call.caller.name,
        now=call.now,
    )
    return SentDigest(is_queued=is_queued)
