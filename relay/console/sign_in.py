"""Signs people in: checks passwords, begins, finds and ends sessions, and logs each of these."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from relay.clock import Clock
from relay.console.passwords import Passwords
from relay.console.request_context import Caller
from relay.console.throttle import PasswordTries
from relay.outbox import Outbox, StorageUnavailable
from relay.outbox.audit_log import Act, add_act
from relay.outbox.user_accounts import (
    ADMIN,
    TO_THE,
    Role,
    User,
    UserSession,
    begin_session,
    end_session,
    find_session,
    find_user,
    find_user_by_id,
    rest_user_of_setting,
    sessions_of,
    set_user,
    use_session,
)
from relay.outbox.user_choices import Choices, set_choices
from relay.outbox.user_tokens import (
    ApiToken,
    find_link,
    find_token,
    is_used_today,
    token_hash,
    use_link,
    use_token,
)
from relay.outbox.writer import Cursor
from relay.services.users import LONGEST_NAME, Actor, Users
from relay.settings.environment import SecretValue

PATIENCE = 3.0
"""Seconds that a page waits for the database to find the session."""
PATIENCE_TO_WRITE = 5.5
PATIENCE_TO_NOTE = 1.0
"""Seconds that a page waits for the session's use to be stored."""
SEEN_FOR = timedelta(minutes=10)
"""How long a session is trusted while it can't be looked up."""
MOST_SEEN = 256
RECENT = timedelta(minutes=10)
"""In a session older than this, the password is asked again before something that can't be undone."""

log = logging.getLogger(__name__)
T = TypeVar("T")


class SignInRefused(Exception):
    """Raised where the name or password is wrong, or there were too many tries."""

    def __init__(self, wait: int = 0) -> None:
        """`wait`: seconds until the next try; 0 where name or password are wrong."""
        super().__init__(wait)
        self.wait = wait


class LinkEnded(Exception):
    """Raised where a link was used, has expired, or never existed."""


class SignIn:
    """Sign-ins and sessions of one relay's users, in its database."""

    def __init__(
        self,
        outbox: Outbox,
        password: SecretValue | None,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`password`: of the user `admin`, from the settings."""
        self._outbox = outbox
        self._sql = outbox.operations.sql
        self._password = password
        self._clock = clock
        self._monotonic = monotonic
        self._passwords = Passwords()
        self._tries = PasswordTries()
        self._is_prepared = False
        self._seen: OrderedDict[bytes, tuple[UserSession, datetime]] = OrderedDict()
        """Sessions that were found, and when, by the hash of their cookie."""
        self._preparing = asyncio.Lock()

    def close(self) -> None:
        """End the thread that hashes passwords."""
        self._passwords.close()

    @property
    def has_password_of_setting(self) -> bool:
        """Whether the settings have a password for the user `admin`."""
        return self._password is not None

    def now(self) -> datetime:
        """The present time, aware."""
        return self._clock()

    async def find(self, secret: str, *, by_person: bool) -> UserSession | None:
        """The session of a cookie; None without one. Raises StorageUnavailable and TimeoutError.

        `by_person`: a person did something, which keeps the session open; a page that polls does not.
        """
        await self._prepare()
        now, hash_ = self._clock(), token_hash(secret)
        session = await self.read(find_session, hash_=hash_, now=now)
        if session is None:
            self._seen.pop(hash_, None)
            return None
        if by_person and now - session.used_at >= TO_THE:
            # Where nothing can be written, what can be read is shown all the same.
            with suppress(StorageUnavailable, TimeoutError):
                async with asyncio.timeout(PATIENCE_TO_NOTE):
                    await self._run(partial(use_session, self._sql, session=session, now=now))
        self._seen[hash_] = session, now
        self._seen.move_to_end(hash_)
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return session

    def recent_session(self, secret: str) -> UserSession | None:
        """The session that a cookie had a short while ago, for pages that work without the database."""
        seen = self._seen.get(token_hash(secret))
        return seen[0] if seen and self._clock() - seen[1] < SEEN_FOR else None

    async def is_open(self, caller: Caller) -> bool:
        """Whether the session or token of an earlier caller is still valid. Raises StorageUnavailable and TimeoutError."""
        if caller.token:
            token = await self.find_token(caller.secret)
            return token is not None and token.role.may(caller.token.role)
        return await self.find(caller.secret, by_person=False) is not None

    async def find_token(self, secret: str) -> ApiToken | None:
        """The valid API token with this secret; None without one. Raises StorageUnavailable and TimeoutError."""
        await self._prepare()
        now = self._clock()
        token = await self.read(find_token, secret=secret, now=now)
        if token and not is_used_today(token, now):
            await self._run(partial(use_token, self._sql, token=token, now=now))
        return token

    async def sign_in(self, name: str, password: str, caller: Caller) -> str:
        """Begin a session and return the value of its cookie. Raises SignInRefused, StorageUnavailable and TimeoutError."""
        await self._prepare()
        name = name.strip().lower()[: LONGEST_NAME + 1]
        user = await self._check_password(name, password, caller, "sign in")
        log.info("%s signed in to the console from %s", user.name, caller.address)
        return await self._run(partial(self._begin, user=user, caller=caller))

    async def sign_in_elsewhere(
        self, name: str, caller: Caller, where: str
    ) -> tuple[str, UserSession] | None:
        """Begin a session for a user who has signed in at a proxy or a provider; None where there is no such user.

        `where`: for the log of acts, such as "by the proxy". Raises StorageUnavailable and TimeoutError.
        """
        await self._prepare()
        user = await self.read(find_user, name=name.strip().lower())
        if user is None:
            return None
        secret = await self._run(partial(self._begin, user=user, caller=caller, detail=where))
        log.info("%s signed in to the console %s", user.name, where)
        session = await self.find(secret, by_person=False)
        return (secret, session) if session else None

    async def owner_of_link(self, secret: str) -> User:
        """The user to whom a link belongs. Raises LinkEnded, StorageUnavailable and TimeoutError."""
        await self._prepare()
        user = await self.read(find_link, secret=secret, now=self._clock())
        if user is None:
            raise LinkEnded
        return user

    async def use_link(self, secret: str, password: str, caller: Caller) -> str:
        """Set a password with a link, once, and begin a session. Raises as `sign_in` does, and LinkEnded."""
        user = await self.owner_of_link(secret)
        hash_ = await self._passwords.hash(password)

        def work(cursor: Cursor) -> str:
            if not use_link(self._sql, cursor, secret, self._clock()):
                raise LinkEnded
            return self._renew(cursor, user, hash_, caller, "by a link")

        return await self._run(work)

    async def link_for(self, name: str) -> str:
        """The secret of a link that signs in as an admin without a password, who is created if need be. For a demo."""

        def work(cursor: Cursor) -> str:
            users = Users(self._sql, cursor, Actor(name=name, via="demo"), self._clock())
            known = find_user(self._sql, cursor, name)
            return users.make_link(known or users.add(name, Role.ADMIN))

        return await self._run(work)

    async def enter_by_link(self, secret: str, caller: Caller) -> str:
        """Begin a session with a link, once. Raises as `sign_in` does, and LinkEnded."""
        user = await self.owner_of_link(secret)

        def work(cursor: Cursor) -> str:
            if not use_link(self._sql, cursor, secret, self._clock()):
                raise LinkEnded
            return self._begin(cursor, user, caller, "by a link")

        return await self._run(work)

    async def change_password(self, old: str, new: str, caller: Caller) -> str:
        """Change the user's password and begin a new session; all other sessions end. Raises as `sign_in` does."""
        session = _session(caller)
        user = await self._check_password(session.user.name, old, caller, "set password")
        hash_ = await self._passwords.hash(new)
        return await self._run(lambda cursor: self._renew(cursor, user, hash_, caller))

    async def is_recent(self, caller: Caller) -> bool:
        """Whether the session began so recently that the password need not be asked again."""
        session = _session(caller)
        sessions = await self.read(sessions_of, user=session.user.id, now=self._clock())
        begun = (each.begun_at for each in sessions if each.id == session.id)
        return any(self._clock() - at < RECENT for at in begun)

    async def confirm(self, password: str, caller: Caller) -> None:
        """Check the user's password again. A user without a password has signed in elsewhere. Raises as `sign_in` does."""
        user = _session(caller).user
        if user.password:
            await self._check_password(user.name, password, caller, "confirm")

    async def choose(self, user: User, choices: Choices) -> None:
        """Store a user's choices. Raises StorageUnavailable and TimeoutError."""
        await self._run(partial(set_choices, self._sql, user=user.id, choices=choices))

    async def sign_out(self, caller: Caller) -> None:
        """End the session. Raises StorageUnavailable and TimeoutError."""
        session = _session(caller)

        def work(cursor: Cursor) -> None:
            end_session(self._sql, cursor, session.id)
            self._write(cursor, caller, session.user.name, "sign out")

        await self._run(work)

    async def change(self, caller: Caller, work: Callable[[Users], T]) -> T:
        """The result of `work`, which changes users in one transaction. Raises NotDone, StorageUnavailable and TimeoutError."""
        actor = Actor(name=caller.name, via=caller.via, address=caller.address)
        fixed = ADMIN if self.has_password_of_setting else ""
        return await self._run(
            lambda cursor: work(Users(self._sql, cursor, actor, self._clock(), fixed=fixed))
        )

    async def read(self, ask: Callable[..., T], **values: object) -> T:
        """The result of `ask(statements, cursor, ...)`, which reads. Raises StorageUnavailable and TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            return await self._outbox.read(lambda read: ask(self._sql, read.cursor, **values))

    async def _check_password(self, name: str, password: str, caller: Caller, act: str) -> User:
        """Check a password. Raises SignInRefused; each refusal counts, and is logged as a failed `act`."""
        if wait := self._tries.take(name, caller.address, self._monotonic()):
            log.warning("sign-in to the console from %s refused: too many tries", caller.address)
            raise SignInRefused(wait)
        user = await self.read(find_user, name=name)
        if not await self._passwords.fits(user.password if user else "", password) or user is None:
            log.warning("sign-in to the console from %s failed", caller.address)
            by = user.name if user else ""
            await self._run(lambda cursor: self._write(cursor, caller, by, act, "failed"))
            raise SignInRefused
        self._tries.give_back(name, caller.address, self._monotonic())
        return user

    def _renew(
        self, cursor: Cursor, user: User, hash_: str, caller: Caller, detail: str = ""
    ) -> str:
        """Set another password, and replace all sessions by a new one."""
        actor = Actor(name=user.name, via="console", address=caller.address)
        users = Users(self._sql, cursor, actor, self._clock())
        if users.by_id(user.id) != user:
            raise SignInRefused
        users.set_password(user, hash_)
        return self._begin(cursor, users.by_id(user.id), caller, detail)

    def _begin(self, cursor: Cursor, user: User, caller: Caller, detail: str = "") -> str:
        if find_user_by_id(self._sql, cursor, user.id) != user:
            raise SignInRefused  # changed since it was read: another password or role, or removed
        now, secret = self._clock(), secrets.token_urlsafe(32)
        if caller.session:
            end_session(self._sql, cursor, caller.session.id)
        where = {"address": caller.address, "agent": caller.agent}
        begin_session(self._sql, cursor, user, token_hash(secret), at=now, **where)
        self._write(cursor, caller, user.name, "sign in", detail)
        return secret

    def _write(self, cursor: Cursor, caller: Caller, name: str, act: str, detail: str = "") -> None:
        done = Act(by=name, address=caller.address, act=act, subject=name, detail=detail)
        add_act(self._sql, cursor, done, self._clock())

    async def _prepare(self) -> None:
        """Store the settings' password of the user `admin`. Not at the start, which hashing would make slower and larger."""
        if not self._is_prepared:
            async with self._preparing:
                await self._prepare_once()

    async def _prepare_once(self) -> None:
        if self._is_prepared:
            return
        if self._password is None:
            await self._run(partial(rest_user_of_setting, self._sql, now=self._clock()))
        else:
            await self._give_password(self._password.reveal())
        self._is_prepared = True

    async def _give_password(self, password: str) -> None:
        user = await self.read(find_user, name=ADMIN)
        if user and await self._passwords.fits(user.password, password):
            return
        hash_ = await self._passwords.hash(password)
        change = partial(set_user, self._sql, name=ADMIN, role=Role.ADMIN, password=hash_)
        await self._run(partial(change, origin="setting", now=self._clock()))

    async def _run(self, work: Callable[..., T]) -> T:
        self._seen.clear()  # a session may be ended by it
        async with asyncio.timeout(PATIENCE_TO_WRITE):
            return await self._outbox.run(work)


def _session(caller: Caller) -> UserSession:
    """The session of a caller, which must have one."""
    if caller.session is None:
        raise SignInRefused
    return caller.session
