"""The SMTP protocol with a mail server: opening the connection, commands and replies, and login (AUTH).

aiosmtplib takes an unsolicited reply for the answer to the next command, a reply's last line for
the whole, and any text that int() accepts for a code (seen with aiosmtplib 5.1). This module
refuses such replies, because a premature yes must not count as a delivery.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import cast

from aiohappyeyeballs import start_connection
from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode
from aiosmtplib.errors import (
    SMTPException,
    SMTPReadTimeoutError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import (
    COMMAND_INJECTION_REGEX,
    MAX_LINE_LENGTH,
    MAX_RESPONSE_LENGTH,
    SMTPProtocol,
)
from aiosmtplib.response import SMTPResponse

from relay.settings.smtp import SmtpServer, SmtpTls
from relay.transports import unreachable
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.oauth import Tokens
from relay.transports.resolver import Resolver
from relay.transports.tls import is_plain_text, untrusted

Ask = Callable[[bytes], Awaitable[SMTPResponse]]
"""A function that sends a command and returns the reply. Raises SmtpFailure."""

# 504, 534, 538: not by this mechanism, or not here (RFC
# 4954 6). 500 to 502: the AUTH command was not understood.
_OTHER_MECHANISM = {500, 501, 502, 504, 534, 538}
_NO_MECHANISM = re.compile(
    r"(?:un(?:supported|recogni[sz]ed|known|available)|invalid|no|not supported) (?:\w+ ){0,2}(?:mechanism|auth\w* (?:type|method))"
    r"|(?:mechanism|auth\w* (?:type|method)) (?:\w+ ){0,3}(?:not|un\w+|invalid|disabled|too weak)",
    re.IGNORECASE,
)


async def log_in(ask: Ask, server: SmtpServer, token: str, offered: Collection[str]) -> None:
    """Log in with `token` if there is one, else with the server's password. Raises SmtpFailure.

    Another mechanism is tried only if the refusal concerned the mechanism, because wrong passwords
    may lock the account.
    """
    ways = {"xoauth2": _xoauth2} if token else {"plain": _plain, "login": _login}
    usable = [way for name, way in ways.items() if name in offered]
    if not usable:
        needs = (
            "takes no OAuth login: XOAUTH2" if token else "takes no password login: PLAIN or LOGIN"
        )
        words = f"{needs} is needed, it offers {', '.join(offered).upper() or 'none'}"
        raise SmtpFailure(Stage.LOGIN, Cause.MISCONFIGURED, words)
    for way in usable:
        reply = await way(ask, server.username, token or server.password.reveal())
        if reply.code == 235:
            return
        if not _is_about_mechanism(reply):
            break
    raise SmtpFailure(Stage.LOGIN, Cause.REFUSED, "", reply)


def _is_about_mechanism(reply: SMTPResponse) -> bool:
    if reply.code in _OTHER_MECHANISM:
        return True
    return reply.code >= 500 and bool(_NO_MECHANISM.search(reply.message))


async def _plain(ask: Ask, username: str, password: str) -> SMTPResponse:
    return await ask(b"AUTH PLAIN " + auth_plain_encode(username, password))


async def _login(ask: Ask, username: str, password: str) -> SMTPResponse:
    reply = await ask(b"AUTH LOGIN")
    for word in auth_login_encode(username, password):
        if reply.code != 334:
            break
        reply = await ask(word)
    return reply


async def _xoauth2(ask: Ask, username: str, token: str) -> SMTPResponse:
    reply = await ask(b"AUTH XOAUTH2 " + auth_xoauth2_encode(username, token))
    if reply.code == 334:  # the reason as JSON; an empty answer brings the refusal
        reply = await ask(b"")
    return reply


NOT_SMTP = -1
"""aiosmtplib's code for a reply that is not SMTP."""
# RFC 5321 4.2, except that the word after the code may be missing.
_LINE = re.compile(rb"([1-5][0-9][0-9])(?:(-)|(?![0-9A-Za-z-]))[ \t]*(.*?)[ \t\r]*\n", re.DOTALL)


class Line(SMTPProtocol):
    """An SMTP connection that reads exactly one complete, unambiguous reply for each command, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._due = 1
        """The number of replies expected. The first is the greeting."""
        self._replies: deque[SMTPResponse] = deque()
        """Replies that have arrived and were not read yet."""
        self._ended: SMTPException | None = None
        """Why no more replies are read; None while the connection is in use."""
        self._arrival: asyncio.Future[None] | None = None
        self._chattered = self._closing = False

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open with every command answered, so that a command may be sent."""
        busy = self._due or self._replies or self._ended or self._closing
        return self.is_connected and not busy and not self.out_of_turn

    @property
    def out_of_turn(self) -> bool:
        """Whether the server sent an unsolicited reply, after which no reply can be trusted."""
        return self._chattered or (not self._due and bool(self._buffer))

    @property
    def wire(self) -> asyncio.WriteTransport | None:
        """The transport that bytes are written to; None once the connection is closed.

        Not checked by isinstance, because uvloop's transports are of no asyncio class.
        """
        return cast("asyncio.WriteTransport | None", self.transport)

    @property
    def unsent(self) -> bool:
        """Whether some written bytes are still buffered, so that no reply can concern all of them."""
        return self.wire is not None and self.wire.get_write_buffer_size() > 0

    def ask(self, *commands: bytes) -> None:
        """Write several commands at once; `read_response` returns the reply to each.

        Raises SMTPServerDisconnected, and ValueError for a command that contains a line break.
        """
        if any(map(COMMAND_INJECTION_REGEX.search, commands)):
            raise ValueError("an SMTP command with a control character")
        self._due += len(commands)
        self.write(b"\r\n".join((*commands, b"")))

    def hand_over(self, mail: bytes) -> None:
        """Write an email as encoded for the connection. Raises SMTPServerDisconnected."""
        self._due += 1
        self.write(mail)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109
        """Return the next reply, even one that arrived before the connection was lost. Raises SMTPException.

        aiosmtplib itself calls this for STARTTLS, which it writes without `ask`.
        """
        if not self._replies and self._ended is None:
            self._due = self._due or 1
            self._arrival = self._loop.create_future()
            late = SMTPReadTimeoutError("Timed out waiting for server response")
            timer = self._loop.call_later(timeout, self._end, late) if timeout else None
            try:
                await self._arrival
            finally:
                self._arrival = None
                if timer is not None:
                    timer.cancel()
        if self._replies:
            return self._replies.popleft()
        raise self._ended or SMTPServerDisconnected("Connection lost")

    def take_early(self) -> SMTPResponse | None:
        """Return a complete reply that arrived together with the previous one; None if there is none."""
        if not self._buffer:
            return None
        self._chattered = True
        try:
            return self._read_response_from_buffer()
        except SMTPResponseException:
            return None

    # -- callbacks of asyncio --

    def data_received(self, data: bytes) -> None:
        """Read replies. An unsolicited one ends the connection, because a server could send them without end."""
        if not self._due:
            self._chattered = True
            if self.wire is not None:
                self.wire.abort()
            return
        self._buffer += data
        try:
            while self._due and (reply := self._read_response_from_buffer()) is not None:
                self._due -= 1
                self._replies.append(reply)
                self._closing |= reply.code == 421
            if len(self._buffer) > MAX_RESPONSE_LENGTH:
                raise _no_reply(bytes(self._buffer[:MAX_LINE_LENGTH]))
        except SMTPResponseException as error:
            self._end(error)
        if self._replies:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(SMTPServerDisconnected("Connection lost"))

    def _end(self, error: SMTPException) -> None:
        if self._ended is None:
            self._ended, self._due = error, 0
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _read_response_from_buffer(self) -> SMTPResponse | None:
        words: list[bytes] = []
        codes: list[int] = []
        begin = 0
        while (end := self._buffer.find(b"\n", begin) + 1) > 0:
            line = bytes(self._buffer[begin:end])
            match = _LINE.fullmatch(line) if len(line) <= MAX_LINE_LENGTH else None
            if match is None:
                raise _no_reply(line)
            codes.append(int(match[1]))
            words.append(match[3])
            begin = end
            if not match[2]:
                del self._buffer[:begin]
                if len({code // 100 for code in codes}) > 1:
                    raise _no_reply(b"%d and %d in one reply" % (codes[0], codes[-1]))
                return SMTPResponse(codes[-1], b"\n".join(words).decode(errors="surrogateescape"))
        return None


def _no_reply(line: bytes) -> SMTPResponseException:
    return SMTPResponseException(NOT_SMTP, line[:200].decode(errors="replace").strip())


NEXT_ADDRESS_AFTER = 0.25
"""Seconds without an answer after which the server's next address is tried in parallel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpTimeouts:
    """The seconds that each reply may take, from RFC 5321 4.5.3.2.

    They are long because some servers make strangers wait, or check them slowly.
    """

    connect: float = 15.0
    """The limit for connecting, including TLS if it comes first."""
    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    end_of_data: float = 600.0
    at_once: float = 20.0
    """The limit for each reply to commands sent together: a slower server may have lost them."""
    reset: float = 5.0
    encrypted_port: int = 465
    """The port of servers that encrypt from the first byte, whose greeting in clear may take as long as connecting."""

    def at_most(self, seconds: float) -> "SmtpTimeouts":
        """Return the time-outs, each limited to this many seconds."""
        names = {each.name for each in fields(self)} - {"encrypted_port"}
        return replace(self, **{name: min(getattr(self, name), seconds) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A mail server and how to reach it: encryption, proxy and time-outs."""

    server: SmtpServer
    local_hostname: str
    tls: ssl.SSLContext | None = None
    """The TLS settings; required unless the server's TLS is NONE."""
    timeouts: SmtpTimeouts = SmtpTimeouts()
    tokens: Tokens | None = None
    """The OAuth tokens, used instead of a password."""
    resolver: Resolver = field(default_factory=Resolver)


async def dial(to: MailServer) -> Line:
    """Return a new connection to the server, before its greeting is read. Raises SmtpFailure."""
    server, loop = to.server, asyncio.get_running_loop()
    implicit = server.tls is SmtpTls.IMPLICIT
    protocol = Line(loop)
    try:
        async with asyncio.timeout(to.timeouts.connect):
            addresses = await to.resolver.addresses(server.host, server.port)
            # Not asyncio's own race between addresses: when cancelled, it leaves a connection open.
            line = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER)
            await loop.create_connection(
                lambda: protocol,
                sock=line,
                ssl=to.tls if implicit else None,
                server_hostname=server.host if implicit else None,
            )
    except (OSError, UnicodeError) as error:
        raise _no_connection(error) from error
    return protocol


def _no_connection(error: OSError | UnicodeError) -> SmtpFailure:
    match error:
        case ssl.SSLCertVerificationError():
            return no_trust(error)
        case ssl.SSLError():
            return _no_tls(error)
        case TimeoutError():
            return SmtpFailure(Stage.CONNECT, Cause.LOST, "could not be reached in time")
        case _:
            return SmtpFailure(Stage.CONNECT, Cause.LOST, unreachable(error))


def _no_tls(error: ssl.SSLError) -> SmtpFailure:
    if not is_plain_text(error):
        return no_agreement(error, Stage.CONNECT)
    words = "does not encrypt from the first byte: write smtp+starttls:// in RELAY_SMTP_URL, or another port"
    return SmtpFailure(Stage.TLS, Cause.MISCONFIGURED, words)


def no_agreement(error: ssl.SSLError, stage: Stage) -> SmtpFailure:
    """Return the failure of a TLS handshake, for a reason other than the certificate."""
    reason = (error.reason or str(error)).replace("_", " ").lower()
    words = f"could not agree on an encryption: {reason}"
    return SmtpFailure(stage, Cause.LOST, words)


def no_trust(error: ssl.SSLCertVerificationError) -> SmtpFailure:
    """Return the failure for a certificate that is not trusted."""
    return SmtpFailure(Stage.TLS, Cause.MISCONFIGURED, untrusted(error))
