"""What transports share, opened once by the composition root: the HTTP session and the mail connections."""

import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from relay.clock import Clock, utc_now
from relay.mail_address import MailAddress
from relay.settings.database import Database, PostgresServer
from relay.settings.smtp import SmtpServer, SmtpTls
from relay.settings.table import Settings
from relay.transports.email.connection import connect
from relay.transports.email.dialling import MailServer, SmtpTimeouts
from relay.transports.email.oauth import Tokens
from relay.transports.email.pool import PoolLimits, SmtpPool
from relay.transports.http import HttpClient, HttpTimeouts
from relay.transports.resolver import Resolver
from relay.transports.slack.api import TokenPause


class Access:
    """Made anywhere; sessions and connections are opened by the first attempt that needs them."""

    def __init__(
        self,
        settings: Settings,
        secret: Callable[[str], str],
        *,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
        http_timeouts: HttpTimeouts | None = None,
        smtp_timeouts: SmtpTimeouts | None = None,
        pool_limits: PoolLimits | None = None,
        pool_clock: Callable[[], float] = time.monotonic,
        resolver: Resolver | None = None,
    ) -> None:
        """`secret` tells what a name in the rules file stands for. `tls` replaces the system's certificates."""
        self._resolver = resolver or Resolver()
        self.settings = settings
        self.secret = secret
        self.clock = clock
        self._tls = tls
        self._smtp_timeouts = smtp_timeouts or SmtpTimeouts()
        self._pool_limits = pool_limits
        self._pool_clock = pool_clock
        self._pool: SmtpPool | None = None
        self._tokens: Tokens | None = None
        self.slack_pause = TokenPause(clock)
        """One for all, as there is one bot's token."""
        self.http = HttpClient(
            allow_private=settings.allow_private_webhooks,
            proxy=settings.proxy,
            tls=tls,
            ca_file=settings.ca_file,
            timeouts=http_timeouts,
            resolver=self._resolver,
        )

    @property
    def mail(self) -> tuple[SmtpPool, SmtpServer, MailAddress, Tokens | None]:
        """The pool, its server, who mails are from, and the tokens for the login where it takes some.

        Raises ValueError where settings name none.
        """
        server, sender = self.settings.smtp, self.settings.mail_from
        if server is None or sender is None:
            raise ValueError("mail needs RELAY_SMTP_URL and RELAY_MAIL_FROM")
        if self._pool is None:
            self._pool = self._open_pool(server, sender)
        return self._pool, server, sender, self._tokens

    def _open_pool(self, server: SmtpServer, sender: MailAddress) -> SmtpPool:
        # Read once, not per connection: the system's certificates take tens of milliseconds.
        context = None if server.tls is SmtpTls.NONE else self.http.tls
        if server.oauth:
            beside = _beside(self.settings.database)
            self._tokens = Tokens(self.http, server.oauth, clock=self.clock, beside=beside)
        to = MailServer(
            server=server,
            local_hostname=server.helo or sender.domain,
            tls=context,
            timeouts=self._smtp_timeouts,
            tokens=self._tokens,
            resolver=self._resolver,
        )
        return SmtpPool(partial(connect, to), limits=self._pool_limits, clock=self._pool_clock)

    def renew(self, settings: Settings) -> SmtpPool | None:
        """What is opened from now on is opened by these. Returns the connections that were opened by others."""
        if settings.slack_token != self.settings.slack_token:
            self.slack_pause = TokenPause(self.clock)
        same = settings.smtp == self.settings.smtp
        self.settings = settings
        if same:
            return None
        left, self._pool, self._tokens = self._pool, None, None
        return left

    async def close(self) -> None:
        """Lets go of everything. Waits no longer than a moment."""
        if self._pool is not None:
            await self._pool.close()
        await self.http.close()


def _beside(database: Database) -> Path | None:
    """Where a newer refresh token is kept: nowhere beside a server."""
    if isinstance(database, PostgresServer):
        return None
    return database.with_name(f"{database.name}.refresh-token")
