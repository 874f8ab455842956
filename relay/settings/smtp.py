"""The settings of the mail server and its login, by password or OAuth (XOAUTH2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

from relay.settings.environment import IN_PASSWORDS, SecretValue, split_login_url

TOKEN_URL = "RELAY_SMTP_OAUTH_TOKEN_URL"  # noqa: S105 - the names of settings
CLIENT_ID = "RELAY_SMTP_OAUTH_CLIENT_ID"
CLIENT_SECRET = "RELAY_SMTP_OAUTH_CLIENT_SECRET"  # noqa: S105
SCOPE = "RELAY_SMTP_OAUTH_SCOPE"
REFRESH_TOKEN = "RELAY_SMTP_OAUTH_REFRESH_TOKEN"  # noqa: S105
OAUTH_SETTINGS = (TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, REFRESH_TOKEN)


class SmtpTls(StrEnum):
    """The encryption of the connection to the mail server."""

    IMPLICIT = "smtps"
    STARTTLS = "smtp+starttls"
    NONE = "smtp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOAuth:
    """The source of access tokens: a refresh token of the mailbox's owner, or else the client's own credentials."""

    token_url: str
    client_id: str
    client_secret: SecretValue = field(default_factory=lambda: SecretValue(""))
    scope: str = ""
    refresh_token: SecretValue = field(default_factory=lambda: SecretValue(""))

    @property
    def secrets(self) -> tuple[SecretValue, SecretValue]:
        """The client's secret and the refresh token; empty where not set."""
        return self.client_secret, self.refresh_token


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """The server that sends the relay's email."""

    host: str
    port: int
    tls: SmtpTls
    username: str = ""
    password: SecretValue = field(default_factory=lambda: SecretValue(""))
    oauth: SmtpOAuth | None = None
    """The OAuth settings, used instead of a password; None for a login by password."""
    helo: str = ""
    """The host name in the relay's greeting; empty means the domain of RELAY_MAIL_FROM."""


_PORTS = {SmtpTls.IMPLICIT: 465, SmtpTls.STARTTLS: 587, SmtpTls.NONE: 25}
_SCHEMES = {tls.value: tls for tls in SmtpTls}
# RFC 5321 4.1.3: a host name, or an address in brackets.
_HELO = re.compile(
    r"(?=.{1,253}$)[\w-]+(\.[\w-]+)*|\[(\d+(\.\d+){3}|IPv6:[0-9a-f:.]+)\]", re.ASCII | re.IGNORECASE
)
_FORMS = (
    "write smtps://user:password@host, smtp+starttls://user:password@host:587 "
    "or smtp://host for a server without login"
)
_IN_CLEAR_TEXT = (
    "the password would cross the network in clear text; use smtps:// or smtp+starttls://, "
    "or add ?insecure=yes if the network is your own"
)
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def smtp_url(value: str, *, oauth: bool = False) -> SmtpServer:
    """Return the server in RELAY_SMTP_URL; with `oauth`, the URL needs no password.

    Raises ValueError, whose text contains no part of a password.
    """
    if value.partition("://")[0].lower() not in _SCHEMES:
        raise ValueError(_FORMS)
    url = split_login_url(value)
    if len(url.hosts) > 1 or not url.host.name:
        raise ValueError(_FORMS)
    if url.path.strip("/"):
        raise ValueError(f"nothing may follow the host and its port; {IN_PASSWORDS}")
    tls = _SCHEMES[url.scheme]
    insecure, helo = _options(url.query)
    if tls is SmtpTls.NONE and url.user and not insecure:
        raise ValueError(_IN_CLEAR_TEXT)
    _check_login(bool(url.user), bool(url.password), oauth=oauth)
    return SmtpServer(
        host=url.host.name.lower(),
        port=url.host.port or _PORTS[tls],
        tls=tls,
        username=url.user,
        password=url.password,
        helo=helo,
    )


def _options(query: str) -> tuple[bool, str]:
    """Return the options in the URL's query: whether `insecure` is set, and the `helo` name."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    insecure = _YES_NO.get(options.pop("insecure", "no").lower())
    helo = options.pop("helo", None)
    if options or insecure is None or (helo is not None and not _HELO.fullmatch(helo)):
        # Not shown: it may be the rest of a password.
        raise ValueError(
            "only insecure=yes and helo=relay.example.org (a host name, or an address as [192.0.2.1]) "
            f"may follow a question mark, with & between them; {IN_PASSWORDS}"
        )
    return insecure, helo or ""


def _check_login(username: bool, password: bool, *, oauth: bool) -> None:  # noqa: FBT001 - all alike
    if oauth and (password or not username):
        raise ValueError(
            "with RELAY_SMTP_OAUTH_..., it has a user name and no password: "
            "smtp+starttls://relay%40example.com@host:587"
        )
    if not oauth and username != password:
        raise ValueError("a user name needs a password and the other way round: user:password@host")


def token_url(value: str, *, http_allowed: bool) -> str:
    """Return the URL of a token endpoint after checking it. Raises ValueError."""
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and value.isprintable()
    except ValueError:
        named = False
    if not named or not value.startswith(("https://", "http://")):
        raise ValueError("this is not a web address; it starts with https://")
    if "@" in parts.netloc:
        raise ValueError("write it without user name and password")
    if value.startswith("http://") and not http_allowed:
        raise ValueError(
            "starts with http://, which sends the secret in clear text; write https://"
        )
    return value


def missing_for_oauth(settings: Mapping[str, str]) -> list[str]:
    """Return a sentence for each missing OAuth setting; `settings` has those that are set."""
    needed = [TOKEN_URL, CLIENT_ID]
    if REFRESH_TOKEN not in settings:
        needed.append(CLIENT_SECRET)
    missing = [name for name in needed if name not in settings]
    if not settings or not missing:
        return []
    if missing == [CLIENT_SECRET]:
        return [f"{CLIENT_SECRET}: needed to log in with OAuth, unless {REFRESH_TOKEN} is set"]
    return [f"{name}: needed to log in with OAuth" for name in missing]


def smtp_oauth(settings: Mapping[str, str]) -> SmtpOAuth:
    """Return the OAuth settings from values that were checked."""
    return SmtpOAuth(
        token_url=settings[TOKEN_URL],
        client_id=settings[CLIENT_ID],
        client_secret=SecretValue(settings.get(CLIENT_SECRET, "")),
        scope=settings.get(SCOPE, ""),
        refresh_token=SecretValue(settings.get(REFRESH_TOKEN, "")),
    )
