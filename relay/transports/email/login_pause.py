"""Where connections to a mail server are opened, so that a wrong password does not get the account locked."""

import asyncio
from collections.abc import Awaitable, Callable

from relay.transports.email.connection import Connection
from relay.transports.email.failure import SmtpFailure


class Door:
    """Opens connections: one at a time until a first one was let in, so that many mails with a wrong password
    are one login.
    """

    def __init__(
        self, dial: Callable[[], Awaitable[Connection]], hold: float, clock: Callable[[], float]
    ) -> None:
        self._dial = dial
        self._hold = hold
        self._clock = clock
        self._let_in = False
        self._one = asyncio.Lock()
        self._tries = 0
        self._failure: SmtpFailure | None = None
        """Of the last try, if it failed."""
        self._shut_until = 0.0

    async def open(self) -> Connection:
        """Raises SmtpFailure."""
        if self._let_in:
            return await self._try()
        before = self._tries
        async with self._one:
            # Whoever stood in line when another was turned away would only have met the same.
            if self._failure and (self._tries > before or self._clock() < self._shut_until):
                raise self._failure.again()
            return await self._try()

    async def _try(self) -> Connection:
        try:
            connection = await self._dial()
        except SmtpFailure as failure:
            self._tries += 1
            self._failure = failure
            if failure.locked_out:
                self._let_in, self._shut_until = False, self._clock() + self._hold
            raise
        self._let_in, self._failure = True, None
        return connection
