"""All hooks that came in, read one after another beside a running relay without ever holding it up."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from relay.outbox.columns import from_ms, to_ms
from relay.outbox.command_session import reading
from relay.outbox.history import SetAside
from relay.outbox.rows import ITSELF
from relay.outbox.schema import (
    HAS_EMAIL_KEY,
    HAS_NO_KEYS,
    HAS_VISITOR_KEY,
    chats,
    hook_bodies,
    hooks,
    set_aside,
)
from relay.outbox.visitor_keys import SEVERAL, key_of
from relay.settings.database import Database

PAGE = 1000
"""Hooks per read. Each is a transaction of its own: a long one would let the write-ahead log grow without end."""
PAGE_OF_ODD_ONES = 50
"""Hooks that could not be read may be as long as any may be."""

Which = sa.ColumnElement[bool] | sa.TextClause
ANY = sa.true()
NOT_KNOWN_BY_VISITOR = sa.text(HAS_NO_KEYS)
"""Hooks that an older relay kept, whose visitors can't be asked for yet."""
OF_SEVERAL_ADDRESSES = sa.text(f"{HAS_EMAIL_KEY} AND email_key = {SEVERAL}")

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
_CHATS = (
    sa.select(sa.func.min(hooks.c.id), chats.c.account, chats.c.chat)
    .join(chats, chats.c.id == hooks.c.chat_id)
    .group_by(chats.c.id, chats.c.account, chats.c.chat)
)
_OF_EMAIL = _CHATS.where(hooks.c.email_key == sa.bindparam("key"), sa.text(HAS_EMAIL_KEY))
_OF_VISITOR = _CHATS.where(hooks.c.visitor_key == sa.bindparam("key"), sa.text(HAS_VISITOR_KEY))


@dataclass(frozen=True, slots=True)
class PastHook:
    """One hook, as it came in."""

    id: int
    account: str
    chat: str
    received_at: datetime
    """Aware, UTC."""
    body: bytes


def count_hooks(database: Database, since: datetime | None = None, which: Which = ANY) -> int:
    """How many hooks came in then or later. Raises StorageRefused and StorageUnavailable."""
    with reading(database) as session:
        return int(session.ask(_COUNT.where(which), since=_ms(since)).fetchone()[0])


def read_hooks(
    database: Database, since: datetime | None = None, which: Which = ANY
) -> Iterator[PastHook]:
    """Those hooks, in the order in which they came. Raises StorageRefused and StorageUnavailable."""
    after = 0
    while True:
        with reading(database) as session:
            page = session.ask(_PAGE.where(which), after=after, since=_ms(since)).fetchall()
        for number, account, chat, received_at, body in page:
            after = number
            yield PastHook(number, account, chat, from_ms(received_at), zlib.decompress(body))
        if len(page) < PAGE:
            return


def find_chats(
    database: Database, *, emails: Iterable[str], visitors: Iterable[str]
) -> dict[tuple[str, str], int]:
    """Account and id of each chat of a visitor with one of these canonical addresses or ids, and its first hook's id.

    By index: without the hooks of NOT_KNOWN_BY_VISITOR, and by their address those OF_SEVERAL_ADDRESSES. Raises
    StorageRefused and StorageUnavailable.
    """
    found: dict[tuple[str, str], int] = {}
    with reading(database) as session:
        for question, names in ((_OF_EMAIL, emails), (_OF_VISITOR, visitors)):
            for name in names:
                for first, account, chat in session.ask(question, key=key_of(name)).fetchall():
                    found[account, chat] = min(first, found.get((account, chat), first))
    return found


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
