"""OAuth login at a mail server (XOAUTH2): access tokens, and the refresh token with which they are requested.

Some token endpoints return a new refresh token with each access token and revoke the old one. The
newest is therefore stored in a private file beside the database.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from yarl import URL

from relay.clock import Clock
from relay.files import write_private
from relay.settings.smtp import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, SCOPE, TOKEN_URL, SmtpOAuth
from relay.transports import Ending, clean_answer, side_request
from relay.transports.http import NO_ANSWER, BoundedResponse, HttpClient, without_answer

log = logging.getLogger(__name__)


class RefreshToken:
    """The refresh token of a mailbox, stored across restarts if the endpoint replaces it.

    `path` is its file; None keeps the token in memory only.
    """

    def __init__(self, setting: str, path: Path | None) -> None:
        self._setting = setting
        self._path = path
        self._newest = setting

    @property
    def value(self) -> str:
        """The newest refresh token; empty if there is none."""
        return self._newest

    def secrets(self) -> tuple[str, ...]:
        """Return the refresh tokens that must not be shown: the settings' and the newest."""
        return self._setting, self._newest

    async def read(self) -> str:
        """Return the newest refresh token, also one that another process stored."""
        if self._setting and self._path:
            self._newest = await asyncio.to_thread(self._kept, self._path) or self._newest
        return self._newest

    def _kept(self, path: Path) -> str:
        """Return the stored token; empty if there is none, or if it replaced a token other than that in the settings."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            fits = stored["instead_of"] == self._mark and isinstance(stored["token"], str)
            return str(stored["token"]) if fits else ""
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            log.warning("%s can't be used; the refresh token of the settings is", path)
            return ""

    @property
    def _mark(self) -> str:
        """A digest of the refresh token in the settings: a new one there invalidates the stored one."""
        return hashlib.sha256(self._setting.encode()).hexdigest()[:16]

    async def replace(self, newer: str) -> None:
        """Use a new refresh token from now on, and store it."""
        if not self._setting or newer == self._newest:
            return
        self._newest = newer
        if self._path is None:
            log.warning(
                "the token endpoint gave a new refresh token; relays on a database server can't keep it, "
                "and start with that of the settings again"
            )
            return
        words = json.dumps({"instead_of": self._mark, "token": newer})
        try:
            await asyncio.to_thread(write_private, self._path, words)
        except OSError as error:
            log.error(  # noqa: TRY400 - a traceback tells nothing more
                "the new refresh token can't be kept in %s: %s; it is lost when the relay stops",
                self._path,
                error.strerror,
            )

    def give_up(self) -> bool:
        """Discard the newest refresh token after it was refused.

        Returns whether the one in the settings can be tried.
        """
        before, self._newest = self._newest, self._setting
        return before != self._setting


LIFE = timedelta(minutes=5)
"""The lifetime of an access token if the answer has none."""
SPARE = timedelta(minutes=5)
"""How long before its end an access token is renewed."""
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
    """Raised if no access token can be had. `passes` says whether a retry may succeed. The text contains no secrets."""

    def __init__(self, words: str, *, passes: bool, refused_refresh_token: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.passes = passes
        self.refused_refresh_token = refused_refresh_token


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: datetime
    ends_at: datetime


class Tokens:
    """The tokens of one account, shared by all its connections; makes one request at a time.

    `beside` is the file for a new refresh token.
    """

    def __init__(
        self,
        http: HttpClient,
        oauth: SmtpOAuth,
        *,
        clock: Clock,
        beside: Path | None = None,
    ) -> None:
        self._http = http
        self._oauth = oauth
        self._clock = clock
        self._asking: asyncio.Task[_Token] | None = None
        self._token: _Token | None = None
        self._refresh_token = RefreshToken(oauth.refresh_token.reveal(), beside)
        self._former = ""

    async def token(self, *, instead_of: str = "") -> str:
        """Return an access token that is valid for some minutes. `instead_of` is one that the mail server refused.

        Raises NoToken.
        """
        kept = self._token
        if kept and kept.value != instead_of and self._clock() < kept.renew_at:
            return kept.value
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(_mark_retrieved)
        # Shielded: a cancelled email must not lose a new refresh token in the answer.
        return (await asyncio.shield(self._asking)).value

    def left(self) -> timedelta:
        """Return how long the current access token remains valid."""
        return self._token.ends_at - self._clock() if self._token else timedelta()

    async def _renew(self) -> _Token:
        self._former = self._token.value if self._token else ""
        try:
            self._token = await self._ask()
        except NoToken as none:
            if not (none.refused_refresh_token and self._refresh_token.give_up()):
                raise
            self._token = await self._ask(kept=False)
        return self._token

    def secrets(self) -> tuple[str, ...]:
        """Return the tokens and secrets that must not be shown."""
        token = self._token.value if self._token else ""
        values = (
            self._oauth.client_secret.reveal(),
            *self._refresh_token.secrets(),
            token,
            self._former,
        )
        return tuple(secret for secret in values if secret)

    async def _ask(self, *, kept: bool = True) -> _Token:
        if kept:
            await self._refresh_token.read()
        url = self._oauth.token_url
        if objection := self._http.objection(url):
            raise NoToken(f"what {TOKEN_URL} holds {objection}", passes=False)
        try:
            status, body = await self._post(url)
        except NO_ANSWER as error:
            outcome = without_answer(error, "the token endpoint")
            broken = outcome.ending is Ending.DESTINATION_BROKEN
            raise NoToken(outcome.detail, passes=not broken) from error
        answer = _read(body)
        if not 200 <= status < 300 or "access_token" not in answer:
            raise self._refusal(status, answer, body)
        return await self._accept(answer)

    async def _post(self, url: str) -> tuple[int, bytes]:
        """Return the status and the body of the endpoint's answer. Raises NO_ANSWER, and NoToken for half an answer."""
        with side_request():
            async with self._http.session(url).post(
                URL(url, encoded=True),
                data=self._form(),
                headers={"Accept": "application/json"},
                ssl=self._http.tls,
            ) as response:
                status, body = response.status, await response.read()
        if isinstance(response, BoundedResponse) and response.broke_off:
            raise NoToken("the token endpoint broke off in the middle of its answer", passes=True)
        return status, body

    def _form(self) -> dict[str, str]:
        oauth = self._oauth
        refresh_token = self._refresh_token.value
        fields = {
            "grant_type": "refresh_token" if refresh_token else "client_credentials",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret.reveal(),
            "scope": oauth.scope,
            "refresh_token": refresh_token,
        }
        return {name: value for name, value in fields.items() if value}

    async def _accept(self, answer: Mapping[str, Any]) -> _Token:
        value = answer["access_token"]
        if not isinstance(value, str) or not _is_token(value):
            raise NoToken("the token endpoint gave something that is not a token", passes=False)
        newer = answer.get("refresh_token")
        if isinstance(newer, str) and _is_token(newer):
            await self._refresh_token.replace(newer)
        life, now = _life(answer.get("expires_in")), self._clock()
        return _Token(value, renew_at=now + life - min(SPARE, life / 2), ends_at=now + life)

    def _refusal(self, status: int, answer: Mapping[str, Any], body: bytes) -> NoToken:
        error = str(answer.get("error", ""))
        if error:
            text = f"{error} {answer.get('error_description', '')}"
        elif 200 <= status < 300 and not body.lstrip().startswith(b"<"):
            text = "with something that holds no token"  # not shown: it may be a secret in another form
        else:
            text = body.decode("utf-8", "replace")
        words = clean_answer(f"the token endpoint answered {status} {text}", self.secrets())
        passes = status in {408, 429} or status >= 500 or error in _PASSES
        hint = "" if passes else _HINTS.get(error, f"check {TOKEN_URL}")
        refused = error == "invalid_grant"
        words = f"{hint}: {words}" if hint else words
        return NoToken(words, passes=passes, refused_refresh_token=refused)


def _mark_retrieved(task: "asyncio.Task[_Token]") -> None:
    """Read the task's exception, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()


def _read(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in an answer; empty if there is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_token(value: str) -> bool:
    """Whether a token can be sent on the single line of a login."""
    return (
        0 < len(value) <= MAX_TOKEN and value.isascii() and value.isprintable() and " " not in value
    )


def _life(expires_in: object) -> timedelta:
    """Return the lifetime in `expires_in`: seconds, which some endpoints write as text."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else 0.0
    except (ValueError, OverflowError):  # a number of 400 digits does not fit a float
        seconds = 0.0
    return timedelta(seconds=min(seconds, 86_400.0)) if seconds > 0 else LIFE
