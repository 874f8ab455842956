"""Finds digests, those that wait and those that were closed; and sends one early."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from relay.intake import digest_delivery
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import State, from_ms, to_ms
from relay.outbox.digests import PUT_OFF, PUT_OFF_ERASED, WAITS, Digests, read_counts
from relay.outbox.schema import deliveries, digests
from relay.services import read_in_thread, write_in_thread

log = logging.getLogger(__name__)

_WAITING = (
    sa.select(
        deliveries.c.destination,
        deliveries.c.recipient,
        deliveries.c.due_at,
        deliveries.c.why,
        sa.func.count(deliveries.c.chat_id.distinct()),
    )
    .where(*WAITS)
    .group_by(
        deliveries.c.destination, deliveries.c.recipient, deliveries.c.due_at, deliveries.c.why
    )
    .order_by(
        deliveries.c.due_at, deliveries.c.destination, deliveries.c.recipient, deliveries.c.why
    )
)
_PAST = (
    sa.select(
        *(digests.c.id, digests.c.destination, digests.c.recipient, digests.c.since),
        *(digests.c.closed_at, digests.c.counts, deliveries.c.id, deliveries.c.state),
    )
    .select_from(digests.outerjoin(deliveries, deliveries.c.id == digests.c.delivery_id))
    .order_by(digests.c.id.desc())
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDigest:
    """Chats that wait for one digest; a single one is sent as a notification of its own."""

    destination: str
    recipient: str
    due_at: datetime
    counts: Mapping[str, int]
    """How many chats wait, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDigest:
    """A digest that was closed."""

    id: int
    destination: str
    recipient: str
    since: datetime
    """When the digest was due to be sent."""
    closed_at: datetime
    counts: Mapping[str, int]
    """How many chats had waited, by reason, and how many were `erased` before it was closed."""
    delivery: int | None
    """The number of its delivery; None once that was erased, for its age or with all chats of the digest."""
    state: State | None
    """The state of its delivery; None once that was erased."""


@dataclass(frozen=True, slots=True)
class ListedDigests:
    """The digests that wait, by due time, and those that were closed, newest first."""

    waiting: list[WaitingDigest]
    past: list[PastDigest]


async def find_digests(sessions: Sessions, *, destination: str = "", limit: int) -> ListedDigests:
    """All digests that wait, and the newest `limit` closed ones; with `destination` only those to it."""

    def work(session: Session) -> ListedDigests:
        return ListedDigests(
            [each for each in _waiting(session) if destination in {"", each.destination}],
            _past(session, destination, limit=limit),
        )

    return await read_in_thread(sessions, work)


def _waiting(session: Session) -> list[WaitingDigest]:
    """All digests that wait, by due time."""
    groups: dict[tuple[str, str, int], Counter[str]] = {}
    for destination, recipient, due, why, count in session.ask(_WAITING).fetchall():
        groups.setdefault((destination, recipient, due), Counter())[why] += count
    return [
        WaitingDigest(
            destination=destination,
            recipient=recipient,
            due_at=from_ms(due),
            counts=counts,
        )
        for (destination, recipient, due), counts in groups.items()
    ]


def _past(session: Session, destination: str, *, limit: int) -> list[PastDigest]:
    """The newest `limit` closed digests, newest first; with `destination` only those to it."""
    wanted = digests.c.destination == destination if destination else sa.true()
    return [
        PastDigest(
            id=number,
            destination=destination,
            recipient=recipient,
            since=from_ms(since),
            closed_at=from_ms(closed_at),
            counts=read_counts(counts),
            delivery=delivery,
            state=State(state) if state else None,
        )
        for number, destination, recipient, since, closed_at, counts, delivery, state in session.ask(
            _PAST.where(wanted).limit(limit)
        ).fetchall()
    ]


def _open(session: Session, destination: str, recipient: str, due: datetime, now: datetime) -> None:
    """Make the chats that wait for a digest until `due` wait until `now` only."""
    pair = {"of_destination": destination, "of_recipient": recipient}
    until = {"earliest": to_ms(now), "latest": to_ms(due), "opening": to_ms(now)}
    for query in (PUT_OFF, PUT_OFF_ERASED):
        session.operations.sql[query].run(session.cursor, **pair, **until)


async def send_digest_now(
    sessions: Sessions,
    destination: str,
    recipient: str,
    due: datetime,
    *,
    mail_domain: str,
    by: str,
    now: datetime,
) -> bool:
    """Queue a digest that is due by `due` now, whatever the hours say; False where nothing waits for it.

    A pause of the destination still holds it back.
    """

    def work(session: Session) -> bool:
        _open(session, destination, recipient, due, now)
        is_shared = session.dialect.name == "postgresql"
        digests = Digests(session.operations, partial(digest_delivery, mail_domain), is_shared)
        return bool(digests.close(session.cursor, now, only=(destination, recipient)).queued)

    is_queued = await write_in_thread(sessions, work)
    if is_queued:
        log.info("%s sends the digest to %s now", by, destination)
    return is_queued
