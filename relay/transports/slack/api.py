"""Calls of Slack's Web API with a bot's token: one request each, nothing is repeated behind our back."""

import logging
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from relay.clock import Clock
from relay.transports.http import (
    NO_ANSWER,
    BoundedResponse,
    HttpClient,
    is_page,
    without_answer,
)
from relay.transports.outcome import Ending, Outcome
from relay.transports.slack.answers import Answer, api_answer, sort, text_answer, webhook_answer
from relay.transports.slack.blocks import Json

# slack-sdk writes webhook URLs and whole posts to its debug log, so it gets a logger that takes none.
SILENT = logging.getLogger("relay.transports.slack.sdk")
SILENT.setLevel(logging.WARNING)


class NotDone(Exception):
    """A call that Slack did not answer with yes. `word` is what it calls the error."""

    def __init__(self, outcome: Outcome, word: str = "") -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome
        self.word = word

    def harmless(self) -> "NotDone":
        """This refusal of a call that may be made again: whether it was heard does not matter."""
        if self.outcome.ending is not Ending.MAYBE_DELIVERED:
            return self
        return NotDone(replace(self.outcome, ending=Ending.LATER, hold=False), self.word)


class TokenPause:
    """Slack's "too many" is meant for the token: until the pause is over, no destination of it asks again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: datetime | None = None

    def left(self) -> timedelta | None:
        """How long it still lasts; None where there is none."""
        left = self._until - self._clock() if self._until else timedelta()
        return left if left > timedelta() else None

    def begin(self, wait: timedelta) -> None:
        self._until = self._clock() + wait


class SlackApi:
    """Slack with one token. `pause` is shared by all that use it."""

    def __init__(
        self,
        http: HttpClient,
        *,
        url: str,
        token: str,
        pause: TokenPause,
        clock: Clock,
    ) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._pause = pause
        self._clock = clock
        self.scopes: frozenset[str] = frozenset()
        """What the token allows, as the last answer said; empty where it said nothing."""

    async def call(self, method: str, message: Json) -> Json:
        """What Slack answers to JSON. Raises NotDone."""
        return await self._ask(method, json=message)

    async def call_form(self, method: str, fields: dict[str, str]) -> Json:
        """Call one of the few methods that take no JSON. Raises NotDone."""
        return await self._ask(method, data=fields)

    async def upload(self, url: str, content: bytes) -> None:
        """Hand a file's bytes to the address that Slack named for it. Raises NotDone."""
        if objection := self._http.objection(url):
            words = f"the address that Slack named for the file {objection}"
            raise NotDone(Outcome(Ending.REFUSED, words))
        try:
            async with self._http.session(url).post(
                URL(url, encoded=True), data=content, ssl=self._http.tls
            ) as response:
                body = (await response.read()).decode("utf-8", "replace")
        except NO_ANSWER as error:
            raise NotDone(without_answer(error, "Slack's file store")) from error
        if response.status != 200 or is_page(body):
            answer = webhook_answer(response.status, body, response.headers)
            raise self._no(answer, (url,))

    async def _ask(self, method: str, **message: Any) -> Json:  # noqa: ANN401 - slack-sdk's
        if wait := self._pause.left():
            raise NotDone(Outcome(Ending.RATE_LIMITED, "Slack asked all posts to wait", wait))
        try:
            answer = await self._client().api_call(method, **message)
        except SlackApiError as error:
            raise self._no(await _read(error.response)) from error
        except (AttributeError, TypeError) as error:
            # slack-sdk trips over a 200 that is JSON or text, but no object.
            raise self._no(api_answer(200, None, {})) from error
        except NO_ANSWER as error:
            raise NotDone(without_answer(error, "Slack")) from error
        data = answer.data
        # slack-sdk takes any "ok" for a yes that is not empty: "false" too.
        if not isinstance(data, dict) or data.get("ok") is not True or data.get("error"):
            raise self._no(api_answer(answer.status_code, data, answer.headers))
        named = answer.headers.get("x-oauth-scopes") or ""
        self.scopes = frozenset(filter(None, map(str.strip, str(named).split(","))))
        return data

    def odd(self) -> NotDone:
        """For a yes in which something is missing."""
        return self._no(Answer(status=200, odd=True))

    def _no(self, answer: Answer, secrets: tuple[str, ...] = ()) -> NotDone:
        outcome = sort(answer, self._clock(), (self._token, *secrets))
        if outcome.ending is Ending.RATE_LIMITED and outcome.after:
            self._pause.begin(outcome.after)
        return NotDone(outcome, answer.word)

    def _client(self) -> AsyncWebClient:
        client = AsyncWebClient(
            self._token,
            base_url=self._url,
            session=self._http.session(self._url),
            ssl=self._http.tls,
            logger=SILENT,
            # Its own handler posts again after a lost answer.
            retry_handlers=[],
        )
        client.proxy = None  # it reads HTTPS_PROXY, but not NO_PROXY; the session knows the way
        return client


async def _read(response: Any) -> Answer:  # noqa: ANN401 - two classes without a common one
    if isinstance(response, BoundedResponse):  # what it gives where the body is no JSON
        body, is_whole = await response.text(), not response.broke_off
        return text_answer(response.status, body, response.headers, is_whole=is_whole)
    return api_answer(response.status_code, response.data, response.headers)
