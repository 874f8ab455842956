"""The users of the console, as administrators and commands change them. Each change is logged in its own transaction."""

import logging
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from relay.outbox.audit_log import Act, add_act
from relay.outbox.idempotency import IdempotencyKey, add_key
from relay.outbox.statements import Statements
from relay.outbox.user_accounts import (
    Role,
    User,
    admins,
    change_user,
    end_own_session,
    end_sessions_of,
    find_user,
    find_user_by_id,
    remove_user,
    set_user,
)
from relay.outbox.user_tokens import ApiToken, end_links_of, end_token, make_link, make_token
from relay.outbox.writer import Cursor
from relay.settings.parsers import SHORTEST_PASSWORD
from relay.text import clean_line

LONGEST_NAME = 100
LONGEST_PASSWORD = 1024
"""Characters. A longer text is no password, and is not hashed."""

log = logging.getLogger(__name__)


class Why(StrEnum):
    """Why a user or token was not changed."""

    NAME = "name"
    EXISTS = "exists"
    UNKNOWN_USER = "not there"
    LAST_ADMIN = "last admin"
    SETTING = "setting"
    OUTLIVES = "outlives"
    """A token would last longer than the one by which it is made."""


class NotDone(Exception):
    """Raised where a user or token could not be changed, with the reason; nothing was changed."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class Actor(Struct, frozen=True, kw_only=True):
    """The person or program who acts, for the log of acts."""

    name: str
    via: str
    """`console`, `api` or `command`."""
    address: str = ""


def name_of_user(typed: str) -> str:
    """A user's name as it is stored: a word or an email address, in lower case. Raises NotDone."""
    name = typed.strip().lower()
    if not name or len(name) > LONGEST_NAME or name != clean_line(name) or " " in name:
        raise NotDone(Why.NAME)
    return name


def is_password(text: str) -> bool:
    """Whether a text has a valid length for a password and is not blank."""
    return SHORTEST_PASSWORD <= len(text) <= LONGEST_PASSWORD and bool(text.strip())


class Users:
    """Changes to users within one transaction, which must be rolled back if a method raises NotDone."""

    def __init__(
        self, sql: Statements, cursor: Cursor, actor: Actor, now: datetime, *, fixed: str = ""
    ) -> None:
        """`fixed`: the name of the user whom a setting creates, and who is changed only there; empty for none."""
        self._sql, self._cursor, self._actor, self._now = sql, cursor, actor, now
        self._fixed = fixed

    def keep_key(self, key: IdempotencyKey) -> bool:
        """Store the idempotency key of the request; False where it was used before."""
        return add_key(self._sql, self._cursor, key, self._now)

    def find(self, name: str) -> User:
        """The user with this name, without regard to case. Raises NotDone."""
        return self._existing(find_user(self._sql, self._cursor, name.strip().lower()))

    def by_id(self, number: int) -> User:
        """Return the user with this number. Raises NotDone if there is none."""
        return self._existing(find_user_by_id(self._sql, self._cursor, number))

    def add(self, name: str, role: Role, password: str = "") -> User:
        """Add a user. `password`: a hash; empty for a user who will set one with a link."""
        name = name_of_user(name)
        if find_user(self._sql, self._cursor, name):
            raise NotDone(Why.EXISTS)
        set_user(
            self._sql,
            self._cursor,
            name,
            role=role,
            password=password,
            origin=self._actor.via,
            now=self._now,
        )
        self._write("add user", name, role.value)
        return self.find(name)

    def set_password(self, user: User, password: str) -> None:
        """Change a password, given as a hash. Ends all of the user's sessions and links."""
        change_user(self._sql, self._cursor, replace(user, password=password))
        end_sessions_of(self._sql, self._cursor, user.id)
        end_links_of(self._sql, self._cursor, user.id)
        self._write("set password", user.name)

    def set_role(self, user: User, role: Role) -> None:
        """Change a user's role. Their sessions end, so that no page stays open that they may no longer see."""
        if role == user.role:
            return
        self._keep_an_admin(user)
        change_user(self._sql, self._cursor, replace(user, role=role))
        end_sessions_of(self._sql, self._cursor, user.id)
        self._write("change role", user.name, role.value)

    def remove(self, user: User) -> None:
        """Remove a user, with their sessions, links and tokens."""
        self._refuse_fixed(user)
        self._keep_an_admin(user)
        remove_user(self._sql, self._cursor, user.id)
        self._write("remove user", user.name)

    def end_sessions(self, user: User) -> None:
        """End all sessions of a user, who then has to sign in again in every browser."""
        end_sessions_of(self._sql, self._cursor, user.id)
        self._write("end sessions", user.name)

    def end_session(self, user: User, session: int) -> None:
        """End one of the user's own sessions."""
        if not end_own_session(self._sql, self._cursor, user.id, session):
            raise NotDone(Why.UNKNOWN_USER)
        self._write("end session", user.name)

    def make_link(self, user: User) -> str:
        """The secret of a link with which the user sets a password, once, within 24 hours."""
        self._refuse_fixed(user)
        self._write("make link", user.name)
        return make_link(self._sql, self._cursor, user, self._now)

    def make_token(
        self,
        user: User,
        name: str,
        role: Role,
        lasts: timedelta | None,
        *,
        by: ApiToken | None = None,
    ) -> str:
        """Create a token for a program and return it. `user`: its maker. `lasts`: None for ever.

        `by`: the token that asks for it, which the new one must not outlive.
        """
        if not (name := clean_line(name, LONGEST_NAME)):
            raise NotDone(Why.NAME)
        expires = self._now + lasts if lasts else None
        if by and by.expires_at and (expires is None or expires > by.expires_at):
            raise NotDone(Why.OUTLIVES)
        self._write("make token", name, role.value)
        return make_token(
            self._sql, self._cursor, user.id, name=name, role=role, expires=expires, now=self._now
        )

    def end_token(self, number: int, name: str) -> None:
        """End a token. `name`: the token's name, for the log of acts."""
        if not end_token(self._sql, self._cursor, number, self._now):
            raise NotDone(Why.UNKNOWN_USER)
        self._write("end token", name)

    def _existing(self, user: User | None) -> User:
        if user is None:
            raise NotDone(Why.UNKNOWN_USER)
        return user

    def _refuse_fixed(self, user: User) -> None:
        if user.name == self._fixed:
            raise NotDone(Why.SETTING)

    def _keep_an_admin(self, user: User) -> None:
        if admins(self._sql, self._cursor) == {user.id}:
            raise NotDone(Why.LAST_ADMIN)

    def _write(self, act: str, subject: str, detail: str = "") -> None:
        actor = self._actor
        done = Act(
            by=actor.name,
            via=actor.via,
            address=actor.address,
            act=act,
            subject=subject,
            detail=detail,
        )
        add_act(self._sql, self._cursor, done, self._now)
        log.info("%s: %s %s", actor.name, act, subject)
