"""The mail transport: what the rules file may say of it, and one attempt at one mail."""

from datetime import timedelta

from aiosmtplib.auth import auth_login_encode, auth_plain_encode

from relay.destination import Option, OptionKind, TransportSpec
from relay.notification import Notification
from relay.outcome import Ending, Outcome
from relay.settings import MailAddress, SmtpServer
from relay.transports import Identity
from relay.transports.email.address import recipient_address
from relay.transports.email.connection import SmtpFailure
from relay.transports.email.mime import Envelope, pack
from relay.transports.email.pool import SmtpPool
from relay.transports.email.replies import accepted, sort

SPEC = TransportSpec(
    name="email",
    doc="Mail through the server that RELAY_SMTP_URL names, from RELAY_MAIL_FROM.",
    options={
        "to": Option(
            kind=OptionKind.ADDRESSES,
            doc="Who gets it: anna@example.com or Anna <anna@example.com>, one or a list.",
        )
    },
    ways=(("to",),),
    needs={"to": ("RELAY_SMTP_URL", "RELAY_MAIL_FROM")},
    max_concurrency=8,
    bodies=True,
    gives_up_after=timedelta(days=3),
    # The copy has the same Message-ID and Date: Exchange and Gmail drop it.
    repeats_when_unsure=True,
)


class EmailTransport:
    """One destination's mails. The pool is shared by all destinations and closed by its owner."""

    def __init__(self, pool: SmtpPool, server: SmtpServer, sender: MailAddress) -> None:
        self._pool = pool
        self._host = server.host
        self._sender = sender
        self._secrets = _secrets(server)

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        """See `Transport.send`. `recipient` is one address, with or without a name."""
        try:
            to = recipient_address(recipient)
        except ValueError as error:
            return Outcome(Ending.REFUSED, str(error))
        mail = pack(notification, Envelope(self._sender, to), identity)
        try:
            reply = await self._pool.send(self._sender.address, to.address, mail)
        except SmtpFailure as failure:
            return sort(failure, self._host, self._secrets)
        return accepted(reply, self._secrets)

    async def close(self) -> None:
        """Nothing of its own to let go of."""


def _secrets(server: SmtpServer) -> tuple[str, ...]:
    """The password in the forms in which a server may say it back."""
    password = server.password.reveal()
    if not password:
        return ()
    coded = auth_plain_encode(server.username, password), auth_login_encode("", password)[1]
    return (*(code.decode("ascii") for code in coded), password)
