"""The people who use the console: users with their roles, and their sessions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.delivery_types import from_ms, maybe_time, storable, to_ms
from relay.outbox.schema import acts, sessions, users
from relay.outbox.statements import Insert, Query, Statements, bound, inserted, ms
from relay.outbox.user_choices import Choices, read_choices
from relay.outbox.writer import Cursor

ADMIN = "admin"
"""The user whose password is RELAY_CONSOLE_PASSWORD."""
IDLE = timedelta(hours=12)
"""A session in which nobody has done anything for this long ends."""
LONGEST = timedelta(days=14)
"""A session ends after this time, whatever is done in it."""
TO_THE = timedelta(minutes=1)
"""How exactly the time of a session's last use is stored."""
ACTS_KEPT_FOR = timedelta(days=730)


class Role(StrEnum):
    """A user's role, which decides what the user may do. Each role includes the rights of the roles before it."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    def may(self, wanted: "Role") -> bool:
        """Whether this role includes `wanted`."""
        order = list(Role)
        return order.index(self) >= order.index(wanted)


class User(Struct, frozen=True, kw_only=True):
    """A person who may sign in."""

    id: int
    name: str
    role: Role
    password: str
    """A hash; empty for a user who can't sign in by password."""
    choices: Choices = Choices()


class UserSession(Struct, frozen=True, kw_only=True):
    """The session of a user who has signed in with one browser."""

    id: int
    user: User
    used_at: datetime


class KnownUser(Struct, frozen=True, kw_only=True):
    """A user as shown in lists."""

    user: User
    origin: str
    """`setting`, `command` or `console`: how the user was created."""
    seen_at: datetime | None
    """When the user last did something, as far as that is still stored."""
    sessions: int
    """How many sessions are open."""


class OpenSession(Struct, frozen=True, kw_only=True):
    """A session as shown to its user, who may recognize the browser by `agent` and `address`."""

    id: int
    begun_at: datetime
    used_at: datetime
    address: str
    agent: str


_USER = (users.c.id, users.c.name, users.c.role, users.c.password, users.c.choices)
_is_enabled = users.c.disabled_at.is_(None)
_FIND_USER = Query(sa.select(*_USER).where(users.c.name == bound("called"), _is_enabled))
_FIND_USER_BY_ID = Query(sa.select(*_USER).where(users.c.id == bound("number"), _is_enabled))
_ADMINS = Query(
    sa.select(users.c.id)
    .where(users.c.role == Role.ADMIN.value, _is_enabled)
    .order_by(users.c.id)
    .with_for_update()
)
"""Locks the rows: two admins who change each other's role at once would leave none."""
_HAS_USERS = Query(sa.select(users.c.id).where(_is_enabled, users.c.origin != "setting").limit(1))
_is_open = sa.and_(
    sessions.c.created_at > ms("begun_after"), sessions.c.used_at > ms("last_used_after")
)
_opened = (
    sa.select(
        sessions.c.user_id,
        sa.func.count().label("count"),
        sa.func.max(sessions.c.used_at).label("used_at"),
    )
    .where(_is_open)
    .group_by(sessions.c.user_id)
    .subquery()
)
_signed_in = (
    sa.select(acts.c.by, sa.func.max(acts.c.at).label("at"))
    .where(acts.c.act == "sign in", acts.c.detail != "failed")
    .group_by(acts.c.by)
    .subquery()
)
_ALL_USERS = Query(
    sa.select(
        *_USER,
        users.c.origin,
        sa.func.coalesce(_opened.c.used_at, _signed_in.c.at),
        sa.func.coalesce(_opened.c.count, 0),
    )
    .outerjoin(_opened, _opened.c.user_id == users.c.id)
    .outerjoin(_signed_in, _signed_in.c.by == users.c.name)
    .where(_is_enabled)
    .order_by(users.c.name)
)
_CHANGE_USER = Query(
    sa.update(users)
    .where(users.c.id == bound("number"))
    .values(role=bound("new_role"), password=bound("new_password"))
)
_REMOVE_USER = Query(sa.delete(users).where(users.c.id == bound("number")))
_REST_SETTING = Query(
    sa.update(users).where(users.c.origin == "setting", _is_enabled).values(disabled_at=ms("now"))
)
_SESSIONS_OF = Query(
    sa.select(*(sessions.c[name] for name in ("id", "created_at", "used_at", "address", "agent")))
    .where(sessions.c.user_id == bound("of_user"), _is_open)
    .order_by(sessions.c.used_at.desc(), sessions.c.id.desc())
)
_END_SESSION_OF = Query(
    sa.delete(sessions).where(
        sessions.c.id == bound("number"), sessions.c.user_id == bound("of_user")
    )
)
_END_SESSIONS_OF = Query(sa.delete(sessions).where(sessions.c.user_id == bound("of_user")))
_FIND_SESSION = Query(
    sa.select(sessions.c.id, sessions.c.used_at, *_USER)
    .join(users, users.c.id == sessions.c.user_id)
    .where(
        sessions.c.hash == bound("its_hash"),
        _is_open,
        _is_enabled,
    )
)
_USE_SESSION = Query(
    sa.update(sessions)
    .where(sessions.c.id == bound("number"), sessions.c.used_at < ms("now"))
    .values(used_at=ms("now"))
)
_END_SESSION = Query(sa.delete(sessions).where(sessions.c.id == bound("number")))
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
def _set_user(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    columns = ("name", "role", "password", "origin", "choices", "created_at")
    row = inserted(insert, users, *columns)
    changed = {name: row.excluded[name] for name in ("role", "password", "origin")}
    return row.on_conflict_do_update(
        index_elements=["name"], set_={**changed, "disabled_at": sa.null()}
    )


def find_user(sql: Statements, cursor: Cursor, name: str) -> User | None:
    """The enabled user with this name; None where there is none."""
    row = sql[_FIND_USER].run(cursor, called=storable(name)).fetchone()
    return _user(row) if row else None


def find_user_by_id(sql: Statements, cursor: Cursor, number: int) -> User | None:
    """The enabled user with this number; None where there is none."""
    row = sql[_FIND_USER_BY_ID].run(cursor, number=number).fetchone()
    return _user(row) if row else None


def has_users(sql: Statements, cursor: Cursor) -> bool:
    """Whether there is an enabled user who was not created by a setting."""
    return sql[_HAS_USERS].run(cursor).fetchone() is not None


def all_users(sql: Statements, cursor: Cursor, now: datetime) -> list[KnownUser]:
    """All enabled users, by name."""
    rows = sql[_ALL_USERS].run(cursor, **_open_at(now)).fetchall()
    return [
        KnownUser(user=_user(row[:5]), origin=row[5], seen_at=maybe_time(row[6]), sessions=row[7])
        for row in rows
    ]


def admins(sql: Statements, cursor: Cursor) -> set[int]:
    """The numbers of all admins, locked until the transaction ends."""
    return {number for (number,) in sql[_ADMINS].run(cursor).fetchall()}


def change_user(sql: Statements, cursor: Cursor, user: User) -> None:
    """Store the role and password of the user with this number."""
    new = {"new_role": user.role.value, "new_password": user.password}
    sql[_CHANGE_USER].run(cursor, number=user.id, **new)


def remove_user(sql: Statements, cursor: Cursor, user: int) -> None:
    """Delete a user, with their sessions, links and tokens."""
    sql[_REMOVE_USER].run(cursor, number=user)


def rest_user_of_setting(sql: Statements, cursor: Cursor, now: datetime) -> None:
    """Disable the user of a setting that was removed; `set_user` enables the user again."""
    sql[_REST_SETTING].run(cursor, now=to_ms(now))


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
    """Create a user, or change the role and password of the user with this name, which ends their sessions."""
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
    """Open a session for the cookie with this hash. Deletes sessions that have ended and old acts."""
    sql[_FORGET_SESSIONS].run(cursor, begun_by=to_ms(at - LONGEST), last_used_by=to_ms(at - IDLE))
    sql[_FORGET_ACTS].run(cursor, before=to_ms(at - ACTS_KEPT_FOR))
    sql[_add_session].run(
        cursor,
        hash=hash_,
        user_id=user.id,
        created_at=to_ms(at),
        used_at=to_ms(at),
        address=storable(address),
        agent=storable(agent)[:200],
    )


def find_session(
    sql: Statements, cursor: Cursor, hash_: bytes, now: datetime
) -> UserSession | None:
    """The open session for the cookie with this hash; None where there is none."""
    row = (
        sql[_FIND_SESSION]
        .run(
            cursor,
            its_hash=hash_,
            **_open_at(now),
        )
        .fetchone()
    )
    return UserSession(id=row[0], used_at=from_ms(row[1]), user=_user(row[2:])) if row else None


def use_session(sql: Statements, cursor: Cursor, session: UserSession, now: datetime) -> None:
    """Store that the user did something in the session."""
    sql[_USE_SESSION].run(cursor, number=session.id, now=to_ms(now))


def end_session(sql: Statements, cursor: Cursor, session: int) -> None:
    """End the session with this number."""
    sql[_END_SESSION].run(cursor, number=session)


def end_sessions_of(sql: Statements, cursor: Cursor, user: int) -> None:
    """End all sessions of a user."""
    sql[_END_SESSIONS_OF].run(cursor, of_user=user)


def end_own_session(sql: Statements, cursor: Cursor, user: int, session: int) -> bool:
    """End one session of a user; False where the user has no such session."""
    return bool(sql[_END_SESSION_OF].run(cursor, number=session, of_user=user).rowcount)


def sessions_of(sql: Statements, cursor: Cursor, user: int, now: datetime) -> list[OpenSession]:
    """The open sessions of a user, last used first."""
    rows = sql[_SESSIONS_OF].run(cursor, of_user=user, **_open_at(now)).fetchall()
    return [
        OpenSession(
            id=row[0],
            begun_at=from_ms(row[1]),
            used_at=from_ms(row[2]),
            address=row[3],
            agent=row[4],
        )
        for row in rows
    ]


def _open_at(now: datetime) -> dict[str, int]:
    return {"begun_after": to_ms(now - LONGEST), "last_used_after": to_ms(now - IDLE)}


def _user(row: Any) -> User:  # noqa: ANN401 - drivers share no type
    number, name, role, password, choices = row
    chosen = read_choices(choices)
    return User(id=number, name=name, role=Role(role), password=password, choices=chosen)
