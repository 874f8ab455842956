"""A connection to a mail server that knows how far an email has been sent.

Uses aiosmtplib's protocol, not its client: the client can't distinguish a lost answer to DATA
(nothing sent) from a lost answer to the text (maybe accepted), and hides replies (seen with
aiosmtplib 5.1).
"""

import re
import ssl
from datetime import timedelta
from functools import partial

from aiosmtplib.errors import SMTPException, SMTPResponseException, SMTPTimeoutError
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.response import SMTPResponse

from relay.settings.smtp import SmtpServer, SmtpTls
from relay.transports.email.answers import is_out_of_order
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.oauth import NoToken, Tokens
from relay.transports.email.smtp_client import (
    Line,
    MailServer,
    SmtpTimeouts,
    dial,
    log_in,
    no_agreement,
    no_trust,
)


async def connect(to: MailServer) -> "Connection":
    """Connect, greet, encrypt and log in. Raises SmtpFailure; closes everything when cancelled."""
    if to.tokens is None:
        return await _connect(to, "")
    token = await _token(to.tokens)
    try:
        return await _connect(to, token, to.tokens.left())
    except SmtpFailure as failure:
        if failure.stage is not Stage.LOGIN or failure.reply is None or failure.reply.code != 535:
            raise
    # Tokens may be revoked early: try once more with a new one.
    token = await _token(to.tokens, instead_of=token)
    return await _connect(to, token, to.tokens.left())


async def _token(tokens: Tokens, *, instead_of: str = "") -> str:
    try:
        return await tokens.token(instead_of=instead_of)
    except NoToken as none:
        cause = Cause.LOST if none.passes else Cause.MISCONFIGURED
        raise SmtpFailure(Stage.LOGIN, cause, none.words, of_server=False) from none


async def _connect(to: MailServer, token: str, good_for: timedelta = timedelta.max) -> "Connection":
    connection = Connection(await dial(to), to.timeouts, good_for)
    try:
        await connection.introduce(to, token)
    except BaseException:
        connection.abort()
        raise
    return connection


def _on_the_wire(mail: bytes) -> bytes:
    """Return an email as sent (RFC 5321 4.5.2): a dot is added to lines that begin with one, and a lone dot ends it."""
    dotted = mail.replace(b"\r\n.", b"\r\n..")
    return b"".join((b"." if dotted.startswith(b".") else b"", dotted, b".\r\n"))


def _verb(command: bytes) -> str:
    return command.partition(b" ")[0].decode("ascii")


_Step = tuple[Stage, bytes, tuple[int, ...]]
"""A stage, its command, and the reply codes that accept it."""
# RFC 1870 5: at most twenty digits.
_SIZE = re.compile(r"[0-9]{1,20}")


class Connection:
    """A connection for one email after another, used by one task at a time and never reopened.

    A cancelled exchange or one that timed out leaves replies unread: `usable` is False from then on.
    """

    def __init__(
        self,
        protocol: Line,
        timeouts: SmtpTimeouts,
        good_for: timedelta = timedelta.max,
    ) -> None:
        """Use an open connection. `good_for` is how long its login remains valid."""
        self._protocol = protocol
        self._timeouts = timeouts
        self._extensions: dict[str, str] = {}
        self.good_for = good_for.total_seconds()
        self.mails = 0
        """How many emails were sent on the connection."""
        self.needs_reset = False
        """Whether an email was refused half-way, so that RSET must come before the next one."""

    @property
    def usable(self) -> bool:
        """Whether another email can be sent on the connection."""
        return self._protocol.is_idle

    @property
    def size_limit(self) -> int:
        """The most bytes of an email that the server accepts; 0 if it does not say."""
        limit = self._extensions.get("size", "")
        return int(limit) if _SIZE.fullmatch(limit) else 0

    async def introduce(self, to: MailServer, token: str) -> None:
        """Read the greeting, send EHLO, encrypt and log in, with `token` if there is one, else the password."""
        reply = await self._greeting(to.server)
        self._expect(reply, Stage.GREETING, 220)
        methods = await self._ehlo(to.local_hostname)
        if to.server.tls is SmtpTls.STARTTLS:
            await self._start_tls(to)
            methods = await self._ehlo(to.local_hostname)
        if token or to.server.username:
            await log_in(partial(self._ask, Stage.LOGIN), to.server, token, methods)

    async def _greeting(self, server: SmtpServer) -> SMTPResponse:
        clear = server.tls is not SmtpTls.IMPLICIT
        # Shorter than the usual five minutes, because this is the most common mistake.
        mistaken = clear and server.port == self._timeouts.encrypted_port
        within = self._timeouts.connect if mistaken else self._timeouts.greeting
        try:
            return await self._read(Stage.GREETING, "the greeting", within)
        except SmtpFailure as failure:
            if clear and "within" in failure.words:
                failure.words += (
                    "; if it encrypts from the first byte, write smtps:// in RELAY_SMTP_URL"
                )
            raise

    async def _ehlo(self, local_hostname: str) -> list[str]:
        name = local_hostname.encode("ascii")
        reply = await self._ask(Stage.GREETING, b"EHLO " + name)
        if 500 <= reply.code < 600:  # a server from before 1995
            self._extensions = {}  # extensions announced before encryption are void
            self._expect(await self._ask(Stage.GREETING, b"HELO " + name), Stage.GREETING, 250)
            return []
        self._expect(reply, Stage.GREETING, 250)
        self._extensions, methods = parse_esmtp_extensions(reply.message)
        return methods

    async def _start_tls(self, to: MailServer) -> None:
        if to.tls is None or "starttls" not in self._extensions:
            raise SmtpFailure(
                Stage.TLS,
                Cause.MISCONFIGURED,
                "does not offer STARTTLS, and nothing is sent in clear text",
            )
        self._check_turn(Stage.TLS)
        try:
            await self._protocol.start_tls(
                to.tls, server_hostname=to.server.host, timeout=self._timeouts.command
            )
        except ssl.SSLCertVerificationError as error:
            raise no_trust(error) from error
        except ssl.SSLError as error:
            raise no_agreement(error, Stage.TLS) from error
        except (SMTPException, OSError) as error:
            raise self._failure(error, Stage.TLS, "STARTTLS", self._timeouts.command) from error

    async def begin(self, sender: str, recipient: str, size: int, *, at_once: bool = True) -> None:
        """Announce an email of `size` bytes, until the server waits for its text. Raises SmtpFailure.

        Addresses are bare ASCII. With `at_once`, MAIL, RCPT and DATA are sent together if the
        server supports PIPELINING.
        """
        self._refuse_too_big(size)
        self.mails += 1
        steps = self._steps(sender, recipient, size)
        try:
            if at_once and "pipelining" in self._extensions:
                await self._begin_at_once(steps)
                return
            for stage, command, codes in steps:
                within = self._timeouts.data if stage is Stage.DATA else self._timeouts.command
                self._expect(await self._ask(stage, command, within), stage, *codes)
        except SmtpFailure as failure:
            self._learn(failure)
            raise

    async def finish(self, mail: bytes) -> SMTPResponse:
        """Send the text of the announced email, with CRLF line ends. Returns the server's 250; raises SmtpFailure."""
        try:
            return await self._hand_over(_on_the_wire(mail))
        except SmtpFailure as failure:
            self._learn(failure)
            raise

    def _learn(self, failure: SmtpFailure) -> None:
        self.needs_reset = True
        if failure.reply is not None and failure.reply.code < 400:
            self.abort()  # the server's state is unknown from here on

    def _steps(self, sender: str, recipient: str, size: int) -> tuple[_Step, ...]:
        size_parameter = f" SIZE={size}" if "size" in self._extensions else ""
        return (
            (Stage.MAIL, f"MAIL FROM:<{sender}>{size_parameter}".encode("ascii"), (250,)),
            (Stage.RCPT, f"RCPT TO:<{recipient}>".encode("ascii"), (250, 251, 252)),
            (Stage.DATA, b"DATA", (354,)),
        )

    async def _begin_at_once(self, steps: tuple[_Step, ...]) -> None:
        """Send all commands together (RFC 2920). The first one that is refused decides the result."""
        self._write(Stage.MAIL, *(command for _, command, _ in steps))
        unread = len(steps)
        try:
            for stage, command, codes in steps:
                unread -= 1
                reply = await self._read(stage, _verb(command), self._timeouts.at_once)
                self._expect(reply, stage, *codes)
        except SmtpFailure as failure:
            waits_for_mail = await self._waits_for_mail(unread)
            failure.at_once = waits_for_mail or is_out_of_order(failure.reply)
            raise

    async def _waits_for_mail(self, unread: int) -> bool:
        """Read the remaining replies after a refusal; return True if the server accepted DATA nevertheless.

        RFC 2920 3.1 would end such an email with a dot. The connection is aborted instead, because
        an email without its end is never delivered, while a server might deliver an empty one.
        """
        try:
            for _ in range(unread):
                reply = await self._read(Stage.DATA, "DATA", self._timeouts.reset)
                if reply.code == 354:
                    self.abort()
                    return True
        except SmtpFailure:
            self.abort()
        return False

    async def _hand_over(self, body: bytes) -> SMTPResponse:
        early = self._protocol.take_early()
        if early and early.code >= 400:
            raise SmtpFailure(Stage.BODY, Cause.REFUSED, "", early)
        self._check_turn(Stage.DATA)
        try:
            self._protocol.hand_over(body)
        except SMTPException as error:
            raise self._failure(error, Stage.DATA, "DATA", 0) from error
        reply = await self._read(Stage.BODY, "the mail", self._timeouts.end_of_data)
        if self._protocol.unsent:
            # The rest of the email would be read as commands.
            self.abort()
            if reply.code < 400:
                raise SmtpFailure(Stage.BODY, Cause.LOST, "said yes before it had the whole mail")
        self._expect(reply, Stage.BODY, 250)
        return reply

    def _refuse_too_big(self, size: int) -> None:
        if 0 < self.size_limit < size:
            raise SmtpFailure(
                Stage.MAIL,
                Cause.TOO_BIG,
                f"takes mails of at most {self.size_limit:,} bytes, this one has {size:,}",
            )

    async def reset(self) -> bool:
        """Send RSET and return whether the server accepts another email; if not, drop the connection."""
        try:
            reply = await self._ask(Stage.MAIL, b"RSET", self._timeouts.reset)
        except SmtpFailure:
            return False
        self.needs_reset = False
        return reply.code == 250 and self.usable

    def send_quit(self) -> None:
        """Send QUIT without waiting for the answer."""
        if self.usable:
            self._protocol.write(b"QUIT\r\n")
        if (line := self._protocol.wire) is not None:
            line.close()

    def abort(self) -> None:
        """Close the connection immediately, without QUIT."""
        if (line := self._protocol.wire) is not None:
            line.abort()

    # -- one question, one answer --

    async def _ask(self, stage: Stage, command: bytes, within: float | None = None) -> SMTPResponse:
        verb = _verb(command) if stage is not Stage.LOGIN else "AUTH"
        self._write(stage, command)
        return await self._read(stage, verb, within or self._timeouts.command)

    def _write(self, stage: Stage, *commands: bytes) -> None:
        self._check_turn(stage)
        try:
            self._protocol.ask(*commands)
        except SMTPException as error:
            raise self._failure(error, stage, _verb(commands[0]), 0) from error

    async def _read(self, stage: Stage, verb: str, within: float) -> SMTPResponse:
        try:
            return await self._protocol.read_response(timeout=within)
        except SMTPException as error:
            raise self._failure(error, stage, verb, within) from error

    def _failure(self, error: Exception, stage: Stage, verb: str, waited: float) -> SmtpFailure:
        match error:
            case SMTPResponseException(code=code) if code > 0:
                reply = SMTPResponse(code, error.message)
                return SmtpFailure(stage, Cause.REFUSED, "", reply)
            case SMTPResponseException():
                words = f"answered {verb} with something that is not SMTP: {error.message}"
            case SMTPTimeoutError():
                words = f"did not answer {verb} within {waited:g} s"
            case _:
                words = f"dropped the line after {verb}"
        return SmtpFailure(stage, Cause.LOST, words)

    def _check_turn(self, stage: Stage) -> None:
        if self._protocol.out_of_turn:
            raise SmtpFailure(stage, Cause.LOST, "answered before it was asked")

    @staticmethod
    def _expect(reply: SMTPResponse, stage: Stage, *codes: int) -> None:
        if reply.code not in codes:
            raise SmtpFailure(stage, Cause.REFUSED, "", reply)
