"""The failures that an email can have on its way to a server, and the stage at which they occur."""

from enum import Enum, IntEnum

from aiosmtplib.response import SMTPResponse


class Stage(IntEnum):
    """The stage of sending an email. Before BODY the server has nothing of it."""

    CONNECT = 0
    GREETING = 1
    TLS = 2
    LOGIN = 3
    MAIL = 4
    RCPT = 5
    DATA = 6
    BODY = 7


class Cause(Enum):
    """Why an email was not sent."""

    REFUSED = "refused"
    """The server refused the email or a command; see `reply`."""
    LOST = "lost"
    """The server gave no answer, or none that can be understood."""
    MISCONFIGURED = "misconfigured"
    """Settings and server don't fit: no server, wrong certificate, no way to log in."""
    TOO_BIG = "too big"
    """The email is larger than the server accepts; nothing was sent."""


class SmtpFailure(Exception):
    """Raised for an email that was not accepted; at stage BODY it may have been.

    The text contains none of the relay's secrets.
    """

    def __init__(
        self,
        stage: Stage,
        cause: Cause,
        words: str,
        reply: SMTPResponse | None = None,
        *,
        of_server: bool = True,
    ) -> None:
        """`of_server` says that the words continue a sentence that begins with the server's name."""
        super().__init__(words)
        self.of_server = of_server
        self.stage = stage
        self.cause = cause
        self.words = words
        self.reply = reply
        self.at_once = False
        """Whether the server mishandled MAIL, RCPT and DATA sent together; they may be accepted one by one."""

    @property
    def locked_out(self) -> bool:
        """Whether the login was refused permanently, or there are no credentials."""
        refused = self.reply is not None and self.reply.code >= 500
        return self.stage is Stage.LOGIN and (refused or self.cause is Cause.MISCONFIGURED)

    def copy(self) -> "SmtpFailure":
        """Return a copy of the failure, for another email that would fail in the same way."""
        return SmtpFailure(self.stage, self.cause, self.words, self.reply, of_server=self.of_server)
