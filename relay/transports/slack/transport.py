"""The Slack transport: what the rules file may say of it, and one attempt at one post."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from relay.destination import Option, OptionKind, Rate, TransportSpec
from relay.notification import Notification
from relay.outcome import Ending, Outcome
from relay.transports import Identity
from relay.transports.far_end import in_its_words, secret_parts
from relay.transports.http import NO_ANSWER, HttpClient, without_answer
from relay.transports.slack.answers import api_answer, sort, webhook_answer
from relay.transports.slack.pack import pack

SPEC = TransportSpec(
    name="slack",
    doc="A post in a Slack channel, by incoming webhook or by bot token.",
    options={
        "webhook": Option(
            kind=OptionKind.SECRET,
            doc="The URL of an incoming webhook, by name: $SLACK_SUPPORT_WEBHOOK.",
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
            doc="Whom to ring: here, channel, or the ID of a user or a user group.",
            pattern="here|channel|[UWS][A-Z0-9]{6,20}",
            pattern_hint="here, channel, a user's ID such as U0123456789"
            " or a user group's such as S0123456789",
        ),
    },
    ways=(("webhook",), ("channel",)),
    needs={"channel": ("RELAY_SLACK_TOKEN",)},
    rates=(Rate(1),),
)

# slack-sdk writes webhook URLs and whole posts to its debug log, so it gets a logger that takes none.
_SILENT = logging.getLogger("relay.transports.slack.sdk")
_SILENT.setLevel(logging.WARNING)


class SlackWebhook:
    """Posts through an incoming webhook. `name` is how the rules file calls the secret."""

    def __init__(
        self,
        http: HttpClient,
        *,
        url: str,
        name: str,
        mention: str = "",
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self._url = url
        self._mention = mention
        self._clock = clock
        self._secrets = secret_parts(url)
        objection = http.objection(url)
        self._objection = f"what {name} holds {objection}" if objection else ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """See `Transport.send`. Slack has no place for an identity."""
        if self._objection:
            return Outcome(Ending.DESTINATION_BROKEN, self._objection)
        try:
            response = await self._client().send_dict(pack(notification, mention=self._mention))
        except NO_ANSWER as error:
            return without_answer(error, "Slack")
        if response.status_code == 200 and response.body.strip() == "ok":
            return Outcome(Ending.DELIVERED, "Slack answered ok")
        answer = webhook_answer(response.status_code, response.body, response.headers)
        return sort(answer, self._clock(), self._secrets)

    def _client(self) -> AsyncWebhookClient:
        client = AsyncWebhookClient(
            self._url,
            session=self._http.session,
            ssl=self._http.tls,
            logger=_SILENT,
            # Its own handler posts again after a lost answer, behind our back.
            retry_handlers=[],
        )
        client.proxy = None  # it reads HTTPS_PROXY, but not NO_PROXY
        return client

    async def close(self) -> None:
        """Nothing of its own to let go of."""


class SlackChannel:
    """Posts to a channel with the bot's token."""

    def __init__(
        self,
        http: HttpClient,
        *,
        api_url: str,
        token: str,
        channel: str,
        mention: str = "",
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self._api_url = api_url
        self._token = token
        self._channel = channel
        self._mention = mention
        self._clock = clock
        objection = http.objection(api_url)
        self._objection = f"what RELAY_SLACK_API_URL holds {objection}" if objection else ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """See `Transport.send`. Slack has no place for an identity."""
        if self._objection:
            return Outcome(Ending.DESTINATION_BROKEN, self._objection)
        post = {"channel": self._channel, **pack(notification, mention=self._mention)}
        try:
            answer = await self._client().api_call("chat.postMessage", json=post)
        except SlackApiError as error:
            return self._refused(error.response)
        except (AttributeError, TypeError, UnicodeDecodeError):
            # slack-sdk trips over a 200 that is JSON or text, but no object, or not even UTF-8.
            return sort(api_answer(200, None, {}), self._clock())
        except NO_ANSWER as error:
            return without_answer(error, "Slack")
        posted = f"posted as {answer.get('ts', '')} in {answer.get('channel', '')}"
        return Outcome(Ending.DELIVERED, in_its_words(posted, (self._token,)))

    def _refused(self, response: Any) -> Outcome:  # noqa: ANN401 - two classes without a common one
        if isinstance(response, aiohttp.ClientResponse):  # what it gives where the body is no JSON
            answer = api_answer(response.status, None, response.headers)
        else:
            answer = api_answer(response.status_code, response.data, response.headers)
        return sort(answer, self._clock(), (self._token,))

    def _client(self) -> AsyncWebClient:
        client = AsyncWebClient(
            self._token,
            base_url=self._api_url,
            session=self._http.session,
            ssl=self._http.tls,
            logger=_SILENT,
            retry_handlers=[],
        )
        client.proxy = None
        return client

    async def close(self) -> None:
        """Nothing of its own to let go of."""
