"""The webhook transport: its options in the rules file, and attempts to post."""

import json

from msgspec.structs import replace
from yarl import URL

from relay.clock import Clock
from relay.destination import Option, OptionKind, TransportSpec, WhenUnsure
from relay.links import service_of
from relay.notification import Notification
from relay.transports import Ending, Identity, Outcome
from relay.transports.access import Access, Options, Registration
from relay.transports.http import NO_ANSWER, HttpClient, without_answer
from relay.transports.webhook.answers import ROWS, SERVICE, sort
from relay.transports.webhook.pack import pack
from relay.transports.webhook.signature import message_id, read_keys, signed

SPEC = TransportSpec(
    name="webhook",
    doc="The chat as signed JSON, posted to another system such as a CRM or a help desk.",
    options={
        "url": Option(
            kind=OptionKind.SECRET,
            doc="Where to POST to, by name: $CRM_URL.",
            stand_in="{stand_ins}/webhook/{name}",
        ),
        "secret": Option(
            kind=OptionKind.SECRET,
            doc="What the POST is signed with, by name: $CRM_SECRET. It holds whsec_ and the Base64 of 24 to 64 bytes;"
            " several with spaces between them while one is exchanged.",
            stand_in="whsec_cmVsYXkgcHJldmlldywgbm90IGEgc2VjcmV0",
        ),
        "json": Option(
            kind=OptionKind.JSON,
            doc='The body in the receiver\'s own form: a mapping whose texts may hold values, such as "{{ visitor.email }}".',
        ),
    },
    option_sets=(("url", "secret"),),
    whole_chat=True,
    # Each attempt has the same webhook-id, by which the receiver discards a duplicate.
    when_unsure=WhenUnsure.REPEAT,
)


class Webhook:
    """Posts signed JSON. `url_name` and `secret_name` are the names of the two secrets in the rules file."""

    def __init__(
        self,
        http: HttpClient,
        *,
        url: str,
        url_name: str,
        secret: str,
        secret_name: str,
        clock: Clock,
    ) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._secrets = (url, *secret.split())
        self._keys: tuple[bytes, ...] = ()
        objection = http.objection(url) or _of_a_room(url, url_name)
        self.objection = f"what {url_name} holds {objection}" if objection else ""
        try:
            self._keys = read_keys(secret)
        except ValueError as error:
            self.objection = self.objection or f"what {secret_name} holds {error}"

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """Make one attempt to send a notification and return its outcome."""
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        body, now = pack(notification, identity.date), self._clock()
        headers = signed(self._keys, message_id(identity.message_id), int(now.timestamp()), body)
        try:
            async with self._http.session(self._url).post(
                URL(self._url, encoded=True),
                data=body,
                headers={"Content-Type": "application/json; charset=utf-8", **headers},
                ssl=self._http.tls,
            ) as response:
                answer = await response.text()
        except NO_ANSWER as error:
            return without_answer(error, SERVICE)
        outcome = sort(response.status, answer, response.headers, self._clock(), self._secrets)
        # The receiver's own JSON has no short form.
        return outcome if notification.override is None else replace(outcome, shorten=False)

    async def connect(self) -> Outcome | str:
        """Connect to the webhook's host; return a description, or the outcome that a post would have.

        A webhook only accepts posts, so this can't show whether it is valid.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        return await self._http.connect(self._url, SERVICE)


def _of_a_room(url: str, name: str) -> str:
    """Return why the URL can't receive this JSON: it belongs to a chat service; empty if it can."""
    if service := service_of(url):
        return f"is a webhook of {service}; write {service.lower()}: {{webhook: {name}}} for it"
    return ""


def _open(options: Options, access: Access) -> Webhook:
    return Webhook(
        access.http,
        url=access.secret(options["url"]),
        url_name=str(options["url"]),
        secret=access.secret(options["secret"]),
        secret_name=str(options["secret"]),
        clock=access.clock,
    )


REGISTRATION = Registration(
    spec=SPEC,
    open=_open,
    place=lambda options, access: (
        (access.secret(options["url"]),),
        access.secret(options["secret"]),
    ),
    service=SERVICE,
    answers=ROWS,
    message=lambda notification, queued_at: json.loads(pack(notification, queued_at)),
    accepts_with=(204, ""),
)
