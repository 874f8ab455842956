"""The hooks that the outbox keeps, read beside a running relay without ever holding it up."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from relay.database import Database
from relay.outbox.beside import reading
from relay.outbox.schema import chats, hook_bodies, hooks
from relay.outbox.values import ITSELF

PAGE = 1000
"""Hooks per read. Each is a transaction of its own: a long one would let the write-ahead log grow without end."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_since = sa.and_(
    hooks.c.received_at >= sa.bindparam("since"),
    # Alerts are no hooks.
    chats.c.account != ITSELF,
)
_COUNT = (
    sa.select(sa.func.count())
    .select_from(hooks.join(chats, chats.c.id == hooks.c.chat_id))
    .where(_since)
)
_PAGE = (
    sa.select(hooks.c.id, chats.c.account, chats.c.chat, hooks.c.received_at, hook_bodies.c.body)
    .select_from(
        hooks.join(chats, chats.c.id == hooks.c.chat_id).join(
            hook_bodies, hook_bodies.c.hook_id == hooks.c.id
        )
    )
    .where(hooks.c.id > sa.bindparam("after"), _since)
    .order_by(hooks.c.id)
    .limit(PAGE)
)


@dataclass(frozen=True, slots=True)
class StoredHook:
    """One hook, as it came in."""

    account: str
    chat: str
    received_at: datetime
    """Aware, UTC."""
    body: bytes


def count_hooks(database: Database, since: datetime | None = None) -> int:
    """How many hooks came in then or later. Raises StorageRefused and StorageUnavailable."""
    with reading(database) as session:
        return int(session.ask(_COUNT, since=_ms(since)).fetchone()[0])


def read_hooks(database: Database, since: datetime | None = None) -> Iterator[StoredHook]:
    """Those hooks, in the order in which they came. Raises StorageRefused and StorageUnavailable."""
    after = 0
    while True:
        with reading(database) as session:
            page = session.ask(_PAGE, after=after, since=_ms(since)).fetchall()
        for number, account, chat, received_at, body in page:
            after = number
            at = _EPOCH + timedelta(milliseconds=received_at)
            yield StoredHook(account, chat, at, zlib.decompress(body))
        if len(page) < PAGE:
            return


def _ms(instant: datetime | None) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1) if instant else 0
