"""The people who use the console: users, what they may do, their sessions, and the log of acts."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.rows import from_ms, storable, to_ms
from relay.outbox.schema import acts, sessions, users
from relay.outbox.statements import Insert, Query, Statements, bound, inserted, ms
from relay.outbox.writer import Cursor

IDLE = timedelta(hours=12)
"""A session in which nobody does anything for as long has ended."""
LONGEST = timedelta(days=14)
"""A session ends then, whatever is done in it."""
TO_THE = timedelta(minutes=1)
"""How exactly it is written down when a session was last used."""
ACTS_KEPT_FOR = timedelta(days=730)


class Role(StrEnum):
    """What a user may do: each role may do what those before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    def may(self, wanted: "Role") -> bool:
        """Whether this role includes `wanted`."""
        order = list(Role)
        return order.index(self) >= order.index(wanted)


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may sign in."""

    id: int
    name: str
    role: Role
    password: str
    """A hash; empty for who can't sign in by a password."""


class UserSession(Struct, frozen=True, kw_only=True):
    """A user who has signed in in one browser."""

    id: int
    user: User
    used_at: datetime


class Act(Struct, frozen=True, kw_only=True):
    """What somebody did, without words of visitors."""

    by: str
    """The name of a user."""
    address: str
    act: str
    subject: str
    detail: str = ""
    via: str = "console"
    key: str | None = None
    """Of two acts with one key the second is not done."""


_USER = (users.c.id, users.c.name, users.c.role, users.c.password)
_is_enabled = users.c.disabled_at.is_(None)
_FIND_USER = Query(sa.select(*_USER).where(users.c.name == bound("called"), _is_enabled))
_FIND_SESSION = Query(
    sa.select(sessions.c.id, sessions.c.used_at, *_USER)
    .join(users, users.c.id == sessions.c.user_id)
    .where(
        sessions.c.hash == bound("its_hash"),
        sessions.c.created_at > ms("begun_after"),
        sessions.c.used_at > ms("last_used_after"),
        _is_enabled,
    )
)
_USE_SESSION = Query(
    sa.update(sessions)
    .where(sessions.c.id == bound("number"), sessions.c.used_at < ms("now"))
    .values(used_at=ms("now"))
)
_END_SESSION = Query(sa.delete(sessions).where(sessions.c.id == bound("number")))
_END_SESSIONS_OF = Query(sa.delete(sessions).where(sessions.c.user_id == bound("of_user")))
_FORGET_SESSIONS = Query(
    sa.delete(sessions).where(
        sa.or_(
            sessions.c.created_at <= ms("begun_by"),
            sessions.c.used_at <= ms("last_used_by"),
        )
    )
)
_FORGET_ACTS = Query(sa.delete(acts).where(acts.c.at < ms("before")))


@Query
def _add_session(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    columns = ("hash", "user_id", "created_at", "used_at", "address", "agent")
    return inserted(insert, sessions, *columns)


@Query
def _set_user(insert: Insert) -> Any:  # noqa: ANN401 - see above
    columns = ("name", "role", "password", "origin", "choices", "created_at")
    row = inserted(insert, users, *columns)
    changed = {name: row.excluded[name] for name in ("role", "password", "origin")}
    return row.on_conflict_do_update(
        index_elements=["name"], set_={**changed, "disabled_at": sa.null()}
    )


@Query
def _add_act(insert: Insert) -> Any:  # noqa: ANN401 - see above
    columns = ("at", "by", "via", "address", "act", "subject", "detail", "key")
    return inserted(insert, acts, *columns).on_conflict_do_nothing()


def find_user(sql: Statements, cursor: Cursor, name: str) -> User | None:
    """The enabled user with this name."""
    row = sql[_FIND_USER].run(cursor, called=storable(name)).fetchone()
    return _user(row) if row else None


def set_user(
    sql: Statements,
    cursor: Cursor,
    name: str,
    *,
    role: Role,
    password: str,
    origin: str,
    now: datetime,
) -> None:
    """Make a user, or give the user of this name another role and password, which ends their sessions."""
    row = {"role": role.value, "password": password, "origin": origin, "created_at": to_ms(now)}
    sql[_set_user].run(cursor, name=name, choices="{}", **row)
    user = find_user(sql, cursor, name)
    if user:
        end_sessions_of(sql, cursor, user.id)


def begin_session(
    sql: Statements,
    cursor: Cursor,
    user: User,
    hash_: bytes,
    *,
    address: str,
    agent: str,
    at: datetime,
) -> None:
    """Open a session for whoever holds what has this hash; sessions that are over are forgotten."""
    now = to_ms(at)
    sql[_FORGET_SESSIONS].run(cursor, begun_by=to_ms(at - LONGEST), last_used_by=to_ms(at - IDLE))
    sql[_FORGET_ACTS].run(cursor, before=to_ms(at - ACTS_KEPT_FOR))
    sql[_add_session].run(
        cursor,
        hash=hash_,
        user_id=user.id,
        created_at=now,
        used_at=now,
        address=storable(address),
        agent=storable(agent)[:200],
    )


def find_session(
    sql: Statements, cursor: Cursor, hash_: bytes, now: datetime
) -> UserSession | None:
    """The session that is open for whoever holds what has this hash."""
    row = (
        sql[_FIND_SESSION]
        .run(
            cursor,
            its_hash=hash_,
            begun_after=to_ms(now - LONGEST),
            last_used_after=to_ms(now - IDLE),
        )
        .fetchone()
    )
    return UserSession(id=row[0], used_at=from_ms(row[1]), user=_user(row[2:])) if row else None


def use_session(sql: Statements, cursor: Cursor, session: UserSession, now: datetime) -> None:
    """Write down that a person did something in it."""
    sql[_USE_SESSION].run(cursor, number=session.id, now=to_ms(now))


def end_session(sql: Statements, cursor: Cursor, session: int) -> None:
    """Nobody gets in by it any more."""
    sql[_END_SESSION].run(cursor, number=session)


def end_sessions_of(sql: Statements, cursor: Cursor, user: int) -> None:
    """The user has to sign in again, in every browser."""
    sql[_END_SESSIONS_OF].run(cursor, of_user=user)


def add_act(sql: Statements, cursor: Cursor, act: Act, now: datetime) -> bool:
    """Write down what is done in this transaction; False where an act with its key stands there already."""
    row = {each: storable(getattr(act, each)) for each in ("by", "via", "address", "act")}
    done = sql[_add_act].run(
        cursor,
        at=to_ms(now),
        subject=storable(act.subject),
        detail=storable(act.detail),
        key=act.key,
        **row,
    )
    return bool(done.rowcount)


def _user(row: Any) -> User:  # noqa: ANN401 - drivers share no type
    number, name, role, password = row
    return User(id=number, name=name, role=Role(role), password=password)
