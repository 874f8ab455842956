"""Sign-in with an OpenID Connect provider: the code flow with PKCE, and the checks of its ID token.

    /login/oidc -> the provider's page -> /login/oidc/callback?code=...&state=... -> token endpoint -> ID token -> a user's name

A cookie ties the provider's answer to the browser that began the sign-in; each answer is accepted once.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from relay.clock import Clock
from relay.settings.environment import SecretValue
from relay.settings.table import Settings
from relay.transports.http import NO_ANSWER, HttpClient

CALLBACK = "/login/oidc/callback"
LASTS = timedelta(minutes=10)
"""The longest time from the click to the provider's answer."""
PATIENCE = 8.0
SKEW = timedelta(minutes=1)
"""How far the provider's clock may differ from the relay's."""
KNOWN_FOR = timedelta(hours=1)
"""How long the provider's configuration is cached."""
BETWEEN_KEYS = timedelta(minutes=1)
"""The shortest time between two requests for the provider's keys."""
MOST_USED = 10_000
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signature algorithms with a private key: never `none`, nor HS256, for which a public key could serve as the secret."""
_Fields = Mapping[str, str] | None

log = logging.getLogger(__name__)


class OidcRefused(Exception):
    """Raised where a sign-in fails. The message is for the log, and contains no secret."""

    # The name of the words of the page that says so, the page's HTTP status, and the provider's error code, if any.
    why, status, code = "failed", 502, ""


class UnknownSignIn(OidcRefused):
    """Raised where the provider's answer is not to a recent sign-in of this browser, or comes a second time."""

    why, status = "not begun", 400


class Denied(OidcRefused):
    """Raised where the provider refused; `code` is its error code."""

    why, status = "denied", 403

    def __init__(self, code: str) -> None:
        super().__init__(f"the provider answered {code}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """The provider, and the relay's credentials there."""

    issuer: str
    client_id: str
    secret: SecretValue
    claim: str
    """The claim of the ID token that holds the user's name."""
    public_url: str


class PendingSignIn(Struct, frozen=True, array_like=True):
    """A sign-in that was begun, as the browser's cookie stores it."""

    state: str
    nonce: str
    verifier: str
    next: str
    """The path to go to afterwards."""
    at: datetime


@dataclass(frozen=True, slots=True)
class _Config:
    """The provider's configuration."""

    issuer: str
    authorize: str
    token: str
    keys_at: str
    names_issuer: bool
    """Whether its answers contain the issuer (`iss`)."""
    takes_post: bool
    """Whether the secret is sent in the form, because no header is accepted."""
    at: datetime


def oidc_of(settings: Settings, clock: Clock) -> "OidcProvider | None":
    """The provider of the settings; None where they name none."""
    if not settings.console_oidc_issuer or settings.console_oidc_client_secret is None:
        return None
    mine = OidcSettings(
        issuer=settings.console_oidc_issuer,
        client_id=settings.console_oidc_client_id,
        secret=settings.console_oidc_client_secret,
        claim=settings.console_oidc_claim,
        public_url=settings.public_url,
    )
    # A provider may well be within one's own network.
    http = HttpClient(allow_private=True, proxy=settings.proxy, ca_file=settings.ca_file)
    return OidcProvider(mine, http, clock)


@dataclass(slots=True)
class OidcProvider:
    """One provider. Needs the package joserfc, which is imported at the first sign-in."""

    settings: OidcSettings
    http: HttpClient
    clock: Clock
    patience: float = PATIENCE
    """Seconds for each answer of the provider."""
    _config: _Config | None = None
    _keys: Any = None
    _keys_at: datetime | None = None
    _used: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    """The states of answers that were accepted."""

    @property
    def host(self) -> str:
        """The provider's host name, for the sign-in page."""
        return urlsplit(self.settings.issuer).hostname or ""

    async def begin(self, next_: str) -> tuple[str, str]:
        """The URL to which the browser is sent, and the value of its cookie. Raises OidcRefused."""
        config = await self._configuration()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.public_url + CALLBACK,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(config.authorize).query else "?"
        pending = msgspec.json.encode(PendingSignIn(state, nonce, verifier, next_, self.clock()))
        cookie = base64.urlsafe_b64encode(pending).decode().rstrip("=")
        return f"{config.authorize}{separator}{urlencode(query)}", cookie

    async def finish(self, cookie: str, query: Mapping[str, str]) -> tuple[str, str]:
        """The name of the user who has signed in, and the path to go to. `query`: the query of the answer. Raises OidcRefused."""
        pending = self._pending_sign_in(cookie, query.get("state", ""))
        config = await self._configuration()
        issuer = query.get("iss", "")
        if issuer != config.issuer if issuer else config.names_issuer:
            raise OidcRefused("the answer is of another provider")
        if error := query.get("error", ""):
            is_code = error.isascii() and error.replace("_", "").isalnum() and len(error) < 60
            raise Denied(error if is_code else "an error")
        if not query.get("code"):
            raise OidcRefused("the answer has no code")
        token = await self._id_token(config, query["code"], pending.verifier)
        claims = await self._claims(config, token)
        self._check(claims, config, pending)
        return _name(claims, self.settings.claim), pending.next

    def _pending_sign_in(self, cookie: str, state: str) -> PendingSignIn:
        """The sign-in in the browser's cookie, if `state` belongs to it. Raises UnknownSignIn."""
        try:
            text = base64.b64decode(cookie + "=" * (-len(cookie) % 4), b"-_", validate=True)
            pending = msgspec.json.decode(text, type=PendingSignIn)
        except (ValueError, RecursionError):
            raise UnknownSignIn("no sign-in was begun in this browser") from None
        if not state or not hmac.compare_digest(pending.state.encode(), state.encode()):
            raise UnknownSignIn("the state is not that of this browser")
        if pending.at.tzinfo is None or not timedelta() <= self.clock() - pending.at <= LASTS:
            raise UnknownSignIn("the sign-in took too long")
        if state in self._used:
            raise UnknownSignIn("the answer came for the second time")
        self._used[state] = None
        while len(self._used) > MOST_USED:
            self._used.popitem(last=False)
        return pending

    # -- what the provider says --------------------------------------------------------------------------------

    async def _configuration(self) -> _Config:
        """The provider's configuration, cached for an hour. Raises OidcRefused."""
        now = self.clock()
        if self._config is None or now - self._config.at > KNOWN_FOR:
            path = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            self._config = self._read_configuration(await self._request_json("GET", path), now)
        return self._config

    def _read_configuration(self, document: Mapping[str, Any], now: datetime) -> _Config:
        issuer = document.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.settings.issuer.rstrip("/"):
            raise OidcRefused("it says that it is another issuer than RELAY_CONSOLE_OIDC_ISSUER")
        places = [document.get(name) for name in _PLACES]
        for name, place in zip(_PLACES, places, strict=True):
            if not isinstance(place, str) or not _is_safe(place, issuer):
                raise OidcRefused(f"its {name} can't be used")
        authorize, token, keys_at = map(str, places)
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        takes_post = isinstance(methods, list) and "client_secret_basic" not in methods
        names_issuer = document.get("authorization_response_iss_parameter_supported") is True
        return _Config(issuer, authorize, token, keys_at, names_issuer, takes_post, now)

    async def _id_token(self, config: _Config, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.public_url + CALLBACK,
            "client_id": self.settings.client_id,
            "code_verifier": verifier,
        }
        headers, secret = {}, self.settings.secret.reveal()
        if config.takes_post:
            form["client_secret"] = secret
        else:
            name = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(name.encode()).decode()}"
        token = (await self._request_json("POST", config.token, headers, form)).get("id_token")
        if not isinstance(token, str):
            raise OidcRefused("its answer has no id_token")
        return token

    async def _claims(self, config: _Config, token: str) -> Mapping[str, Any]:
        """The claims of an ID token, after a check of its signature. Raises OidcRefused."""
        for is_last in (False, True):
            if self._keys is None or is_last:
                await self._renew_keys(config)
            try:
                decoded = import_module("joserfc.jwt").decode(token, self._keys, ALGORITHMS)
            except Exception as error:  # noqa: BLE001 - of the package, of keys and of what a token may hold
                if is_last:
                    raise OidcRefused(f"the token's signature: {type(error).__name__}") from None
                continue
            if isinstance(decoded.claims, dict):
                return dict(decoded.claims)
        raise OidcRefused("the token holds no claims")

    async def _renew_keys(self, config: _Config) -> None:
        now = self.clock()
        if self._keys_at is not None and now - self._keys_at < BETWEEN_KEYS:
            return
        entries = (await self._request_json("GET", config.keys_at)).get("keys")
        jwk = import_module("joserfc.jwk")
        keys = []
        for each in entries if isinstance(entries, list) else ():
            if not isinstance(each, dict) or each.get("use", "sig") != "sig":
                continue
            try:
                if each.get("kty") in {"RSA", "EC", "OKP"}:  # never a shared secret
                    keys.append(jwk.import_key(each))
            except Exception as error:  # noqa: BLE001 - of the package: a kind that it does not know
                kind = type(error).__name__
                log.warning("a key of the OpenID Connect provider is left out: %s", kind)
        if not keys:
            raise OidcRefused("it has no keys that can be used")
        self._keys, self._keys_at = jwk.KeySet(keys), now

    def _check(self, claims: Mapping[str, Any], config: _Config, pending: PendingSignIn) -> None:
        """Check the claims of an ID token. Raises OidcRefused."""
        now, client = self.clock(), self.settings.client_id
        meant = claims.get("aud")
        audiences = meant if isinstance(meant, list) else [meant]
        party = claims.get("azp", client if len(audiences) == 1 else None)
        nonce = claims.get("nonce")
        wrong = {
            "iss": claims.get("iss") != config.issuer,
            "aud": client not in audiences or party != client,
            "exp": not _is_time(claims.get("exp")) or claims["exp"] <= (now - SKEW).timestamp(),
            "iat": not _is_time(claims.get("iat")) or claims["iat"] > (now + SKEW).timestamp(),
            "nbf": "nbf" in claims
            and (not _is_time(claims["nbf"]) or claims["nbf"] > (now + SKEW).timestamp()),
            "nonce": not isinstance(nonce, str)
            or not hmac.compare_digest(nonce.encode("utf-8", "replace"), pending.nonce.encode()),
        }
        if names := [name for name, is_wrong in wrong.items() if is_wrong]:
            raise OidcRefused(f"the token's {', '.join(names)} does not fit")

    async def _request_json(
        self, method: str, url: str, headers: _Fields = None, form: _Fields = None
    ) -> Mapping[str, Any]:
        """The JSON object that the provider answers. Follows no redirect, and reads at most 64 kB. Raises OidcRefused."""
        try:
            async with (
                asyncio.timeout(self.patience),
                self.http.session(url).request(
                    method, url, headers=headers, data=form, ssl=self.http.tls
                ) as answer,
            ):
                status, text = answer.status, await answer.text()
        except (*NO_ANSWER, aiohttp.ClientError) as error:
            raise OidcRefused(f"{self.host} gave no answer: {type(error).__name__}") from None
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if status != 200 or not isinstance(document, dict):
            raise OidcRefused(f"{self.host} answered {status}, and not as a provider does")
        return document


_PLACES = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LOCAL = {"localhost", "127.0.0.1", "::1"}


def _is_safe(url: str, issuer: str) -> bool:
    """Whether a URL can't be intercepted: HTTPS, or on this computer."""
    try:
        parts, ours = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    is_local = parts.hostname in _LOCAL and ours.hostname in _LOCAL
    is_plain = url.isascii() and url.isprintable() and " " not in url and not parts.fragment
    return is_plain and bool(parts.hostname) and (parts.scheme == "https" or is_local)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(claims: Mapping[str, Any], claim: str) -> str:
    """The user's name in the claims, in lower case. Raises OidcRefused."""
    name = claims.get(claim)
    if not isinstance(name, str) or not name.strip():
        raise OidcRefused(f"the token has no {claim}")
    if claim == "email" and claims.get("email_verified") is not True:
        raise OidcRefused("the provider has not verified the email address")
    return name.strip().lower()
