"""Parsers of the variables' texts. Each raises ValueError without showing a secret."""

import re
import ssl
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from relay.destination import UNLIMITED
from relay.mail_address import MailAddress, UnusableAddress, read_mailbox
from relay.redaction import may_hold_secret, may_name_file
from relay.settings.environment import SecretValue

MOST_DAYS = 36_500
SHORTEST_PASSWORD = 12
MOST_PER_HOUR = 1_000_000
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


_LOCAL = {"localhost", "127.0.0.1", "::1"}
_CLAIM = re.compile(r"[A-Za-z][\w./:-]{0,99}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_USED_HEADERS = {
    *("host", "cookie", "authorization", "origin", "referer", "user-agent", "content-type"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "accept-language"),
}


class LogFormat(StrEnum):
    """The format of log records."""

    TEXT = "text"
    JSON = "json"


def listen(value: str) -> tuple[str, int]:
    """Return the host and port of an address such as 127.0.0.1:8000."""
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{_quoted(value)} is not an address to listen on; write 127.0.0.1:8000")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(
                f"{_quoted(host)} is not an IP address; write 127.0.0.1:8000 or 0.0.0.0:8000"
            ) from None
    return host, int(port)


def _quoted(value: str) -> str:
    """Return a value for an error message, hidden if it may be a secret set in the wrong variable."""
    return "this" if may_hold_secret(value) else repr(value)


def path(value: str) -> Path:
    """Parse a path. Raises ValueError."""
    if not may_name_file(value):
        raise ValueError("this is not a path of a file or a folder")
    return Path(value)


def ca_file(value: str) -> Path:
    """Return the path of a file with certificates in PEM form."""
    named = path(value)
    name = "the file" if may_hold_secret(value) else value
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(named)
    except ssl.SSLError:
        raise ValueError(
            f"{name} holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----"
        ) from None
    except OSError as error:
        raise ValueError(f"{name} can't be read: {error.strerror}") from None
    return named


def folder(value: str) -> Path:
    """Return the path of an existing folder."""
    named = path(value)
    if not named.is_dir():
        hint = "make it by `relay translate` or `relay template`"
        name = "of that name" if may_hold_secret(value) else value
        raise ValueError(f"there is no folder {name}; {hint}")
    return named


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("this is not a URL") from None
    return parts


def _http_url(value: str) -> str:
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("this is not a web address; it starts with https:// or http://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write it without user name, password, ? and #: they would be shown")
    return value


def public_url(value: str) -> str:
    """Return the relay's public URL without a trailing slash."""
    if "/hooks/" in _http_url(value):
        raise ValueError("write it without the hook's path and token: https://relay.example.com")
    return value.rstrip("/")


def oidc_issuer(value: str) -> str:
    """Return the URL of an OpenID Connect provider."""
    if urlsplit(_http_url(value)).scheme == "http" and urlsplit(value).hostname not in _LOCAL:
        raise ValueError("an issuer starts with https://; only one on this computer may do without")
    if value.rstrip("/").endswith("/.well-known/openid-configuration"):
        raise ValueError("write it without /.well-known/openid-configuration")
    return value


def oidc_claim(value: str) -> str:
    """Parse the name of a claim. Raises ValueError."""
    if not _CLAIM.fullmatch(value):
        raise ValueError(f"{_quoted(value)} is not the name of a claim; write email")
    return value


def slack_api_url(value: str) -> str:
    """Parse the URL of Slack's API; it ends with a slash. Raises ValueError."""
    return _http_url(value).rstrip("/") + "/"


def is_token(text: str) -> bool:
    """Whether a text may be a token of the hook's URL."""
    return _TOKEN.fullmatch(text) is not None


def tokens(value: str) -> tuple[SecretValue, ...]:
    """Return the hook tokens in a list separated by commas or spaces."""
    tokens = list(dict.fromkeys(re.split(r"[,\s]+", value.strip(", \t\r\n"))))
    for number, token in enumerate(tokens, 1):
        if not is_token(token):
            raise ValueError(
                f"token {number} of {len(tokens)} can't be used; "
                "a token has at least 16 characters, of A-Z a-z 0-9 . _ ~ -"
            )
    return tuple(SecretValue(token) for token in tokens)


def console_password(value: str) -> SecretValue:
    """Parse the console's password. Raises ValueError if it is too short."""
    if len(value) < SHORTEST_PASSWORD:
        raise ValueError(
            f"a password of the console has at least {SHORTEST_PASSWORD} characters; this one is shorter"
        )
    return SecretValue(value)


def header_name(value: str) -> str:
    """Parse the name of a header. Raises ValueError."""
    if not _HEADER.fullmatch(value):
        raise ValueError(f"{_quoted(value)} is not the name of a header; write X-Forwarded-Email")
    if value.lower() in _USED_HEADERS:
        raise ValueError(f"{_quoted(value)} says something else; write X-Forwarded-Email")
    return value


def mail_from(value: str) -> MailAddress:
    """Parse the sender's address, with or without a name. Raises ValueError."""
    try:
        return read_mailbox(value)
    except UnusableAddress as error:
        raise ValueError(f"{_quoted(value)} {error}; write Relay <relay@example.com>") from None


def slack_token(value: str) -> SecretValue:
    """Parse a Slack bot token. Raises ValueError."""
    if not value.startswith(("xoxb-", "xoxe.xoxb-")):
        raise ValueError("a bot token starts with xoxb-; this one does not")
    return SecretValue(value)


def yes_no(value: str) -> bool:
    """Parse yes or no, in any case. Raises ValueError."""
    if value.lower() not in _YES_NO:
        raise ValueError(f"{_quoted(value)} is neither yes nor no")
    return _YES_NO[value.lower()]


def log_format(value: str) -> LogFormat:
    """Parse `text` or `json`. Raises ValueError."""
    try:
        return LogFormat(value.lower())
    except ValueError:
        raise ValueError(f"{_quoted(value)} is not a log format; there are: text, json") from None


def per_hour(value: str) -> int:
    """Return a number of emails per hour; UNLIMITED for `unlimited`."""
    if value.lower() == "unlimited":
        return UNLIMITED
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= MOST_PER_HOUR):
        raise ValueError(
            f"{_quoted(value)} is not a number of mails in an hour; write 200, or unlimited"
        )
    return int(value)


def retention(value: str) -> timedelta | None:
    """Return a number of days as a timedelta; None for `forever`."""
    if value.lower() == "forever":
        return None
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= MOST_DAYS):
        raise ValueError(f"{_quoted(value)} is not a number of days; write 365, or forever")
    return timedelta(days=int(value))
