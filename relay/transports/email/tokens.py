"""Access tokens for a mail server (XOAUTH2): asked for at a token endpoint, kept until shortly before they end."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from yarl import URL

from relay.outcome import Ending
from relay.smtp_settings import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SCOPE, TOKEN_URL, SmtpOAuth
from relay.transports.far_end import in_its_words
from relay.transports.http import NO_ANSWER, HttpClient, without_answer

LIFE = timedelta(minutes=5)
"""Of a token that comes without saying how long it holds."""
SPARE = timedelta(minutes=5)
"""A token is renewed so long before its end: no kept connection outlives it."""
MAX_TOKEN = 8_000

_HINTS = {
    "invalid_client": f"check {CLIENT_ID} and {CLIENT_SECRET}; the secrets of an app run out",
    "invalid_grant": f"the refresh token was revoked or ran out: sign in again, set {REFRESH_TOKEN}",
    "invalid_scope": f"check {SCOPE}",
    "unauthorized_client": "the app may not get tokens this way: look at what it is allowed",
    "unsupported_grant_type": f"check {TOKEN_URL}",
}
_PASSES = {"temporarily_unavailable", "server_error", "slow_down"}


class NoToken(Exception):
    """There is none to be had. `passes` says whether it may work later; the text holds no secrets."""

    def __init__(self, words: str, *, passes: bool) -> None:
        super().__init__(words)
        self.words = words
        self.passes = passes


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: datetime


class Tokens:
    """The tokens of one account, shared by all its connections. One request at a time."""

    def __init__(
        self, http: HttpClient, oauth: SmtpOAuth, *, clock: Callable[[], datetime]
    ) -> None:
        self._http = http
        self._oauth = oauth
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token: _Token | None = None
        self._refresh_token = oauth.refresh_token.reveal()
        """The newest: some endpoints give another one with each token."""
        self._former = ""

    async def token(self, *, instead_of: str = "") -> str:
        """One that holds for some minutes at least. `instead_of`: what the mail server refused.

        Raises NoToken.
        """
        async with self._asking:
            kept = self._token
            if kept and kept.value != instead_of and self._clock() < kept.renew_at:
                return kept.value
            self._former = kept.value if kept else ""
            self._token = await self._ask()
            return self._token.value

    def secrets(self) -> tuple[str, ...]:
        """All that must not be shown."""
        token = self._token.value if self._token else ""
        known = (
            self._oauth.client_secret.reveal(),
            self._oauth.refresh_token.reveal(),
            self._refresh_token,
            token,
            self._former,
        )
        return tuple(secret for secret in known if secret)

    async def _ask(self) -> _Token:
        url = self._oauth.token_url
        if objection := self._http.objection(url):
            raise NoToken(f"what {TOKEN_URL} holds {objection}", passes=False)
        try:
            async with self._http.session.post(
                URL(url, encoded=True),
                data=self._form(),
                headers={"Accept": "application/json"},
                ssl=self._http.tls,
            ) as response:
                status, body = response.status, await response.read()
        except NO_ANSWER as error:
            outcome = without_answer(error, "the token endpoint")
            broken = outcome.ending is Ending.DESTINATION_BROKEN
            raise NoToken(outcome.detail, passes=not broken) from error
        answer = _read(body)
        if status != 200 or "access_token" not in answer:
            raise self._refusal(status, answer, body)
        return self._accept(answer)

    def _form(self) -> dict[str, str]:
        oauth = self._oauth
        fields = {
            "grant_type": "refresh_token" if self._refresh_token else "client_credentials",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret.reveal(),
            "scope": oauth.scope,
            "refresh_token": self._refresh_token,
        }
        return {name: value for name, value in fields.items() if value}

    def _accept(self, answer: Mapping[str, Any]) -> _Token:
        value = answer["access_token"]
        if not isinstance(value, str) or not _is_token(value):
            raise NoToken("the token endpoint gave something that is no token", passes=False)
        if isinstance(fresh := answer.get("refresh_token"), str) and fresh and self._refresh_token:
            self._refresh_token = fresh
        life = _life(answer.get("expires_in"))
        return _Token(value, self._clock() + life - min(SPARE, life / 2))

    def _refusal(self, status: int, answer: Mapping[str, Any], body: bytes) -> NoToken:
        error = str(answer.get("error", ""))
        said = (
            f"{error} {answer.get('error_description', '')}"
            if error
            else body.decode("utf-8", "replace")
        )
        words = in_its_words(f"the token endpoint answered {status} {said}", self.secrets())
        passes = status in {408, 429} or status >= 500 or error in _PASSES
        hint = "" if passes else _HINTS.get(error, f"check {TOKEN_URL}")
        return NoToken(f"{hint}: {words}" if hint else words, passes=passes)


def _read(body: bytes) -> Mapping[str, Any]:
    """The object that an answer is, or an empty one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_token(value: str) -> bool:
    """Fit for the one line of a login."""
    return (
        0 < len(value) <= MAX_TOKEN and value.isascii() and value.isprintable() and " " not in value
    )


def _life(told: object) -> timedelta:
    """`expires_in`: seconds, which some endpoints write as text."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) else 0.0
    except ValueError:
        seconds = 0.0
    return timedelta(seconds=min(seconds, 86_400.0)) if seconds > 0 else LIFE
