"""Idempotency keys: a program's request that is sent twice with one key acts only once.

The key is stored in the transaction of the change itself, so it exists exactly where something was changed.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.delivery_types import to_ms
from relay.outbox.schema import idempotency_keys as keys
from relay.outbox.statements import Insert, Query, Statements, bound, inserted, ms
from relay.outbox.writer import Cursor

KEPT_FOR = timedelta(hours=24)


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """The idempotency key of one request, with a hash of what was asked."""

    owner: str
    """The token or user that chose the key. Equal keys of other owners are different keys."""
    key: str
    request: bytes
    """SHA-256 of the request."""


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """The stored answer to a request with an idempotency key."""

    request: bytes
    """SHA-256 of the request."""
    status: int | None
    """The HTTP status; None while the answer is not known, or if the relay ended before it was stored."""
    body: bytes


_this = sa.and_(keys.c.owner == bound("whose"), keys.c.key == bound("named"))
_FIND = Query(
    sa.select(keys.c.request, keys.c.status, keys.c.body).where(
        _this, keys.c.created_at > ms("since")
    )
)
_FORGET = Query(sa.delete(keys).where(keys.c.created_at <= ms("until")))
_ANSWER = Query(
    sa.update(keys).where(_this).values(status=bound("its_status"), body=bound("its_body"))
)


@Query
def _add(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    return inserted(
        insert, keys, "owner", "key", "request", "created_at", "body"
    ).on_conflict_do_nothing()


def add_key(sql: Statements, cursor: Cursor, key: IdempotencyKey, now: datetime) -> bool:
    """Store the key of the change that this transaction makes; False where the key was used before.

    Deletes keys older than KEPT_FOR.
    """
    sql[_FORGET].run(cursor, until=to_ms(now - KEPT_FOR))
    row = {"owner": key.owner, "key": key.key, "request": key.request}
    return bool(sql[_add].run(cursor, **row, created_at=to_ms(now), body=b"").rowcount)


def find_key(
    sql: Statements, cursor: Cursor, key: IdempotencyKey, now: datetime
) -> KeptAnswer | None:
    """The answer that a request with this key got in the last 24 hours; None where there was no such request."""
    row = (
        sql[_FIND]
        .run(cursor, whose=key.owner, named=key.key, since=to_ms(now - KEPT_FOR))
        .fetchone()
    )
    return KeptAnswer(request=bytes(row[0]), status=row[1], body=bytes(row[2])) if row else None


def keep_answer(
    sql: Statements, cursor: Cursor, key: IdempotencyKey, status: int, body: bytes
) -> None:
    """Store the answer that later requests with this key get."""
    sql[_ANSWER].run(cursor, whose=key.owner, named=key.key, its_status=status, its_body=body)
