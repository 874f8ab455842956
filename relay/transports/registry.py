"""The available transports, and the HTTP sessions and mail connections that they share.

A new transport adds a line to each table.
"""

import hashlib
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from relay.clock import Clock, utc_now
from relay.destination import UNLIMITED, Destination, OptionValue, Secret, TransportSpec, reply_to
from relay.mail_address import MailAddress
from relay.settings.database import Database, PostgresServer
from relay.settings.smtp import SmtpServer, SmtpTls
from relay.settings.table import Settings
from relay.transports import Transport
from relay.transports.cures import HTTP, Row, row_for
from relay.transports.email import transport as email
from relay.transports.email.answers import row_of as row_of_mail
from relay.transports.email.connection import connect
from relay.transports.email.oauth import Tokens
from relay.transports.email.pool import PoolLimits, SmtpPool
from relay.transports.email.smtp_client import MailServer, SmtpTimeouts
from relay.transports.http import HttpClient, HttpTimeouts
from relay.transports.resolver import Resolver
from relay.transports.slack import answers as slack_answers
from relay.transports.slack import transport as slack
from relay.transports.slack.api import SlackApi, TokenPause
from relay.transports.slack.channel import SlackChannel
from relay.transports.teams import answers as teams_answers
from relay.transports.teams import transport as teams
from relay.transports.webhook import answers as webhook_answers
from relay.transports.webhook import transport as webhook


class Access:
    """The connections that transports share.

    Created anywhere; connections are opened by the first attempt that needs them.
    """

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
        """`secret` returns the value of a secret's name. `tls` replaces the system's certificates."""
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
        """The pause after a rate limit, shared by all Slack channels, since there is one bot token."""
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


TRANSPORTS: Mapping[str, TransportSpec] = {
    spec.name: spec for spec in (email.SPEC, slack.SPEC, teams.SPEC, webhook.SPEC)
}
MAIL_PER_HOUR, MAIL_PER_HOUR_HERE = 200, 2000
"""The default limit of emails per destination in an hour; HERE is for a mail server on this computer."""


def open_transport(destination: Destination, access: Access) -> Transport:
    """Return the transport of a destination, without opening a connection.

    Raises ValueError if a setting is missing, and the errors of `access.secret`.
    """
    return _OPEN[destination.transport](destination.options, access)


def _email(options: Mapping[str, OptionValue], access: Access) -> Transport:
    """Return the email transport. The recipients are given with each email."""
    return email.EmailTransport(
        *access.mail,
        reply_to=reply_to(options),
        mark_as_automatic=options.get("mark_as_automatic") is not False,
    )


def _slack(options: Mapping[str, OptionValue], access: Access) -> Transport:
    mention = _text(options.get("mention", ""))
    if "webhook" in options:
        return slack.SlackWebhook(
            access.http,
            url=access.secret(_secret(options["webhook"])),
            name=str(options["webhook"]),
            mention=mention,
            clock=access.clock,
        )
    token = access.settings.slack_token
    if token is None:
        raise ValueError("a Slack channel needs RELAY_SLACK_TOKEN")
    url = access.settings.slack_api_url
    objection = access.http.objection(url)
    return SlackChannel(
        SlackApi(
            access.http,
            url=url,
            token=token.reveal(),
            pause=access.slack_pause,
            clock=access.clock,
        ),
        channel=_text(options["channel"]),
        mention=mention,
        objection=f"what RELAY_SLACK_API_URL holds {objection}" if objection else "",
    )


def _teams(options: Mapping[str, OptionValue], access: Access) -> Transport:
    return teams.TeamsWebhook(
        access.http,
        url=access.secret(_secret(options["webhook"])),
        name=str(options["webhook"]),
        clock=access.clock,
    )


def _webhook(options: Mapping[str, OptionValue], access: Access) -> Transport:
    return webhook.Webhook(
        access.http,
        url=access.secret(_secret(options["url"])),
        url_name=str(options["url"]),
        secret=access.secret(_secret(options["secret"])),
        secret_name=str(options["secret"]),
        clock=access.clock,
    )


def cure_of(words: str) -> Row | None:
    """Return the advice for an outcome with these words; None if there is none."""
    if said := _OF_A_SERVICE.search(words):
        return row_for((*HTTP, *SERVICES[said[1]]), words)
    return row_of_mail(words) or row_for((webhook_answers.SECRET, *HTTP), words)


def cure_in_words(words: str, destination: str) -> str:
    """Return the advice for an outcome as the end of a log line: ". What to do. Then run: relay check".

    Empty if there is none.
    """
    row = cure_of(words)
    return f". {' '.join(row.lines(destination))}" if row else ""


SERVICES: Mapping[str, Sequence[Row]] = {
    "Slack": slack_answers.ROWS,
    "Teams": teams_answers.ROWS,
    webhook_answers.SERVICE: webhook_answers.ROWS,
}
"""The answers of each HTTP service, by its name in outcomes."""
_OF_A_SERVICE = re.compile(
    rf"(?:^|[:;] )({'|'.join(SERVICES)})(?:'s file store)? (?:answered|asked|was|could|has|did|dropped) "
)


@dataclass(frozen=True, slots=True)
class Place:
    """The server and login that a destination uses, without secrets."""

    key: str
    """Equal for all destinations with this server and login, in all relays. No secret can be derived from it."""
    login: object = None
    """The credentials, only for comparison: new ones may be accepted where the previous ones were not."""


def most_per_hour(destination: Destination, access: Access) -> int | None:
    """Return how many notifications the destination may get in an hour; None for no limit.

    The rules file takes precedence over the settings. Without both, only email has a limit, which
    is higher for a mail server on this computer, because that server paces its own sending.
    """
    most = destination.most_per_hour
    if most is None and destination.transport == "email":
        most = access.settings.mail_per_hour
        if most is None and access.settings.smtp:
            most = MAIL_PER_HOUR_HERE if _is_here(access.settings.smtp.host) else MAIL_PER_HOUR
    return None if most in {None, UNLIMITED} else most


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.startswith("/")


def place_of(destination: Destination, access: Access) -> Place:
    """Return the server and login of a destination. Raises ValueError and the errors of `access.secret`."""
    parts, login = _PLACES[destination.transport](destination.options, access)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return Place(f"{destination.transport} {digest}", login)


_Parts = tuple[tuple[str, ...], object]


def _mail_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:  # noqa: ARG001 - one server for all
    _, server, sender, _ = access.mail
    return (server.host, str(server.port), server.username), (server, sender)


def _slack_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:
    if "webhook" in options:
        return _webhook_place(options, access)
    settings = access.settings
    token = settings.slack_token.reveal() if settings.slack_token else ""
    return (settings.slack_api_url, token, _text(options["channel"])), None


def _webhook_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:
    return (access.secret(_secret(options["webhook"])),), None


def _url_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:
    return (access.secret(_secret(options["url"])),), access.secret(_secret(options["secret"]))


_PLACES: Mapping[str, Callable[[Mapping[str, OptionValue], Access], _Parts]] = {
    "email": _mail_place,
    "slack": _slack_place,
    "teams": _webhook_place,
    "webhook": _url_place,
}
_OPEN: Mapping[str, Callable[[Mapping[str, OptionValue], Access], Transport]] = {
    "email": _email,
    "slack": _slack,
    "teams": _teams,
    "webhook": _webhook,
}


def _secret(value: OptionValue) -> str:
    if not isinstance(value, Secret):
        raise TypeError("the rules reader gives secrets by name only")
    return value.name


def _text(value: OptionValue) -> str:
    if not isinstance(value, str):
        raise TypeError("the rules reader gives one text here")
    return value
