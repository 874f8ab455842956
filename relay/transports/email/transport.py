"""The email transport: its options in the rules file, and attempts to send."""

from datetime import timedelta

from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from relay.destination import (
    NOBODY,
    TEAM,
    VISITOR,
    Option,
    OptionKind,
    TransportSpec,
    WhenUnsure,
    reply_to,
)
from relay.mail_address import MailAddress
from relay.notification import Notification
from relay.settings.smtp import SmtpServer, SmtpTls
from relay.transports import Ending, Identity, Outcome
from relay.transports.access import Access, Options, Registration
from relay.transports.email.answers import accepted, rows, sort
from relay.transports.email.failure import SmtpFailure
from relay.transports.email.mime import Envelope, pack, recipient_address
from relay.transports.email.oauth import Tokens
from relay.transports.email.pool import SmtpPool

SPEC = TransportSpec(
    name="email",
    doc="Mail through the server that RELAY_SMTP_URL names, from RELAY_MAIL_FROM.",
    options={
        "to": Option(
            kind=OptionKind.ADDRESSES,
            doc="Who gets it: anna@example.com or Anna <anna@example.com>, one or a list.",
        ),
        "reply_to": Option(
            kind=OptionKind.ADDRESS,
            doc="Who gets an answer to a mail: visitor; team, the first address of to; another address; or nobody.",
            choices=(VISITOR, TEAM, NOBODY),
        ),
        "mark_as_automatic": Option(
            kind=OptionKind.YES_NO,
            doc="Whether a mail says that a program sent it, so that no robot answers; true unless you say otherwise."
            " false for a ticket system that drops such mail.",
        ),
    },
    option_sets=(("to",),),
    needs={"to": ("RELAY_SMTP_URL", "RELAY_MAIL_FROM")},
    max_concurrency=8,
    bodies=True,
    gives_up_after=timedelta(days=3),
    # A repeated email has the same Message-ID and Date, so Exchange and Gmail drop it.
    when_unsure=WhenUnsure.REPEAT,
)


class EmailTransport:
    """Sends the emails of one destination. All destinations share the pool, whose owner closes it."""

    objection = ""

    def __init__(
        self,
        pool: SmtpPool,
        server: SmtpServer,
        sender: MailAddress,
        tokens: Tokens | None = None,
        reply_to: str = VISITOR,
        *,
        mark_as_automatic: bool = True,
    ) -> None:
        """`reply_to` is the recipient of replies: VISITOR, NOBODY or an address."""
        self._pool = pool
        self._server = server
        self._sender = sender
        self._tokens = tokens
        self._reply_to = reply_to
        self._mark_as_automatic = mark_as_automatic

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        """Make one attempt to send an email and return its outcome.

        `recipient` is an address, with or without a name.
        """
        try:
            to = recipient_address(recipient)
        except ValueError as error:
            return Outcome(Ending.REFUSED, str(error))
        envelope = Envelope(self._sender, to, self._reply_to, self._mark_as_automatic)
        mail = pack(notification, envelope, identity)
        try:
            reply = await self._pool.send(self._sender.address, to.address, mail)
        except SmtpFailure as failure:
            return sort(failure, self._server.host, self._secrets())
        return accepted(reply, self._secrets())

    async def connect(self) -> Outcome | str:
        """Connect and log in without sending anything; return a description, or the outcome that an email would have."""
        server = self._server
        try:
            limit = await self._pool.connect()
        except SmtpFailure as failure:
            return sort(failure, server.host, self._secrets())
        how = "in clear text" if server.tls is SmtpTls.NONE else "encrypted"
        who = f"logged in as {server.username}" if server.username else "without a login"
        most = f", for mails of at most {limit:,} bytes" if limit else ""
        return f"connected to {server.host}:{server.port}, {how}, {who}{most}"

    def _secrets(self) -> tuple[str, ...]:
        """Return the password and tokens in all forms in which a server may repeat them."""
        user, password = self._server.username, self._server.password.reveal()
        coded = []
        if password:
            coded = [auth_plain_encode(user, password), auth_login_encode("", password)[1]]
        tokens = self._tokens.secrets() if self._tokens else ()
        coded += [auth_xoauth2_encode(user, token) for token in tokens]
        plain = (*tokens, password) if password else tokens
        return (*(code.decode("ascii") for code in coded), *plain)


def _open(options: Options, access: Access) -> EmailTransport:
    """Return the transport. The recipients are given with each email."""
    return EmailTransport(
        *access.mail,
        reply_to=reply_to(options),
        mark_as_automatic=options.get("mark_as_automatic") is not False,
    )


def _place(options: Options, access: Access) -> tuple[tuple[str, ...], object]:  # noqa: ARG001 - one server for all
    _, server, sender, _ = access.mail
    return (server.host, str(server.port), server.username), (server, sender)


REGISTRATION = Registration(spec=SPEC, open=_open, place=_place, answers=rows())
