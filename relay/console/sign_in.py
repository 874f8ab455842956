"""Who may come in: passwords are asked for, sessions begun, found and ended, and each is written into the log of acts."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from relay.clock import Clock
from relay.console.passwords import Passwords
from relay.console.throttle import Throttle
from relay.console.visit import Visit, kept_hash
from relay.outbox import Outbox
from relay.outbox.people import (
    TO_THE,
    Act,
    Role,
    User,
    UserSession,
    add_act,
    begin_session,
    end_session,
    find_session,
    find_user,
    set_user,
    use_session,
)
from relay.settings.environment import SecretValue

ADMIN = "admin"
"""The user whose password is RELAY_CONSOLE_PASSWORD."""
PATIENCE = 6.0
"""Seconds that a page waits for the database."""
TRIES, BETWEEN_TRIES = 5, 30.0
"""For one name: so many at once, then one in so many seconds."""
TRIES_OF_ADDRESS = 20

log = logging.getLogger(__name__)
T = TypeVar("T")


class SignInRefused(Exception):
    """Nobody came in."""

    def __init__(self, wait: int = 0) -> None:
        """`wait`: seconds until the next try; 0 where name or password are wrong."""
        super().__init__(wait)
        self.wait = wait


class SignIn:
    """The people of one relay, kept in its database."""

    def __init__(
        self,
        outbox: Outbox,
        password: SecretValue | None,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`password`: of the user `admin`."""
        self._outbox = outbox
        self._sql = outbox.operations.sql
        self._password = password
        self._clock = clock
        self._monotonic = monotonic
        self._passwords = Passwords()
        self._of_names = Throttle(TRIES, BETWEEN_TRIES)
        self._of_addresses = Throttle(TRIES_OF_ADDRESS, BETWEEN_TRIES)
        self._is_prepared = False
        self._preparing = asyncio.Lock()

    def close(self) -> None:
        self._passwords.close()

    async def find(self, secret: str, *, by_person: bool) -> UserSession | None:
        """The session that a cookie opens. Raises StorageUnavailable and TimeoutError.

        `by_person`: somebody did something, and so the session goes on; a page that asks by itself what is new keeps none open.
        """
        await self._prepare()
        now = self._clock()
        session = await self._read(find_session, hash_=kept_hash(secret), now=now)
        if session and by_person and now - session.used_at >= TO_THE:
            await self._run(partial(use_session, self._sql, session=session, now=now))
        return session

    async def sign_in(self, name: str, password: str, visit: Visit) -> str:
        """Begin a session and return what its cookie is to hold. Raises SignInRefused, StorageUnavailable and TimeoutError."""
        await self._prepare()
        name, now = name.strip().lower(), self._monotonic()
        wait = self._of_addresses.take(visit.address, now) or self._of_names.take(name, now)
        if wait:
            log.warning("sign-in to the console from %s refused: too many tries", visit.address)
            raise SignInRefused(wait)
        user = await self._read(find_user, name=name)
        if not await self._passwords.fits(user.password if user else "", password) or user is None:
            log.warning("sign-in to the console from %s failed", visit.address)
            await self._write_down(visit, user.name if user else "", "sign in", "failed")
            raise SignInRefused
        self._of_addresses.give_back(visit.address, self._monotonic())
        self._of_names.give_back(name, self._monotonic())
        secret = secrets.token_urlsafe(32)
        await self._run(partial(self._begin, user=user, secret=secret, visit=visit))
        log.info("%s signed in to the console from %s", user.name, visit.address)
        return secret

    def _begin(self, cursor: object, *, user: User, secret: str, visit: Visit) -> None:
        now = self._clock()
        if visit.session:
            end_session(self._sql, cursor, visit.session.id)
        where = {"address": visit.address, "agent": visit.agent}
        begin_session(self._sql, cursor, user, kept_hash(secret), at=now, **where)
        act = Act(by=user.name, address=visit.address, act="sign in", subject=user.name)
        add_act(self._sql, cursor, act, now)

    async def sign_out(self, visit: Visit) -> None:
        """End the session. Raises StorageUnavailable and TimeoutError."""
        if visit.session:
            await self._run(partial(end_session, self._sql, session=visit.session.id))
            await self._write_down(visit, visit.session.user.name, "sign out", "")

    async def _write_down(self, visit: Visit, name: str, act: str, detail: str) -> None:
        done = Act(by=name, address=visit.address, act=act, subject=name, detail=detail)
        await self._run(partial(add_act, self._sql, act=done, now=self._clock()))

    async def _prepare(self) -> None:
        """Give the user `admin` the password of the settings. Not at the start, which it would make slower and larger."""
        if self._password is None:
            return
        async with self._preparing:
            if self._is_prepared:
                return
            password = self._password.reveal()
            user = await self._read(find_user, name=ADMIN)
            if not (user and await self._passwords.fits(user.password, password)):
                kept = await self._passwords.hash(password)
                change = partial(set_user, self._sql, name=ADMIN, role=Role.ADMIN, password=kept)
                await self._run(partial(change, origin="setting", now=self._clock()))
            self._is_prepared = True

    async def _run(self, work: Callable[..., T]) -> T:
        async with asyncio.timeout(PATIENCE):
            return await self._outbox.run(work)

    async def _read(self, ask: Callable[..., T], **values: object) -> T:
        async with asyncio.timeout(PATIENCE):
            return await self._outbox.read(lambda read: ask(self._sql, read.cursor, **values))
