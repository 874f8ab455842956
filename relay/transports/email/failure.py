"""What can go wrong with a mail on its way to a server, and how far it had got by then."""

from enum import Enum, IntEnum

from aiosmtplib.response import SMTPResponse


class Stage(IntEnum):
    """How far it has got. Before BODY the server has nothing of the mail."""

    CONNECT = 0
    GREETING = 1
    TLS = 2
    LOGIN = 3
    MAIL = 4
    RCPT = 5
    DATA = 6
    BODY = 7


class Cause(Enum):
    """What went wrong with a mail."""

    REFUSED = "refused"
    """The server answered, and not with yes: see `reply`."""
    LOST = "lost"
    """No answer, or none that can be understood."""
    MISCONFIGURED = "misconfigured"
    """Settings and server don't fit: no server, wrong certificate, no way to log in."""
    TOO_BIG = "too big"
    """Larger than the server said it takes; nothing was sent."""


class SmtpFailure(Exception):
    """A mail that was not accepted, or maybe was: `stage` tells. The text holds no secrets of ours."""

    def __init__(
        self,
        stage: Stage,
        cause: Cause,
        words: str,
        reply: SMTPResponse | None = None,
        *,
        of_server: bool = True,
    ) -> None:
        """`of_server`: the words go on after the server's name; else they are about somebody else."""
        super().__init__(words)
        self.of_server = of_server
        self.stage = stage
        self.cause = cause
        self.words = words
        self.reply = reply
        self.at_once = False
        """MAIL, RCPT and DATA were sent together, and the server got them wrong. One by one they may pass."""

    @property
    def locked_out(self) -> bool:
        """The login was refused for good, or there is nothing to log in with."""
        refused = self.reply is not None and self.reply.code >= 500
        return self.stage is Stage.LOGIN and (refused or self.cause is Cause.MISCONFIGURED)

    def again(self) -> "SmtpFailure":
        """A copy of this failure, for another mail that would have met it."""
        return SmtpFailure(self.stage, self.cause, self.words, self.reply, of_server=self.of_server)
