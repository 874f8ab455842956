"""Hooks that an older relay kept get the keys of their visitors, while the relay works on."""

import asyncio
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from relay.chat import Visitor
from relay.outbox import Outbox
from relay.outbox.schema import HAS_NO_KEYS, hook_bodies, hooks
from relay.outbox.statements import Statement
from relay.outbox.visitor_keys import keys_of
from relay.smartsupp import UnreadableHook, read_chat

AT_ONCE = 50
"""Hooks read, or written, in one transaction: about 1 ms, which a new hook may have to wait for."""
PAUSE = 0.05
"""Seconds between two such pages, so that most of the processor is left to new hooks."""

_FIND = (
    sa.select(hooks.c.id, hook_bodies.c.body)
    .join(hook_bodies, hook_bodies.c.hook_id == hooks.c.id)
    .where(sa.text(HAS_NO_KEYS))
    .order_by(hooks.c.id)
    .limit(AT_ONCE)
)
_GIVE = (
    sa.update(hooks)
    .where(hooks.c.id == sa.bindparam("hook"))
    .values(email_key=sa.bindparam("email"), visitor_key=sa.bindparam("visitor"))
)


async def give_keys(outbox: Outbox) -> int:
    """Until every hook has them; returns how many got theirs. Raises StorageUnavailable."""
    find, give = Statement(_FIND, outbox.dialect), Statement(_GIVE, outbox.dialect)
    given = 0
    while page := await outbox.run(lambda cursor: find.run(cursor).fetchall()):
        rows = await asyncio.to_thread(_keys, page)
        await outbox.run(partial(give.run_many, rows=rows))
        given += len(rows)
        await asyncio.sleep(PAUSE)
    return given


def _keys(page: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    found = ((hook, keys_of(_visitor(body))) for hook, body in page)
    return [
        {"hook": hook, "email": keys["email_key"], "visitor": keys["visitor_key"]}
        for hook, keys in found
    ]


def _visitor(body: bytes) -> Visitor:
    try:
        return read_chat(zlib.decompress(body)).visitor
    except UnreadableHook:  # one that an older relay could read
        return Visitor()
