"""All hooks that came in, read one after another beside a running relay without ever holding it up."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from relay.database import Database
from relay.outbox.beside import reading
from relay.outbox.columns import from_ms, to_ms
from relay.outbox.records import SetAside
from relay.outbox.schema import chats, hook_bodies, hooks, set_aside
from relay.outbox.values import ITSELF

PAGE = 1000
"""Hooks per read. Each is a transaction of its own: a long one would let the write-ahead log grow without end."""
PAGE_OF_ODD_ONES = 50
"""Hooks that could not be read may be as long as any may be."""

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
_ASIDE = (
    sa.select(set_aside.c.id, set_aside.c.received_at, set_aside.c.reason, set_aside.c.body)
    .where(set_aside.c.id > sa.bindparam("after"))
    .order_by(set_aside.c.id)
    .limit(sa.bindparam("at_once"))
)


@dataclass(frozen=True, slots=True)
class PastHook:
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


def read_hooks(database: Database, since: datetime | None = None) -> Iterator[PastHook]:
    """Those hooks, in the order in which they came. Raises StorageRefused and StorageUnavailable."""
    after = 0
    while True:
        with reading(database) as session:
            page = session.ask(_PAGE, after=after, since=_ms(since)).fetchall()
        for number, account, chat, received_at, body in page:
            after = number
            yield PastHook(account, chat, from_ms(received_at), zlib.decompress(body))
        if len(page) < PAGE:
            return


def read_set_aside(database: Database) -> Iterator[SetAside]:
    """The hooks that could not be read when they came, in that order. Raises as `read_hooks` does."""
    after = 0
    while True:
        with reading(database) as session:
            page = session.ask(_ASIDE, after=after, at_once=PAGE_OF_ODD_ONES).fetchall()
        for number, received_at, reason, body in page:
            after = number
            yield SetAside(
                id=number,
                received_at=from_ms(received_at),
                reason=reason,
                body=zlib.decompress(body),
            )
        if len(page) < PAGE_OF_ODD_ONES:
            return


def _ms(instant: datetime | None) -> int:
    return to_ms(instant) if instant else 0
