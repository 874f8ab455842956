"""Opening a line to a mail server: whichever of its addresses answers, encrypted from the first byte or not yet."""

import asyncio
import ssl
from dataclasses import dataclass, field, fields

from aiohappyeyeballs import start_connection

from relay.settings.smtp import SmtpServer, SmtpTls
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.oauth import Tokens
from relay.transports.email.smtp_client import Line
from relay.transports.outcome import unreachable
from relay.transports.resolver import Resolver
from relay.transports.tls import is_plain_text, untrusted

NEXT_ADDRESS_AFTER = 0.25
"""Seconds until a server's next address is tried as well, where the one before does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpTimeouts:
    """In seconds, for each reply: those of RFC 5321 4.5.3.2. Some servers let strangers wait, or look them up slowly."""

    connect: float = 15.0
    """For a line to the server, with TLS where that comes first."""
    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    end_of_data: float = 600.0
    at_once: float = 20.0
    """For each reply to commands that went out together: a server that takes longer may have lost them."""
    reset: float = 5.0

    def at_most(self, seconds: float) -> "SmtpTimeouts":
        """These, each cut to so many seconds."""
        return SmtpTimeouts(
            **{each.name: min(getattr(self, each.name), seconds) for each in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A server and how we go there."""

    server: SmtpServer
    local_hostname: str
    tls: ssl.SSLContext | None = None
    """Needed unless the server's TLS is NONE."""
    timeouts: SmtpTimeouts = SmtpTimeouts()
    tokens: Tokens | None = None
    """Instead of a password."""
    resolver: Resolver = field(default_factory=Resolver)


async def dial(to: MailServer) -> Line:
    """A line to the server, on which nothing was said yet. Raises SmtpFailure."""
    server, loop = to.server, asyncio.get_running_loop()
    implicit = server.tls is SmtpTls.IMPLICIT
    protocol = Line(loop)
    try:
        async with asyncio.timeout(to.timeouts.connect):
            found = await to.resolver.addresses(server.host, server.port)
            # Not asyncio's own race between addresses: cancelled, it leaves a connection open.
            line = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_AFTER)
            await loop.create_connection(
                lambda: protocol,
                sock=line,
                ssl=to.tls if implicit else None,
                server_hostname=server.host if implicit else None,
            )
    except ssl.SSLCertVerificationError as error:
        raise no_trust(error) from error
    except ssl.SSLError as error:
        raise _no_tls(error) from error
    except TimeoutError as error:
        raise SmtpFailure(Stage.CONNECT, Cause.LOST, "could not be reached in time") from error
    except (OSError, UnicodeError) as error:
        raise SmtpFailure(Stage.CONNECT, Cause.LOST, unreachable(error)) from error
    return protocol


def _no_tls(error: ssl.SSLError) -> SmtpFailure:
    if not is_plain_text(error):
        return no_agreement(error, Stage.CONNECT)
    words = "does not encrypt from the first byte: write smtp+starttls:// in RELAY_SMTP_URL, or another port"
    return SmtpFailure(Stage.TLS, Cause.MISCONFIGURED, words)


def no_agreement(error: ssl.SSLError, stage: Stage) -> SmtpFailure:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    words = f"could not agree on an encryption: {reason}"
    return SmtpFailure(stage, Cause.LOST, words)


def no_trust(error: ssl.SSLCertVerificationError) -> SmtpFailure:
    return SmtpFailure(Stage.TLS, Cause.MISCONFIGURED, untrusted(error))
