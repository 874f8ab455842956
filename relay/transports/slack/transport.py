"""The Slack transport: its options in the rules file, and posts through an incoming webhook."""

import re
from functools import cached_property
from urllib.parse import urlsplit

from slack_sdk.webhook.async_client import AsyncWebhookClient

from relay.clock import Clock
from relay.destination import Option, OptionKind, Rate, TransportSpec
from relay.links import service_mismatch, service_of
from relay.notification import Notification
from relay.transports import Ending, Identity, Outcome, Transport
from relay.transports.access import Access, Options, Registration
from relay.transports.http import NO_ANSWER, HttpClient, without_answer
from relay.transports.slack.answers import ROWS, sort, webhook_answer
from relay.transports.slack.api import SlackApi, client_options
from relay.transports.slack.channel import SlackChannel
from relay.transports.slack.pack import pack

SPEC = TransportSpec(
    name="slack",
    doc="A post in a Slack channel, by incoming webhook or by bot token.",
    options={
        "webhook": Option(
            kind=OptionKind.SECRET,
            doc="The URL of an incoming webhook, by name: $SLACK_SUPPORT_WEBHOOK.",
            stand_in="{stand_ins}/services/{name}",
        ),
        "channel": Option(
            kind=OptionKind.TEXT,
            doc="The ID of a channel that the bot of RELAY_SLACK_TOKEN is in.",
            pattern="[CGD][A-Z0-9]{6,20}",
            pattern_hint="a channel's ID such as C0123456789 (in Slack: the channel's name,"
            " About, at the bottom), not its name",
        ),
        "mention": Option(
            kind=OptionKind.TEXT,
            doc="Whom to mention: here, channel, or the ID of a user or a user group.",
            pattern="here|channel|[UWS][A-Z0-9]{6,20}",
            pattern_hint="here, channel, a user's ID such as U0123456789"
            " or a user group's such as S0123456789",
        ),
    },
    option_sets=(("webhook",), ("channel",)),
    needs={"channel": ("RELAY_SLACK_TOKEN",)},
    rates=(Rate(1),),
)


class SlackWebhook:
    """Posts through an incoming webhook. `name` is the secret's name in the rules file."""

    def __init__(
        self,
        http: HttpClient,
        *,
        url: str,
        name: str,
        mention: str = "",
        clock: Clock,
    ) -> None:
        self._http = http
        self._url = url
        self._mention = mention
        self._clock = clock
        self._secrets = (url,)
        objection = http.objection(url) or service_mismatch(url, "Slack") or _of_slack(url)
        self.objection = f"what {name} holds {objection}" if objection else ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """Make one attempt to send a notification and return its outcome.

        The identity is not used: webhooks have no field for it.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        mention = "" if identity.quiet else self._mention
        try:
            response = await self._client.send_dict(pack(notification, mention=mention))
        except NO_ANSWER as error:
            return without_answer(error, "Slack")
        if response.status_code == 200 and response.body.strip() == "ok":
            return Outcome(Ending.DELIVERED, "Slack answered ok")
        answer = webhook_answer(response.status_code, response.body, response.headers)
        return sort(answer, self._clock(), self._secrets)

    async def connect(self) -> Outcome | str:
        """Connect to the webhook's host; return a description, or the outcome that a post would have.

        A webhook only accepts posts, so this can't show whether it is valid.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        return await self._http.connect(self._url, "Slack")

    @cached_property
    def _client(self) -> AsyncWebhookClient:
        """A client for the webhook. Needs a running event loop."""
        client = AsyncWebhookClient(self._url, **client_options(self._http, self._url))
        client.proxy = None  # see `client_options`
        return client


_WHOLE = re.compile(r"/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+/?")


def _of_slack(url: str) -> str:
    path = urlsplit(url).path
    if path.startswith(("/triggers/", "/workflows/")):
        # Workflow webhooks take other posts, and answer 200 to those they can't read (grafana/alerting#183).
        return (
            "is a webhook of Slack's Workflow Builder; make an incoming webhook and use its address"
        )
    if service_of(url) == "Slack" and not _WHOLE.fullmatch(path):
        return "is not whole: the address of an incoming webhook has three parts behind /services/"
    return ""


def _open(options: Options, access: Access) -> Transport:
    mention = str(options.get("mention", ""))
    if "webhook" in options:
        return SlackWebhook(
            access.http,
            url=access.secret(options["webhook"]),
            name=str(options["webhook"]),
            mention=mention,
            clock=access.clock,
        )
    objection = access.http.objection(access.settings.slack_api_url)
    return SlackChannel(
        _api(access),
        channel=str(options["channel"]),
        mention=mention,
        objection=f"what RELAY_SLACK_API_URL holds {objection}" if objection else "",
    )


def _api(access: Access) -> SlackApi:
    """Return the API with the bot's token. Raises ValueError if there is none."""
    token = access.settings.slack_token
    if token is None:
        raise ValueError("a Slack channel needs RELAY_SLACK_TOKEN")
    url = access.settings.slack_api_url
    pause, clock = access.slack_pause, access.clock
    return SlackApi(access.http, url=url, token=token.reveal(), pause=pause, clock=clock)


def _place(options: Options, access: Access) -> tuple[tuple[str, ...], object]:
    if "webhook" in options:
        return (access.secret(options["webhook"]),), None
    settings = access.settings
    token = settings.slack_token.reveal() if settings.slack_token else ""
    return (settings.slack_api_url, token, str(options["channel"])), None


REGISTRATION = Registration(
    spec=SPEC,
    open=_open,
    place=_place,
    service="Slack",
    answers=ROWS,
    message=lambda notification, _: pack(notification),
)
