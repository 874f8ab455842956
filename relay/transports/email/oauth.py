"""Logging in by OAuth: access tokens, and the refresh token that they are asked for with.

The refresh token in use: the one of the settings, or the newer one that the endpoint gave in its place.

Some endpoints give another one with each access token, and the old one ends at once, or weeks later. So the newest
is kept beside the database, in a file that only the relay's user can read.

Access tokens for a mail server (XOAUTH2): asked for at a token endpoint, kept until shortly before they end.
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
from relay.transports import beside_sending
from relay.transports.http import NO_ANSWER, BoundedResponse, HttpClient, without_answer
from relay.transports.outcome import Ending, in_its_words

log = logging.getLogger(__name__)


class RefreshToken:
    """The refresh token of a mailbox, kept over restarts where the server gives a new one.

    `path`: its file; None keeps it in memory only.
    """

    def __init__(self, given: str, path: Path | None) -> None:
        self._given = given
        self._path = path
        self._newest = given

    @property
    def value(self) -> str:
        """The newest refresh token; empty where there is none."""
        return self._newest

    def known(self) -> tuple[str, ...]:
        return self._given, self._newest

    async def read(self) -> str:
        """The newest, which another process of ours may have been given."""
        if self._given and self._path:
            self._newest = await asyncio.to_thread(self._kept, self._path) or self._newest
        return self._newest

    def _kept(self, path: Path) -> str:
        """Empty where there is none, or one that took the place of another than that of the settings."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            fits = found["instead_of"] == self._mark and isinstance(found["token"], str)
            return str(found["token"]) if fits else ""
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            log.warning("%s can't be used; the refresh token of the settings is", path)
            return ""

    @property
    def _mark(self) -> str:
        """A digest of the refresh token that the settings hold: a new one there makes the kept one void."""
        return hashlib.sha256(self._given.encode()).hexdigest()[:16]

    async def replace(self, newer: str) -> None:
        """Use this refresh token from now on, over restarts too."""
        if not self._given or newer == self._newest:
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
        """The newest was refused. Whether there is another one to try: that of the settings."""
        before, self._newest = self._newest, self._given
        return before != self._given


LIFE = timedelta(minutes=5)
"""How long an access token holds whose answer does not say so."""
SPARE = timedelta(minutes=5)
"""A token is renewed so long before its end."""
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
    """Raised where no access token can be had. `passes`: whether it may work later. The text holds no secrets."""

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
    """The tokens of one account, shared by all its connections. One request at a time.

    `beside` is where a newer refresh token is kept over restarts.
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
        """One that holds for some minutes at least. `instead_of`: what the mail server refused.

        Raises NoToken.
        """
        kept = self._token
        if kept and kept.value != instead_of and self._clock() < kept.renew_at:
            return kept.value
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(_was_looked_at)
        # A mail that is cancelled meanwhile must not lose the refresh token that the answer may hold.
        return (await asyncio.shield(self._asking)).value

    def left(self) -> timedelta:
        """How long the present access token holds."""
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
        """The tokens and secrets that must not be shown."""
        token = self._token.value if self._token else ""
        known = (
            self._oauth.client_secret.reveal(),
            *self._refresh_token.known(),
            token,
            self._former,
        )
        return tuple(secret for secret in known if secret)

    async def _ask(self, *, kept: bool = True) -> _Token:
        if kept:
            await self._refresh_token.read()
        url = self._oauth.token_url
        if objection := self._http.objection(url):
            raise NoToken(f"what {TOKEN_URL} holds {objection}", passes=False)
        try:
            with beside_sending():
                async with self._http.session(url).post(
                    URL(url, encoded=True),
                    data=self._form(),
                    headers={"Accept": "application/json"},
                    ssl=self._http.tls,
                ) as response:
                    status, body = response.status, await response.read()
                    broke_off = isinstance(response, BoundedResponse) and response.broke_off
        except NO_ANSWER as error:
            outcome = without_answer(error, "the token endpoint")
            broken = outcome.ending is Ending.DESTINATION_BROKEN
            raise NoToken(outcome.detail, passes=not broken) from error
        if broke_off:
            raise NoToken("the token endpoint broke off in the middle of its answer", passes=True)
        answer = _read(body)
        if not 200 <= status < 300 or "access_token" not in answer:
            raise self._refusal(status, answer, body)
        return await self._accept(answer)

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
            said = f"{error} {answer.get('error_description', '')}"
        elif 200 <= status < 300 and not body.lstrip().startswith(b"<"):
            said = "with something that holds no token"  # not shown: it may be one, in another form
        else:
            said = body.decode("utf-8", "replace")
        words = in_its_words(f"the token endpoint answered {status} {said}", self.secrets())
        passes = status in {408, 429} or status >= 500 or error in _PASSES
        hint = "" if passes else _HINTS.get(error, f"check {TOKEN_URL}")
        refused = error == "invalid_grant"
        words = f"{hint}: {words}" if hint else words
        return NoToken(words, passes=passes, refused_refresh_token=refused)


def _was_looked_at(asked: "asyncio.Task[_Token]") -> None:
    """Nobody may be waiting for it any more; asyncio would log its failure as never looked at."""
    if not asked.cancelled():
        asked.exception()


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
    except (ValueError, OverflowError):  # a number of 400 digits is none of a float's
        seconds = 0.0
    return timedelta(seconds=min(seconds, 86_400.0)) if seconds > 0 else LIFE
