"""The Teams transport: what the rules file may say of it, one attempt at one post, and what the answers mean."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from yarl import URL

from relay.clock import Clock
from relay.destination import Option, OptionKind, Rate, TransportSpec
from relay.notification import Notification
from relay.outcome import Ending, Outcome
from relay.transports import Identity
from relay.transports.far_end import in_its_words, retry_after, wait_asked, wait_named
from relay.transports.http import (
    NO_ANSWER,
    TAKEN_IN_BETWEEN,
    HttpClient,
    by_status,
    is_page,
    without_answer,
)
from relay.transports.teams.pack import pack
from relay.transports.webhook_url import host_of, of_another_service, service_of

SPEC = TransportSpec(
    name="teams",
    doc="A card in a Teams channel, by the webhook of a flow (Workflows).",
    options={
        "webhook": Option(
            kind=OptionKind.SECRET,
            doc="The URL of a flow that posts to a channel when a webhook request is received,"
            " by name: $TEAMS_MANAGERS_WEBHOOK.",
        )
    },
    ways=(("webhook",),),
    # A bot may send 60 posts in 30 s to a channel; a flow shares that with others.
    rates=(Rate(1), Rate(50, timedelta(seconds=30))),
)

PAUSE = timedelta(seconds=60)
"""Where Teams says "too many" without saying until when."""
_HTTP_ERROR = re.compile(r"HTTP error ([45]\d\d)\b", re.ASCII | re.IGNORECASE)
_SWITCHED_OFF = "WorkflowTriggerIsNotEnabled"
"""What a flow that somebody or Microsoft switched off calls its 400 (microsoft/coe-starter-kit#8684)."""
_RETIRED = (".webhook.office.com", "outlook.office.com", "outlook.office365.com")


class TeamsWebhook:
    """Posts to a flow. `name` is how the rules file calls the secret."""

    def __init__(self, http: HttpClient, *, url: str, name: str, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._secrets = (url,)
        objection = http.objection(url) or of_another_service(url, "Teams") or _of_flow(url)
        self.objection = f"what {name} holds {objection}" if objection else ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """See `Transport.send`. Teams has no place for an identity."""
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        try:
            async with self._http.session(self._url).post(
                # Verbatim: the signature is over the URL as it was given out.
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
        """See `Transport.connect`. A webhook takes posts only, so no more is known than that its host is there."""
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


def sort(
    status: int, body: str, headers: Mapping[str, str], now: datetime, secrets: tuple[str, ...] = ()
) -> Outcome:
    """How an attempt ended that was answered (docs/delivery.md tells what follows)."""
    detail = in_its_words(f"Teams answered {status} {body}", secrets)
    if 200 <= status < 300:
        if is_page(body):
            return Outcome(Ending.LATER, f"{detail}, {TAKEN_IN_BETWEEN.format('a flow')}")
        hidden = _HTTP_ERROR.search(body)
        if hidden is None:
            # 202 comes before the flow has posted, out of our sight; 200 from one that ends with a Response action.
            return Outcome(Ending.DELIVERED if status == 200 else Ending.ACCEPTED, detail)
        # Old connectors hid their errors in a 200.
        status = int(hidden[1])
    if status == 429:
        return Outcome(Ending.RATE_LIMITED, detail, wait_asked(retry_after(headers), now, PAUSE))
    if status >= 400 and _SWITCHED_OFF in body:
        return Outcome(Ending.DESTINATION_BROKEN, f"the flow is switched off: {detail}")
    return Outcome(
        _by_status(status), detail, wait_named(headers, now), shorten=status in {400, 413}
    )


def _by_status(status: int) -> Ending:
    """Microsoft's own list of what to repeat, beside what holds for all."""
    return Ending.LATER if status in {412, 502, 504} else by_status(status)
