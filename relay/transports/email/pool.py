"""A pool of connections to a mail server, each used for one email at a time and kept briefly for the next.

Connections are opened so that a wrong password can't get the account locked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from aiosmtplib.response import SMTPResponse

from relay.clock import Deadline, Running
from relay.transports import begin_sending
from relay.transports.email.connection import Connection
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.fair_shares import FairShares


class Opener:
    """Opens connections, one at a time until a login has succeeded, so that a wrong password is tried once."""

    def __init__(
        self, dial: Callable[[], Awaitable[Connection]], hold: float, clock: Callable[[], float]
    ) -> None:
        self._dial = dial
        self._hold = hold
        self._clock = clock
        self._logged_in = False
        self._lock = asyncio.Lock()
        self._tries = 0
        self._failure: SmtpFailure | None = None
        """Why the last attempt to connect failed; None if it succeeded."""
        self._shut_until = 0.0

    async def open(self) -> Connection:
        """Open a connection, or wait for one that another task is opening. Raises SmtpFailure."""
        if self._logged_in:
            return await self._try()
        before = self._tries
        async with self._lock:
            # A task that waited while another failed would fail in the same way.
            if self._failure and (self._tries > before or self._clock() < self._shut_until):
                raise self._failure.copy()
            return await self._try()

    async def _try(self) -> Connection:
        try:
            connection = await self._dial()
        except SmtpFailure as failure:
            self._tries += 1
            self._failure = failure
            if failure.locked_out:
                self._logged_in, self._shut_until = False, self._clock() + self._hold
            raise
        self._logged_in, self._failure = True, None
        return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The limits of a pool, with times in seconds. Many servers close an idle connection after 30."""

    connections: int = 4
    slow: float = 10.0
    """A recipient whose emails take longer than this gets at most half of the connections."""
    idle: float = 20.0
    doubtful: float = 5.0
    """A connection that was idle for longer is tested with RSET before use."""
    mails: int = 100
    age: float = 300.0
    begin: float = 1800.0
    """The limit for everything before an email's text, including the wait for a connection."""
    unpipelined: float = 3600.0
    """How long a server that mishandles PIPELINING gets commands one by one."""
    after_refusal: float = 60.0
    """How long after a refused login none is tried: wrong passwords may lock the account."""


@dataclass(slots=True)
class _Kept:
    connection: Connection
    opened: float
    since: float


class SmtpPool:
    """Sends emails, each over its own connection for as long as it takes."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Connection]],
        *,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or PoolLimits()
        self._clock = clock
        self._opener = Opener(dial, self._limits.after_refusal, clock)
        self._shares = FairShares(self._limits.connections, self._limits.slow, clock)
        self._unpipelined_until = 0.0
        self._beginnings = Deadline(self._limits.begin)
        self._idle: list[_Kept] = []
        self._busy = 0
        """The number of connections in use or being opened."""
        self._changed = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, sender: str, recipient: str, mail: bytes) -> SMTPResponse:
        """Send an email with CRLF line ends. Returns the server's 250; raises SmtpFailure.

        Addresses are bare ASCII.
        """
        try:
            with self._beginnings.start() as beginning:
                since = await self._shares.take(recipient)
                try:
                    return await self._send(beginning, sender, recipient, mail)
                finally:
                    self._shares.give_back(recipient, since)
        except TimeoutError:
            words = f"was not ready for the mail within {self._limits.begin / 60:g} min"
            raise SmtpFailure(Stage.MAIL, Cause.LOST, words) from None

    async def connect(self) -> int:
        """Open a connection or test a kept one. Returns the server's size limit in bytes, 0 without limit.

        Raises SmtpFailure.
        """
        kept = await self._lease()
        with self._in_use(kept):
            return kept.connection.size_limit

    async def _send(
        self, beginning: Running, sender: str, recipient: str, mail: bytes
    ) -> SMTPResponse:
        """Send an email over a pooled connection, with one retry if the server can't have anything of it yet.

        A stale connection is replaced, and a server that mishandles commands sent together gets them one by one.
        """
        tried: set[_Retry] = set()
        while True:
            kept = await self._lease(fresh=bool(tried))
            with self._in_use(kept):
                at_once = self._clock() >= self._unpipelined_until
                try:
                    await kept.connection.begin(sender, recipient, len(mail), at_once=at_once)
                except SmtpFailure as failure:
                    tried.add(self._retry(kept.connection, failure, tried))
                    kept.connection.abort()
                else:
                    beginning.lift()
                    begin_sending()
                    return await kept.connection.finish(mail)

    def _retry(
        self, connection: Connection, failure: SmtpFailure, tried: "set[_Retry]"
    ) -> "_Retry":
        """Return how to send the email again; after UNPIPELINED, later emails are sent without pipelining for a while.

        Raises the failure if it can't be sent again, or was already sent again in this way.
        """
        retry = _retry_for(connection, failure)
        if retry is None or retry in tried:
            raise failure
        if retry is _Retry.UNPIPELINED:
            self._unpipelined_until = self._clock() + self._limits.unpipelined
        return retry

    @contextmanager
    def _in_use(self, kept: _Kept) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._take_back(kept)

    async def _lease(self, *, fresh: bool = False) -> _Kept:
        while True:
            kept = None if fresh else await self._kept()
            if kept is not None:
                return kept
            try:
                return await self._open()
            except SmtpFailure as failure:
                # A server that allows fewer connections than the pool refuses the others.
                if not _is_over_limit(failure) or not await self._wait_for_returned():
                    raise
            fresh = False

    async def _open(self) -> _Kept:
        self._busy += 1
        try:
            now = self._clock()
            return _Kept(await self._opener.open(), opened=now, since=now)
        finally:
            self._busy -= 1
            self._changed.set()

    async def _wait_for_returned(self) -> bool:
        """Wait until a connection in use is returned; False if there is none."""
        while self._busy and not self._idle:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._idle)

    async def _kept(self) -> _Kept | None:
        """Return the last used connection that is still usable; None if there is none."""
        while self._idle:
            kept = self._idle.pop()
            if self._worn_out(kept):
                kept.connection.send_quit()
            elif await self._is_ready(kept):
                return kept
        return None

    async def _is_ready(self, kept: _Kept) -> bool:
        connection = kept.connection
        idle = self._clock() - kept.since
        if not connection.needs_reset and idle <= self._limits.doubtful:
            return True
        ready = False
        try:
            ready = await connection.reset()
        finally:  # cancelled half-way: its replies are out of step
            if not ready:
                connection.abort()
        return ready

    def _worn_out(self, kept: _Kept) -> bool:
        now, limits = self._clock(), self._limits
        return (
            not kept.connection.usable
            or kept.connection.mails >= limits.mails
            or now - kept.since > limits.idle
            or now - kept.opened > min(limits.age, kept.connection.good_for)
        )

    def _take_back(self, kept: _Kept) -> None:
        self._changed.set()
        kept.since = self._clock()
        if not kept.connection.usable:
            kept.connection.abort()
        elif self._closed or self._worn_out(kept):
            kept.connection.send_quit()
        else:
            self._idle.append(kept)
            self._plan_sweep()

    def _plan_sweep(self) -> None:
        if self._sweep is None and self._idle:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._limits.idle, self._sweep_idle)

    def _sweep_idle(self) -> None:
        self._sweep = None
        now = self._clock()
        kept = self._idle
        self._idle = [each for each in kept if now - each.since < self._limits.idle]
        for each in kept:
            if each not in self._idle:
                each.connection.send_quit()
        self._plan_sweep()

    async def close(self) -> None:
        """Close idle connections now, and used ones when their email is done."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for kept in self._idle:
            kept.connection.send_quit()
        await asyncio.sleep(0)  # lets the transports close before the loop may end
        for kept in self._idle:
            kept.connection.abort()  # a TLS connection would wait for the server's consent
        self._idle.clear()
        await asyncio.sleep(0)


def _is_over_limit(failure: SmtpFailure) -> bool:
    put_off = failure.reply is not None and failure.reply.code < 500
    return failure.stage <= Stage.GREETING or (failure.stage is Stage.LOGIN and put_off)


class _Retry(Enum):
    """Why an email is sent again immediately on a new connection."""

    STALE = auto()
    UNPIPELINED = auto()


def _retry_for(connection: Connection, failure: SmtpFailure) -> _Retry | None:
    # Idle limits, emails per session: what a used connection answers to MAIL may concern the connection.
    at_start = failure.stage <= Stage.MAIL and failure.cause is not Cause.TOO_BIG
    if at_start and connection.mails > 1:
        return _Retry.STALE
    return _Retry.UNPIPELINED if failure.at_once else None
