"""Calls Slack's Web API with a bot token, one request per call, without retries.

A delivery's receipt records what was posted, so that nothing is posted twice and the thread is found again.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct
from msgspec.structs import replace
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from relay.clock import Clock
from relay.notification import Json
from relay.transports import Ending, Identity, Outcome, side_request
from relay.transports.http import NO_ANSWER, BoundedResponse, HttpClient, is_page, without_answer
from relay.transports.slack.answers import Answer, api_answer, sort, text_answer, webhook_answer

# slack-sdk logs webhook URLs and whole posts at level DEBUG, so its logger drops everything.
SILENT = logging.getLogger("relay.transports.slack.sdk")
SILENT.setLevel(logging.WARNING)


def client_options(http: HttpClient, url: str) -> dict[str, Any]:
    """Return the options of a slack-sdk client that logs nothing and never repeats a request.

    `proxy` is None because slack-sdk reads HTTPS_PROXY but not NO_PROXY; the session handles the proxy.
    """
    return {"session": http.session(url), "ssl": http.tls, "logger": SILENT, "retry_handlers": []}


class CallError(Exception):
    """Raised for a call to which Slack did not answer with success. `word` is Slack's name of the error."""

    def __init__(self, outcome: Outcome, word: str = "") -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome
        self.word = word

    def repeatable(self) -> "CallError":
        """Return the error of a call that may safely be repeated, whether or not Slack received it."""
        if self.outcome.ending is not Ending.MAYBE_DELIVERED:
            return self
        return CallError(replace(self.outcome, ending=Ending.LATER, hold=False), self.word)


class TokenPause:
    """The pause after a rate limit of a token: until its end, no destination with the token sends a request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: datetime | None = None

    def left(self) -> timedelta | None:
        """Return how long no request may be sent with the token; None where one may be sent now."""
        left = self._until - self._clock() if self._until else timedelta()
        return left if left > timedelta() else None

    def begin(self, wait: timedelta) -> None:
        """Begin a pause of this length."""
        self._until = self._clock() + wait


class SlackApi:
    """Slack's API with one token. `pause` is shared by all users of the token."""

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
        """The scopes of the token, from the last answer; empty if unknown."""

    async def call(self, method: str, message: Json) -> Json:
        """Call a method with JSON and return Slack's answer. Raises CallError."""
        return await self._ask(method, json=message)

    async def call_form(self, method: str, fields: dict[str, str]) -> Json:
        """Call one of the few methods that don't accept JSON and return Slack's answer. Raises CallError."""
        return await self._ask(method, data=fields)

    async def upload(self, url: str, content: bytes) -> None:
        """Upload a file's bytes to the URL that Slack returned for it. Raises CallError."""
        if objection := self._http.objection(url):
            words = f"the address that Slack named for the file {objection}"
            raise CallError(Outcome(Ending.REFUSED, words))
        try:
            async with self._http.session(url).post(
                URL(url, encoded=True), data=content, ssl=self._http.tls
            ) as response:
                body = (await response.read()).decode("utf-8", "replace")
        except NO_ANSWER as error:
            raise CallError(without_answer(error, "Slack's file store")) from error
        if response.status != 200 or is_page(body):
            answer = webhook_answer(response.status, body, response.headers)
            raise self._error(answer, (url,))

    async def _ask(self, method: str, **message: Any) -> Json:  # noqa: ANN401 - slack-sdk's
        if wait := self._pause.left():
            raise CallError(Outcome(Ending.RATE_LIMITED, "Slack asked all posts to wait", wait))
        try:
            answer = await self._client().api_call(method, **message)
        except SlackApiError as error:
            raise self._error(await _read(error.response)) from error
        except (AttributeError, TypeError) as error:
            # slack-sdk fails on a 200 whose body is JSON or text but no object.
            raise self._error(api_answer(200, None, {})) from error
        except NO_ANSWER as error:
            raise CallError(without_answer(error, "Slack")) from error
        data = answer.data
        # slack-sdk takes any "ok" that is not empty for success, even "false".
        if not isinstance(data, dict) or data.get("ok") is not True or data.get("error"):
            raise self._error(api_answer(answer.status_code, data, answer.headers))
        named = answer.headers.get("x-oauth-scopes") or ""
        self.scopes = frozenset(filter(None, map(str.strip, str(named).split(","))))
        return data

    def odd_answer(self) -> CallError:
        """Return the error for a success that lacks a required value."""
        return self._error(Answer(status=200, odd=True))

    def _error(self, answer: Answer, secrets: tuple[str, ...] = ()) -> CallError:
        outcome = sort(answer, self._clock(), (self._token, *secrets))
        if outcome.ending is Ending.RATE_LIMITED and outcome.after:
            self._pause.begin(outcome.after)
        return CallError(outcome, answer.word)

    def _client(self) -> AsyncWebClient:
        options = client_options(self._http, self._url)
        client = AsyncWebClient(self._token, base_url=self._url, **options)
        client.proxy = None  # see `client_options`
        return client


async def _read(response: Any) -> Answer:  # noqa: ANN401 - two classes without a common one
    if isinstance(response, BoundedResponse):  # slack-sdk's data for a body that is not JSON
        body, is_whole = await response.text(), not response.broke_off
        return text_answer(response.status, body, response.headers, is_whole=is_whole)
    return api_answer(response.status_code, response.data, response.headers)


class Receipt(Struct, frozen=True, kw_only=True):
    """The thread of a delivery, and which of its steps are done."""

    channel: str
    ts: str
    """The timestamp of the thread's first message, which may belong to an earlier delivery."""
    hook: int
    """When the delivery was first queued, in seconds; equal for all deliveries of one hook."""
    posted: int
    """How many messages of the transcript are in the thread or will be posted by this delivery."""
    steps: int
    """How many steps of the delivery are done."""
    tries: int = 0
    """How often the next step has failed, if it is optional."""

    def written(self) -> str:
        """Return the receipt as one line of text, for the outbox."""
        fields = {
            "channel": self.channel,
            "ts": self.ts,
            "hook": self.hook,
            "told": self.posted,
            "steps": self.steps,
            "tries": self.tries,
        }
        return urlencode(fields)

    def after_step(self) -> "Receipt":
        """Return the receipt after one more step is done."""
        return replace(self, steps=self.steps + 1, tries=0)

    def after_failure(self) -> "Receipt":
        """Return the receipt after the next step has failed once more."""
        return replace(self, tries=self.tries + 1)


def read_receipt(text: str) -> Receipt | None:
    """Return the receipt in a text; None for an empty text, or one of another version of the relay."""
    fields = dict(parse_qsl(text))
    try:
        numbers = {name: int(fields[name]) for name in ("hook", "told", "steps", "tries")}
        posted = numbers.pop("told")
        return Receipt(channel=fields["channel"], ts=fields["ts"], posted=posted, **numbers)
    except (KeyError, ValueError):
        return None


EVENT_TYPE = "smartsupp_chat"
"""The type of the metadata that each post has."""
EARLIER = timedelta(minutes=10)
"""How far the relay's clock may be ahead of Slack's."""
MOST_PAGES = 5
"""The most pages of a hundred messages that are read, newest first: the earlier attempt was recent."""


def metadata(identity: Identity, part: int) -> dict[str, Any]:
    """Return the metadata by which a post is found again.

    `part` is 1 for the main message and higher for its replies.
    """
    about = {"chat": identity.chat, "delivery": identity.message_id, "part": part}
    return {"event_type": EVENT_TYPE, "event_payload": about}


async def posted_parts(
    api: SlackApi, channel: str, identity: Identity, *, thread: str = ""
) -> dict[int, str]:
    """Return the parts of a delivery that are in a channel or thread, each with its `ts`. Raises CallError."""
    method = "conversations.replies" if thread else "conversations.history"
    oldest = f"{(identity.date - EARLIER).timestamp():.6f}"
    fields = {"channel": channel, "oldest": oldest, "include_all_metadata": "true", "limit": "100"}
    fields |= {"ts": thread} if thread else {}
    parts: dict[int, str] = {}
    for _ in range(MOST_PAGES):
        with side_request():
            answer = await api.call_form(method, fields)
        messages = answer.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, Mapping) and (part := _part(message, identity)):
                parts.setdefault(part, str(message.get("ts")))
        more = answer.get("response_metadata")
        cursor = more.get("next_cursor") if isinstance(more, Mapping) else ""
        if not cursor or (1 in parts and not thread):
            break
        fields["cursor"] = str(cursor)
    return parts


def _part(message: Mapping[str, Any], identity: Identity) -> int:
    """Return the part of the delivery that a message is; 0 for any other message."""
    about = message.get("metadata")
    fields = about.get("event_payload") if isinstance(about, Mapping) else None
    if not isinstance(fields, Mapping) or fields.get("delivery") != identity.message_id:
        return 0
    part = fields.get("part")
    return part if isinstance(part, int) else 0
