"""The environment, read once into frozen values. Every bad variable is named at once."""

import difflib
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from relay.destination import UNLIMITED
from relay.mail_address import MailAddress, UnusableAddress, read_mailbox
from relay.redaction import may_hold_secret, may_name_file
from relay.settings.database import DEFAULT_DATABASE, Database, read_database
from relay.settings.environment import Environment, SecretValue
from relay.settings.proxy import HTTPS_PROXY, NoProxy, Proxy, no_proxy, proxy_url
from relay.settings.smtp import (
    OAUTH_SETTINGS,
    TOKEN_URL,
    SmtpServer,
    missing_for_oauth,
    smtp_oauth,
    smtp_url,
    token_url,
)

T = TypeVar("T")

KEPT_FOR: timedelta | None = timedelta(days=365)
"""A chat after its last hook, unless the environment says otherwise."""
MOST_DAYS = 36_500
MOST_PER_HOUR = 1_000_000

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class SettingsError(Exception):
    """One or more variables can't be used. `problems` holds a sentence for each; none shows a secret."""

    def __init__(self, problems: list[str], others: "Settings") -> None:
        """`others`: what the other variables say, with defaults for those that can't be used."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.others = others


CA_FILE = "RELAY_CA_FILE"


class LogFormat(StrEnum):
    """How a log record is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says. Defaults are those of docs/settings.md."""

    rules: Path = Path("rules.yaml")
    templates: Path | None = None
    database: Database = DEFAULT_DATABASE
    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    public_url: str = ""
    """Without a slash at the end; empty where not set."""
    hook_tokens: tuple[SecretValue, ...] = ()
    smtp: SmtpServer | None = None
    mail_from: MailAddress | None = None
    mail_per_hour: int | None = None
    """How many mails a destination gets in an hour, where the rules file does not say: UNLIMITED, or None if not set."""
    slack_token: SecretValue | None = None
    slack_api_url: str = "https://slack.com/api/"
    allow_private_webhooks: bool = False
    proxy: Proxy | None = None
    """For all that speaks HTTP; None: straight out."""
    ca_file: Path | None = None
    """Certificates of authorities that are trusted beside the system's."""
    log_format: LogFormat = LogFormat.TEXT
    retention: timedelta | None = KEPT_FOR
    """How long a chat is kept after its last hook; None for ever."""
    unused: tuple[str, ...] = ()
    """Known settings that were given but belong to a capability that this version does not have."""

    @property
    def mail_domain(self) -> str:
        """The domain that mails are from; empty where none is set."""
        return self.mail_from.domain if self.mail_from else ""


class _Reader:
    """Reads one variable after another, and remembers what is wrong with them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._environment = Environment(variables)
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], T], default: T, *, lines: bool = False) -> T:
        try:
            value = self._environment.get(name, lines=lines)
            return default if value is None else parse(value)
        except ValueError as error:
            text = str(error)
            self.problems.append(text if text.startswith(name) else f"{name}: {text}")
            return default


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Raises SettingsError with a sentence for every variable that can't be used."""
    reader = _Reader(variables)
    read = reader.read
    host, port = read("RELAY_LISTEN", _listen, ("127.0.0.1", 8000))
    allow_private = read("RELAY_ALLOW_PRIVATE_WEBHOOKS", _yes_no, default=False)
    ca_file = read(CA_FILE, _ca_file, None)
    settings = Settings(
        rules=read("RELAY_RULES", _path, Path("rules.yaml")),
        templates=read("RELAY_TEMPLATES", _folder, None),
        database=read("RELAY_DATABASE", partial(read_database, ca_file=ca_file), DEFAULT_DATABASE),
        host=host,
        port=port,
        public_url=read("RELAY_PUBLIC_URL", _public_url, "").rstrip("/"),
        hook_tokens=read("RELAY_HOOK_TOKENS", _tokens, (), lines=True),
        smtp=_smtp(reader, http_allowed=allow_private),
        mail_from=read("RELAY_MAIL_FROM", _mail_from, None),
        mail_per_hour=read("RELAY_MAIL_PER_HOUR", _per_hour, None),
        slack_token=read("RELAY_SLACK_TOKEN", _slack_token, None),
        slack_api_url=read("RELAY_SLACK_API_URL", _http_url, "https://slack.com/api").rstrip("/")
        + "/",
        allow_private_webhooks=allow_private,
        proxy=_proxy(reader),
        ca_file=ca_file,
        log_format=read("RELAY_LOG_FORMAT", _log_format, LogFormat.TEXT),
        retention=read("RELAY_RETENTION_DAYS", _retention, KEPT_FOR),
        unused=tuple(n for n in LATER_SETTINGS if variables.get(n) or variables.get(f"{n}_FILE")),
    )
    if reader.problems:
        raise SettingsError(reader.problems, settings)
    return settings


def _proxy(reader: _Reader) -> Proxy | None:
    url = reader.read(HTTPS_PROXY, proxy_url, None)
    exceptions = reader.read("RELAY_NO_PROXY", no_proxy, NoProxy(), lines=True)
    return Proxy(url, exceptions) if url else None


def _smtp(reader: _Reader, *, http_allowed: bool) -> SmtpServer | None:
    oauth = {name: value for name in OAUTH_SETTINGS if (value := reader.read(name, str, ""))}
    server = reader.read("RELAY_SMTP_URL", partial(smtp_url, oauth=bool(oauth)), None)
    if not oauth:
        return server
    reader.read(TOKEN_URL, partial(token_url, http_allowed=http_allowed), "")
    missing = missing_for_oauth(oauth)
    reader.problems += missing
    return replace(server, oauth=smtp_oauth(oauth)) if server and not missing else server


def likely_typos(variables: Mapping[str, str]) -> list[str]:
    """Sentences about RELAY_... variables that are close to a setting without being one.

    Others are left alone: Kubernetes sets RELAY_PORT and the like for a service called relay.
    """
    known = {*SETTINGS, *LATER_SETTINGS}
    found = []
    for name in sorted(variables):
        base = name.removesuffix("_FILE")
        if not name.startswith("RELAY_") or name in known or base in known:
            continue
        if near := difflib.get_close_matches(base, known, n=1, cutoff=0.85):
            found.append(f"{name} is not a setting; did you mean {near[0]}?")
    return found


SETTINGS = (
    "RELAY_RULES",
    "RELAY_TEMPLATES",
    "RELAY_DATABASE",
    "RELAY_LISTEN",
    "RELAY_PUBLIC_URL",
    "RELAY_HOOK_TOKENS",
    "RELAY_SMTP_URL",
    *OAUTH_SETTINGS,
    "RELAY_MAIL_FROM",
    "RELAY_MAIL_PER_HOUR",
    "RELAY_SLACK_TOKEN",
    "RELAY_SLACK_API_URL",
    "RELAY_ALLOW_PRIVATE_WEBHOOKS",
    HTTPS_PROXY,
    "RELAY_NO_PROXY",
    CA_FILE,
    "RELAY_LOG_FORMAT",
    "RELAY_RETENTION_DAYS",
)
RENEWABLE = ("RELAY_HOOK_TOKENS", "RELAY_SMTP_URL", *OAUTH_SETTINGS, "RELAY_SLACK_TOKEN")
"""Another value in the file of one of these takes effect while the relay runs."""
LATER_SETTINGS = ("RELAY_HOOK_SECRETS", "RELAY_CONSOLE_PASSWORD")


def _listen(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{_shown(value)} is not an address to listen on; write 127.0.0.1:8000")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(
                f"{_shown(host)} is not an IP address; write 127.0.0.1:8000 or 0.0.0.0:8000"
            ) from None
    return host, int(port)


def _shown(value: str) -> str:
    """A value as an error may show it: in the wrong variable may stand a secret."""
    return "this" if may_hold_secret(value) else repr(value)


def _path(value: str) -> Path:
    if not may_name_file(value):
        raise ValueError("this is no path of a file or a folder")
    return Path(value)


def _ca_file(value: str) -> Path:
    path = _path(value)
    name = "the file" if may_hold_secret(value) else value
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(
            f"{name} holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----"
        ) from None
    except OSError as error:
        raise ValueError(f"{name} can't be read: {error.strerror}") from None
    return path


def _folder(value: str) -> Path:
    path = _path(value)
    if not path.is_dir():
        hint = "make it by `relay translate` or `relay template`"
        name = "of that name" if may_hold_secret(value) else value
        raise ValueError(f"there is no folder {name}; {hint}")
    return path


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


def _public_url(value: str) -> str:
    if "/hooks/" in _http_url(value):
        raise ValueError("write it without the hook's path and token: https://relay.example.com")
    return value


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def _tokens(value: str) -> tuple[SecretValue, ...]:
    tokens = list(dict.fromkeys(re.split(r"[,\s]+", value.strip(", \t\r\n"))))
    for number, token in enumerate(tokens, 1):
        if not is_token(token):
            raise ValueError(
                f"token {number} of {len(tokens)} can't be used; "
                "a token has at least 16 characters, of A-Z a-z 0-9 . _ ~ -"
            )
    return tuple(SecretValue(token) for token in tokens)


def _mail_from(value: str) -> MailAddress:
    try:
        return read_mailbox(value)
    except UnusableAddress as error:
        raise ValueError(f"{_shown(value)} {error}; write Relay <relay@example.com>") from None


def _slack_token(value: str) -> SecretValue:
    if not value.startswith(("xoxb-", "xoxe.xoxb-")):
        raise ValueError("a bot token starts with xoxb-; this one does not")
    return SecretValue(value)


def _yes_no(value: str) -> bool:
    if value.lower() not in _YES_NO:
        raise ValueError(f"{_shown(value)} is neither yes nor no")
    return _YES_NO[value.lower()]


def _log_format(value: str) -> LogFormat:
    try:
        return LogFormat(value.lower())
    except ValueError:
        raise ValueError(f"{_shown(value)} is no log format; there are: text, json") from None


def _per_hour(value: str) -> int:
    if value.lower() == "unlimited":
        return UNLIMITED
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= MOST_PER_HOUR):
        raise ValueError(
            f"{_shown(value)} is no number of mails in an hour; write 200, or unlimited"
        )
    return int(value)


def _retention(value: str) -> timedelta | None:
    if value.lower() == "forever":
        return None
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= MOST_DAYS):
        raise ValueError(f"{_shown(value)} is no number of days; write 365, or forever")
    return timedelta(days=int(value))
