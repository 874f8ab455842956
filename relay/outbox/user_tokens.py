"""Secrets that sign in without a password: links that set a password once, and API tokens of programs.

Only their hashes are stored.
"""

import hashlib
import secrets
import string
import zlib
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.delivery_types import from_ms, maybe_ms, maybe_time, storable, to_ms
from relay.outbox.schema import tokens, users
from relay.outbox.statements import Insert, Query, Statements, bound, inserted, ms
from relay.outbox.user_accounts import Role, User
from relay.outbox.writer import Cursor

LINK_LASTS = timedelta(hours=24)
TOKEN_MARK = "relay_"  # noqa: S105 - how every token begins
_SIGNS = string.ascii_letters + string.digits
_LENGTH = 43
"""How many random letters and digits a secret has, for 256 bits."""
_OF_CHECKSUM = 6
"""Letters and digits of a token's checksum, at its end."""
_DAY = timedelta(days=1)


class ApiToken(Struct, frozen=True, kw_only=True):
    """A token with which a program uses the JSON API."""

    id: int
    name: str
    role: Role
    """The lower of the chosen role and the maker's present role."""
    maker: str
    """The name of the user who made it."""
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    """When it was last used, to the day."""


_lasts = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > ms("now"))
_of_enabled_user = sa.and_(users.c.id == tokens.c.user_id, users.c.disabled_at.is_(None))
_FIND_LINK = Query(
    sa.select(users.c.id, users.c.name, users.c.role, users.c.password)
    .join(tokens, _of_enabled_user)
    .where(tokens.c.hash == bound("its_hash"), tokens.c.kind == "link", _lasts)
)
_USE_LINK = Query(
    sa.delete(tokens).where(tokens.c.hash == bound("its_hash"), tokens.c.kind == "link", _lasts)
)
_END_LINKS_OF = Query(
    sa.delete(tokens).where(tokens.c.user_id == bound("of_user"), tokens.c.kind == "link")
)
_FORGET = Query(sa.delete(tokens).where(tokens.c.kind == "link", tokens.c.expires_at <= ms("now")))
_API = (
    *(tokens.c[name] for name in ("id", "name", "role")),
    users.c.name.label("maker"),
    users.c.role.label("role_of_maker"),
    *(tokens.c[name] for name in ("created_at", "expires_at", "used_at")),
)
_is_api = sa.and_(tokens.c.kind == "api", tokens.c.ended_at.is_(None))
_FIND_API = Query(
    sa.select(*_API)
    .join(users, _of_enabled_user)
    .where(tokens.c.hash == bound("its_hash"), _is_api, _lasts)
)
_ALL_API = Query(
    sa.select(*_API).join(users, _of_enabled_user).where(_is_api).order_by(tokens.c.id.desc())
)
_USE_API = Query(sa.update(tokens).where(tokens.c.id == bound("number")).values(used_at=ms("now")))
_END_API = Query(
    sa.update(tokens).where(tokens.c.id == bound("number"), _is_api).values(ended_at=ms("now"))
)


@Query
def _add(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    return inserted(
        insert, tokens, "hash", "kind", "name", "role", "user_id", "created_at", "expires_at"
    )


def token_hash(secret: str) -> bytes:
    """The SHA-256 under which a link, a token or a cookie is stored."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def make_link(sql: Statements, cursor: Cursor, user: User, now: datetime) -> str:
    """The secret of a new link for a user. Previous links of the user end."""
    secret = "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
    end_links_of(sql, cursor, user.id)
    sql[_FORGET].run(cursor, now=to_ms(now))
    row = {"kind": "link", "name": "", "role": user.role.value, "user_id": user.id}
    times = {"created_at": to_ms(now), "expires_at": to_ms(now + LINK_LASTS)}
    sql[_add].run(cursor, hash=token_hash(secret), **row, **times)
    return secret


def find_link(sql: Statements, cursor: Cursor, secret: str, now: datetime) -> User | None:
    """The user to whom a link belongs; None where it has ended or was used."""
    row = sql[_FIND_LINK].run(cursor, its_hash=token_hash(secret), now=to_ms(now)).fetchone()
    return User(id=row[0], name=row[1], role=Role(row[2]), password=row[3]) if row else None


def use_link(sql: Statements, cursor: Cursor, secret: str, now: datetime) -> bool:
    """Use up a link; False where it was used already or has ended."""
    done = sql[_USE_LINK].run(cursor, its_hash=token_hash(secret), now=to_ms(now))
    return bool(done.rowcount)


def end_links_of(sql: Statements, cursor: Cursor, user: int) -> None:
    """End all links of a user."""
    sql[_END_LINKS_OF].run(cursor, of_user=user)


def make_token(
    sql: Statements,
    cursor: Cursor,
    maker: int,
    *,
    name: str,
    role: Role,
    expires: datetime | None,
    now: datetime,
) -> str:
    """Create a token and return its secret, which is not stored. `maker`: the number of a user."""
    secret = TOKEN_MARK + "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
    secret += _checksum(secret)
    row = {"kind": "api", "name": storable(name), "role": role.value, "user_id": maker}
    times = {"created_at": to_ms(now), "expires_at": maybe_ms(expires)}
    sql[_add].run(cursor, hash=token_hash(secret), **row, **times)
    return secret


def is_mistyped(secret: str) -> bool:
    """Whether a text begins like a token but has a wrong checksum, because it was cut off or mistyped."""
    body, checksum = secret[:-_OF_CHECKSUM], secret[-_OF_CHECKSUM:]
    return secret.startswith(TOKEN_MARK) and checksum != _checksum(body)


def _checksum(text: str) -> str:
    """A CRC-32 in letters and digits, by which secret scanners recognize a token."""
    rest, signs = zlib.crc32(text.encode("utf-8", "replace")), ""
    for _ in range(_OF_CHECKSUM):
        rest, number = divmod(rest, len(_SIGNS))
        signs += _SIGNS[number]
    return signs


def find_token(sql: Statements, cursor: Cursor, secret: str, now: datetime) -> ApiToken | None:
    """The valid token with this secret; None where there is none."""
    row = sql[_FIND_API].run(cursor, its_hash=token_hash(secret), now=to_ms(now)).fetchone()
    return _token(row) if row else None


def use_token(sql: Statements, cursor: Cursor, token: ApiToken, now: datetime) -> None:
    """Store that a token was used."""
    sql[_USE_API].run(cursor, number=token.id, now=to_ms(now))


def is_used_today(token: ApiToken, now: datetime) -> bool:
    """Whether a use of the token within the last 24 hours is stored, so that this one need not be."""
    return token.used_at is not None and now - token.used_at < _DAY


def all_tokens(sql: Statements, cursor: Cursor) -> list[ApiToken]:
    """All tokens that nobody has ended, newest first; some may have expired."""
    return [_token(row) for row in sql[_ALL_API].run(cursor).fetchall()]


def end_token(sql: Statements, cursor: Cursor, number: int, now: datetime) -> bool:
    """End a token; False where there is no such token, or it has ended."""
    return bool(sql[_END_API].run(cursor, number=number, now=to_ms(now)).rowcount)


def _token(row: Any) -> ApiToken:  # noqa: ANN401 - drivers share no type
    number, name, role, maker, role_of_maker, created, expires, used = row
    chosen, allowed = Role(role), Role(role_of_maker)
    return ApiToken(
        id=number,
        name=name,
        role=chosen if allowed.may(chosen) else allowed,
        maker=maker,
        created_at=from_ms(created),
        expires_at=maybe_time(expires),
        used_at=maybe_time(used),
    )
