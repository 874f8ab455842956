"""What a transport registers, and the HTTP sessions and mail connections that all transports share."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from relay.clock import Clock, utc_now
from relay.destination import OptionValue, Secret, TransportSpec
from relay.mail_address import MailAddress
from relay.notification import Notification
from relay.settings.database import Database, PostgresServer
from relay.settings.smtp import SmtpServer, SmtpTls
from relay.settings.table import Settings
from relay.transports import Transport
from relay.transports.cures import Row
from relay.transports.email.connection import connect
from relay.transports.email.oauth import Tokens
from relay.transports.email.pool import PoolLimits, SmtpPool
from relay.transports.email.smtp_client import MailServer, SmtpTimeouts
from relay.transports.http import HttpClient, HttpTimeouts
from relay.transports.resolver import Resolver
from relay.transports.slack.api import TokenPause


class Access:
    """The connections that transports share.

    Created anywhere; connections are opened by the first attempt that needs them.
    """

    def __init__(
        self,
        settings: Settings,
        secret_called: Callable[[str], str],
        *,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
        http_timeouts: HttpTimeouts | None = None,
        smtp_timeouts: SmtpTimeouts | None = None,
        pool_limits: PoolLimits | None = None,
        pool_clock: Callable[[], float] = time.monotonic,
        resolver: Resolver | None = None,
    ) -> None:
        """`secret_called` returns the value of a secret by its name. `tls` replaces the system's certificates."""
        self._resolver = resolver or Resolver()
        self.settings = settings
        self._secret_called = secret_called
        self.clock = clock
        self._tls = tls
        self._smtp_timeouts = smtp_timeouts or SmtpTimeouts()
        self._pool_limits = pool_limits
        self._pool_clock = pool_clock
        self._pool: SmtpPool | None = None
        self._tokens: Tokens | None = None
        self.slack_pause = TokenPause(clock)
        """The pause after a rate limit, shared by all destinations of the Slack bot, since it has one token."""
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
        """The pool, the server, the sender's address, and the OAuth tokens or None.

        Raises ValueError if the settings have no server or sender.
        """
        server, sender = self.settings.smtp, self.settings.mail_from
        if server is None or sender is None:
            raise ValueError("mail needs RELAY_SMTP_URL and RELAY_MAIL_FROM")
        if self._pool is None:
            self._pool = self._open_pool(server, sender)
        return self._pool, server, sender, self._tokens

    def _open_pool(self, server: SmtpServer, sender: MailAddress) -> SmtpPool:
        # Created once, not per connection: reading the system's certificates takes tens of milliseconds.
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

    def secret(self, option: OptionValue) -> str:
        """Return the secret that an option names. Raises what `secret_called` raises."""
        if not isinstance(option, Secret):
            raise TypeError("the rules reader gives secrets by name only")
        return self._secret_called(option.name)

    def renew(self, settings: Settings) -> SmtpPool | None:
        """Use these settings from now on.

        Returns the pool that was opened with other settings, to be closed; None if none was.
        """
        if settings.slack_token != self.settings.slack_token:
            self.slack_pause = TokenPause(self.clock)
        same = settings.smtp == self.settings.smtp
        self.settings = settings
        if same:
            return None
        left, self._pool, self._tokens = self._pool, None, None
        return left

    async def close(self) -> None:
        """Close all connections, waiting a moment at most."""
        if self._pool is not None:
            await self._pool.close()
        await self.http.close()


def _beside(database: Database) -> Path | None:
    """Return the file for a new refresh token, beside the database; None for a database server."""
    if isinstance(database, PostgresServer):
        return None
    return database.with_name(f"{database.name}.refresh-token")


Options = Mapping[str, OptionValue]
"""A destination's options by name, as its transport's `TransportSpec` allows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the relay needs to know of a transport."""

    spec: TransportSpec
    open: Callable[[Options, Access], Transport]
    """Returns a transport for a destination. Raises ValueError if a setting is missing."""
    place: Callable[[Options, Access], tuple[tuple[str, ...], object]]
    """Returns what tells the destination's server and login from others, and the credentials, only for comparison."""
    answers: Sequence[Row]
    """The answers of its servers, each with what a person can do about it."""
    service: str = ""
    """The name of an HTTP service in outcomes; empty for mail."""
    message: Callable[[Notification, datetime], Any] | None = None
    """Returns the JSON that is posted, of a notification and when its delivery was queued; None for mail."""
    accepts_with: tuple[int, str] = (200, "ok")
    """The status and the body with which the service accepts a post."""
