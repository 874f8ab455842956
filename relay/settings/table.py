"""All settings of the relay: `TABLE` has one row per environment variable, read once into `Settings`.

All invalid values are reported together, as are values left over from an example and passwords that
are too short to be hidden in logs.
"""

import difflib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from relay.mail_address import MailAddress
from relay.redaction import SHORTEST
from relay.settings import parsers
from relay.settings.database import DEFAULT_DATABASE, Database, PostgresServer, read_database
from relay.settings.environment import Environment, SecretValue, is_placeholder, split_login_url
from relay.settings.parsers import LogFormat
from relay.settings.proxy import HTTPS_PROXY, NoProxy, Proxy, no_proxy, proxy_url
from relay.settings.smtp import (
    CLIENT_SECRET,
    OAUTH_SETTINGS,
    REFRESH_TOKEN,
    TOKEN_URL,
    SmtpServer,
    missing_for_oauth,
    smtp_oauth,
    smtp_url,
    token_url,
)

T = TypeVar("T")

RETENTION: timedelta | None = timedelta(days=365)
"""The default time for which a chat is kept after its last hook."""


class SettingsError(Exception):
    """Raised if variables can't be used. `problems` has a sentence for each, without secrets."""

    def __init__(self, problems: list[str], settings: "Settings") -> None:
        """`settings` has the values of the other variables, and defaults for those that can't be used."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.settings = settings


DATABASE, SMTP_URL = "RELAY_DATABASE", "RELAY_SMTP_URL"
NO_PROXY, CA_FILE = "RELAY_NO_PROXY", "RELAY_CA_FILE"
CONSOLE_PASSWORD = "RELAY_CONSOLE_PASSWORD"  # noqa: S105 - its name
OIDC_ISSUER, OIDC_CLIENT_ID = "RELAY_CONSOLE_OIDC_ISSUER", "RELAY_CONSOLE_OIDC_CLIENT_ID"
OIDC_SECRET = "RELAY_CONSOLE_OIDC_CLIENT_SECRET"  # noqa: S105 - its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the relay. docs/settings.md describes the defaults."""

    rules: Path = Path("rules.yaml")
    templates: Path | None = None
    database: Database = DEFAULT_DATABASE
    host: str = "127.0.0.1"
    port: int = 8000
    """The port to listen on; 0 lets the system choose one."""
    public_url: str = ""
    """The relay's public URL without a trailing slash; empty if not set."""
    hook_tokens: tuple[SecretValue, ...] = ()
    smtp: SmtpServer | None = None
    mail_from: MailAddress | None = None
    mail_per_hour: int | None = None
    """The most emails per destination in an hour, unless the rules file sets it: UNLIMITED, or None if not set."""
    slack_token: SecretValue | None = None
    slack_api_url: str = "https://slack.com/api/"
    console_password: SecretValue | None = None
    """The password of the user admin. Without it and without other users, the console is off."""
    console_trusted_header: str = ""
    """The header by which a proxy names the signed-in user; empty for none."""
    console_oidc_issuer: str = ""
    """The OpenID Connect provider for signing in to the console; empty for none."""
    console_oidc_client_id: str = ""
    console_oidc_client_secret: SecretValue | None = None
    console_oidc_claim: str = "email"
    """The claim of the provider's ID token that identifies a user."""
    console_edit: bool | None = None
    """Whether the console may change the rules file; None means that it may if one relay uses the file."""
    allow_private_webhooks: bool = False
    proxy: Proxy | None = None
    """The proxy for all HTTP requests; None for direct connections."""
    ca_file: Path | None = None
    """A file of certificate authorities to trust in addition to the system's."""
    log_format: LogFormat = LogFormat.TEXT
    retention: timedelta | None = RETENTION
    """How long a chat is kept after its last hook; None means for ever."""
    unused: tuple[str, ...] = ()
    """Settings that are set but that this version does not support."""

    @property
    def listen(self) -> tuple[str, int]:
        """The IP address and the port to listen on."""
        return self.host, self.port

    @property
    def own_url(self) -> str:
        """The URL, without a trailing slash, at which this computer reaches a relay with these settings."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def secrets(self) -> tuple[SecretValue, ...]:
        """All secrets in the settings, also those inside other values."""
        return tuple(_secrets_in(self))

    @property
    def mail_domain(self) -> str:
        """The domain of the sender's address; empty if none is set."""
        return self.mail_from.domain if self.mail_from else ""


def _secrets_in(value: object) -> Iterator[SecretValue]:
    if isinstance(value, SecretValue):
        yield from [value] if value else []
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets_in(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _secrets_in(getattr(value, field.name))


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. Its default is that of the field of `Settings`."""

    name: str
    field: str = ""
    """The field of `Settings` for the value; empty if the value is read as a part of another setting's."""
    read: Callable[[str], Any] = str
    """Converts the text to the value. Raises ValueError without any secret in its text."""
    is_secret: bool = False
    """Whether the value is or contains a secret, which `Settings.secrets` has and which is never shown."""
    is_renewable: bool = False
    """Whether a new value in its file takes effect while the relay runs."""
    has_lines: bool = False
    """Whether the value may have several lines, each with an entry."""


class _Reader:
    """Reads variables and collects their problems."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._environment = Environment(variables)
        self.problems: list[tuple[str, str]] = []
        """Pairs of a setting's name and its problem."""

    def read(self, name: str, parse: Callable[[str], T], default: T, *, lines: bool = False) -> T:
        try:
            value = self._environment.get(name, lines=lines)
            return default if value is None else parse(value)
        except ValueError as error:
            text = str(error)
            self.problems.append((name, text if text.startswith(name) else f"{name}: {text}"))
            return default


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Return the settings. Raises SettingsError with a sentence for every variable that can't be used."""
    reader = _Reader(variables)
    defaults = Settings()
    values = {
        setting.field: reader.read(
            setting.name, setting.read, getattr(defaults, setting.field), lines=setting.has_lines
        )
        for setting in TABLE
        if setting.field
    }
    host, port = values.pop("listen")
    read_url = partial(read_database, ca_file=values["ca_file"])
    settings = Settings(
        **values,
        host=host,
        port=port,
        database=reader.read(DATABASE, read_url, DEFAULT_DATABASE),
        smtp=_smtp(reader, http_allowed=values["allow_private_webhooks"]),
        proxy=_proxy(reader),
        unused=tuple(n for n in LATER_SETTINGS if variables.get(n) or variables.get(f"{n}_FILE")),
    )
    if reader.problems:
        by_setting = sorted(reader.problems, key=lambda pair: SETTINGS.index(pair[0]))
        raise SettingsError([problem for _, problem in by_setting], settings)
    return settings


def _proxy(reader: _Reader) -> Proxy | None:
    url = reader.read(HTTPS_PROXY, proxy_url, None)
    exceptions = reader.read(NO_PROXY, no_proxy, NoProxy(), lines=True)
    return Proxy(url, exceptions) if url else None


def _smtp(reader: _Reader, *, http_allowed: bool) -> SmtpServer | None:
    oauth = {name: value for name in OAUTH_SETTINGS if (value := reader.read(name, str, ""))}
    server = reader.read(SMTP_URL, partial(smtp_url, oauth=bool(oauth)), None)
    if not oauth:
        return server
    reader.read(TOKEN_URL, partial(token_url, http_allowed=http_allowed), "")
    missing = missing_for_oauth(oauth)
    reader.problems += [(SMTP_URL, each) for each in missing]
    return replace(server, oauth=smtp_oauth(oauth)) if server and not missing else server


def likely_typos(variables: Mapping[str, str]) -> list[str]:
    """Return a sentence for each RELAY_... variable that resembles a setting but is none.

    Others are ignored, because Kubernetes sets variables such as RELAY_PORT for a service called relay.
    """
    names = {*SETTINGS, *LATER_SETTINGS}
    typos = []
    for name in sorted(variables):
        base = name.removesuffix("_FILE")
        if not name.startswith("RELAY_") or name in names or base in names:
            continue
        if near := difflib.get_close_matches(base, names, n=1, cutoff=0.85):
            typos.append(f"{name} is not a setting; did you mean {near[0]}?")
    return typos


TABLE = (
    Setting("RELAY_RULES", "rules", parsers.path),
    Setting("RELAY_TEMPLATES", "templates", parsers.folder),
    Setting(DATABASE, is_secret=True),
    Setting("RELAY_LISTEN", "listen", parsers.listen),
    Setting("RELAY_PUBLIC_URL", "public_url", parsers.public_url),
    Setting(
        "RELAY_HOOK_TOKENS",
        "hook_tokens",
        parsers.tokens,
        is_secret=True,
        is_renewable=True,
        has_lines=True,
    ),
    Setting(SMTP_URL, is_secret=True, is_renewable=True),
    *(
        Setting(name, is_secret=name in {CLIENT_SECRET, REFRESH_TOKEN}, is_renewable=True)
        for name in OAUTH_SETTINGS
    ),
    Setting("RELAY_MAIL_FROM", "mail_from", parsers.mail_from),
    Setting("RELAY_MAIL_PER_HOUR", "mail_per_hour", parsers.per_hour),
    Setting(
        "RELAY_SLACK_TOKEN", "slack_token", parsers.slack_token, is_secret=True, is_renewable=True
    ),
    Setting("RELAY_SLACK_API_URL", "slack_api_url", parsers.slack_api_url),
    Setting(CONSOLE_PASSWORD, "console_password", parsers.console_password, is_secret=True),
    Setting("RELAY_CONSOLE_TRUSTED_HEADER", "console_trusted_header", parsers.header_name),
    Setting(OIDC_ISSUER, "console_oidc_issuer", parsers.oidc_issuer),
    Setting(OIDC_CLIENT_ID, "console_oidc_client_id"),
    Setting(OIDC_SECRET, "console_oidc_client_secret", SecretValue, is_secret=True),
    Setting("RELAY_CONSOLE_OIDC_CLAIM", "console_oidc_claim", parsers.oidc_claim),
    Setting("RELAY_CONSOLE_EDIT", "console_edit", parsers.yes_no),
    Setting("RELAY_ALLOW_PRIVATE_WEBHOOKS", "allow_private_webhooks", parsers.yes_no),
    Setting(HTTPS_PROXY, is_secret=True),
    Setting(NO_PROXY, has_lines=True),
    Setting(CA_FILE, "ca_file", parsers.ca_file),
    Setting("RELAY_LOG_FORMAT", "log_format", parsers.log_format),
    Setting("RELAY_RETENTION_DAYS", "retention", parsers.retention),
)
"""Every setting, in the order of docs/settings.md."""
SETTINGS = tuple(each.name for each in TABLE)
RENEWABLE = tuple(each.name for each in TABLE if each.is_renewable)
LATER_SETTINGS = ("RELAY_HOOK_SECRETS",)


_EXAMPLE_HOST = re.compile(r"(?i)(?:.*\.)?example(?:\.(?:com|net|org))?\.?")
"""Host names reserved for examples (RFC 2606)."""
_LOCAL = {"localhost", "127.0.0.1", "::1"}


def placeholders(environment: Environment, names: Iterable[str] = SETTINGS) -> Iterator[str]:
    """Yield a sentence for each setting whose value is a placeholder, without the value."""
    for name in names:
        try:
            value = environment.get(name, lines=True)
        except ValueError:
            continue  # reported as unreadable elsewhere
        if value and is_placeholder(value):
            yield f"{name} holds the value of an example; write your own in its place"


def short_passwords(settings: Settings, names: Container[str] = SETTINGS) -> Iterator[str]:
    """Yield a sentence for each password that is so short that it can't be hidden: it would match ordinary words."""
    database = settings.database
    for name, password in (
        ("RELAY_SMTP_URL", settings.smtp and settings.smtp.password),
        ("RELAY_HTTPS_PROXY", settings.proxy and settings.proxy.password),
        ("RELAY_DATABASE", isinstance(database, PostgresServer) and database.password),
    ):
        if name in names and password and len(password.reveal()) < SHORTEST:
            yield (
                f"the password in {name} has fewer than {SHORTEST} characters: it can't be told from ordinary words, "
                "and may be shown in a log or an error; take a longer one"
            )


def incomplete_oidc(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that OpenID Connect still needs, if some of them are set."""
    values = {
        OIDC_ISSUER: settings.console_oidc_issuer,
        OIDC_CLIENT_ID: settings.console_oidc_client_id,
        OIDC_SECRET: settings.console_oidc_client_secret,
    }
    if not any(values.values()):
        return
    for name, value in (values | {"RELAY_PUBLIC_URL": settings.public_url}).items():
        if not value:
            yield f"{name} is not set; sign-in by OpenID Connect needs it"
    if find_spec("joserfc") is None:
        yield (
            "the package `joserfc`, which sign-in by OpenID Connect needs, is not installed: "
            "`.venv/bin/pip install 'smartsupp-relay[oidc]'`"
        )


def example_hosts(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that names an example host. A trial on this computer may use any sender."""
    smtp, proxy, database, sender = (
        settings.smtp,
        settings.proxy,
        settings.database,
        settings.mail_from,
    )
    hosts = {
        "RELAY_SMTP_URL": [smtp.host] if smtp else [],
        "RELAY_MAIL_FROM": [sender.domain] if sender and smtp and smtp.host not in _LOCAL else [],
        "RELAY_PUBLIC_URL": [_host_of(settings.public_url)],
        "RELAY_HTTPS_PROXY": [_host_of(proxy.url.reveal())] if proxy else [],
        "RELAY_DATABASE": database.hosts if isinstance(database, PostgresServer) else [],
    }
    for name, named in hosts.items():
        if any(map(_EXAMPLE_HOST.fullmatch, named)):
            yield f"{name} names a host of examples, which nobody has; write your own"


def _host_of(url: str) -> str:
    return split_login_url(url).host.name if url else ""
