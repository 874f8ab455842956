"""The Teams transport: its options in the rules file, and attempts to post."""

import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from yarl import URL

from relay.clock import Clock
from relay.destination import Option, OptionKind, Rate, TransportSpec
from relay.links import host_of, service_mismatch, service_of
from relay.notification import Notification
from relay.transports import Ending, Identity, Outcome
from relay.transports.access import Access, Options, Registration
from relay.transports.http import NO_ANSWER, HttpClient, without_answer
from relay.transports.teams.answers import ROWS, sort
from relay.transports.teams.pack import pack

SPEC = TransportSpec(
    name="teams",
    doc="A card in a Teams channel, by the webhook of a flow (Workflows).",
    options={
        "webhook": Option(
            kind=OptionKind.SECRET,
            doc="The URL of a flow that posts to a channel when a webhook request is received,"
            " by name: $TEAMS_MANAGERS_WEBHOOK.",
            stand_in="{stand_ins}/teams/{name}",
        )
    },
    option_sets=(("webhook",),),
    # A bot may post 60 times in 30 s to a channel; a flow shares this limit with others.
    rates=(Rate(1), Rate(50, timedelta(seconds=30))),
)

_RETIRED = (".webhook.office.com", "outlook.office.com", "outlook.office365.com")


class TeamsWebhook:
    """Posts to a flow. `name` is the secret's name in the rules file."""

    def __init__(self, http: HttpClient, *, url: str, name: str, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._secrets = (url,)
        objection = http.objection(url) or service_mismatch(url, "Teams") or _of_flow(url)
        self.objection = f"what {name} holds {objection}" if objection else ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """Make one attempt to send a notification and return its outcome.

        The identity is not used: flows have no field for it.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        try:
            async with self._http.session(self._url).post(
                # Unchanged, because its signature covers the URL as issued.
                URL(self._url, encoded=True),
                data=pack(notification),
                headers={"Content-Type": "application/json; charset=utf-8"},
                ssl=self._http.tls,
                timeout=aiohttp.ClientTimeout(
                    total=self._http.timeouts.flow, connect=self._http.timeouts.connect
                ),
            ) as response:
                body = (await response.read()).decode("utf-8", "replace")
        except NO_ANSWER as error:
            return without_answer(error, "Teams")
        return sort(response.status, body, response.headers, self._clock(), self._secrets)

    async def connect(self) -> Outcome | str:
        """Connect to the webhook's host; return a description, or the outcome that a post would have.

        A webhook only accepts posts, so this can't show whether it is valid.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        return await self._http.connect(self._url, "Teams")


def _of_flow(url: str) -> str:
    if service_of(url) != "Teams":
        return ""
    if host_of(url).endswith(_RETIRED):
        return (
            "is the address of an Office 365 connector, which Microsoft has switched off; make a flow in"
            ' Workflows ("Post to a channel when a webhook request is received") and use its address'
        )
    if not dict(parse_qsl(urlsplit(url).query)).get("sig"):
        return (
            "is not whole: the address of a flow has &sig=... at its end; "
            "in single quotes a shell leaves its & alone"
        )
    return ""


def _open(options: Options, access: Access) -> TeamsWebhook:
    return TeamsWebhook(
        access.http,
        url=access.secret(options["webhook"]),
        name=str(options["webhook"]),
        clock=access.clock,
    )


REGISTRATION = Registration(
    spec=SPEC,
    open=_open,
    place=lambda options, access: ((access.secret(options["webhook"]),), None),
    service="Teams",
    answers=ROWS,
    message=lambda notification, _: json.loads(pack(notification)),
    accepts_with=(202, ""),
)
