"""The environment, read once into frozen values. Every bad variable is named at once."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

T = TypeVar("T")

MIN_TOKEN_LENGTH = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class SettingsError(Exception):
    """One or more variables can't be used. `problems` holds a sentence for each; none shows a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SecretValue:
    """A secret that can't be printed by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "SecretValue(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SmtpTls(StrEnum):
    """How the connection to the mail server is kept private."""

    IMPLICIT = "smtps"
    STARTTLS = "smtp+starttls"
    NONE = "smtp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail is handed over."""

    host: str
    port: int
    tls: SmtpTls
    username: str = ""
    password: SecretValue = field(default_factory=lambda: SecretValue(""))


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A display name, which may be empty, and an ASCII address."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class LogFormat(StrEnum):
    """How a log record is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says. Defaults are those of docs/settings.md."""

    rules: Path = Path("rules.yaml")
    templates: Path | None = None
    database: Path = Path("relay.db")
    """The SQLite file of `sqlite:///...`."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    public_url: str = ""
    """Without a slash at the end; empty where not set."""
    hook_tokens: tuple[SecretValue, ...] = ()
    smtp: SmtpServer | None = None
    mail_from: MailAddress | None = None
    slack_token: SecretValue | None = None
    slack_api_url: str = "https://slack.com/api/"
    allow_private_webhooks: bool = False
    log_format: LogFormat = LogFormat.TEXT
    unused: tuple[str, ...] = ()
    """Known settings that were given but belong to a capability that this version does not have."""


class Environment:
    """The variables, each also readable from the file that NAME_FILE names."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, name: str) -> str | None:
        """The value, stripped; None where neither NAME nor NAME_FILE is set, or the value is empty.

        Raises ValueError (in words, without the value) where both are set or the file can't be read.
        """
        plain = self._variables.get(name, "").strip()
        file = self._variables.get(f"{name}_FILE", "").strip()
        if plain and file:
            raise ValueError(f"{name} and {name}_FILE are both set; keep one of them")
        if not file:
            return plain or None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"{name}_FILE names {file}, which can't be read: {reason}") from None

    def secret(self, name: str) -> SecretValue | None:
        """What `$NAME` in the rules file stands for; raises like `get`."""
        value = self.get(name)
        return None if value is None else SecretValue(value)


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Raises SettingsError with a sentence for every variable that can't be used."""
    environment = Environment(variables)
    problems: list[str] = []

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        try:
            value = environment.get(name)
            return default if value is None else parse(value)
        except ValueError as error:
            text = str(error)
            problems.append(text if text.startswith(name) else f"{name}: {text}")
            return default

    host, port = read("RELAY_LISTEN", _listen, ("127.0.0.1", 8000))
    settings = Settings(
        rules=read("RELAY_RULES", Path, Path("rules.yaml")),
        templates=read("RELAY_TEMPLATES", _folder, None),
        database=read("RELAY_DATABASE", _database, Path("relay.db")),
        host=host,
        port=port,
        public_url=read("RELAY_PUBLIC_URL", _http_url, "").rstrip("/"),
        hook_tokens=read("RELAY_HOOK_TOKENS", _tokens, ()),
        smtp=read("RELAY_SMTP_URL", _smtp_url, None),
        mail_from=read("RELAY_MAIL_FROM", _mail_address, None),
        slack_token=read("RELAY_SLACK_TOKEN", _slack_token, None),
        slack_api_url=read("RELAY_SLACK_API_URL", _http_url, "https://slack.com/api").rstrip("/")
        + "/",
        allow_private_webhooks=read("RELAY_ALLOW_PRIVATE_WEBHOOKS", _yes_no, default=False),
        log_format=read("RELAY_LOG_FORMAT", _log_format, LogFormat.TEXT),
        unused=tuple(name for name in LATER_SETTINGS if variables.get(name)),
    )
    problems += [
        f"{name}: signing in with OAuth is not part of this version; use a password in RELAY_SMTP_URL"
        for name in sorted(variables)
        if name.startswith("RELAY_SMTP_OAUTH_")
    ]
    if problems:
        raise SettingsError(problems)
    return settings


def likely_typos(variables: Mapping[str, str]) -> list[str]:
    """Sentences about RELAY_... variables that are close to a setting without being one.

    Others are left alone: Kubernetes sets RELAY_PORT and the like for a service called relay.
    """
    known = {*SETTINGS, *LATER_SETTINGS}
    found = []
    for name in sorted(variables):
        base = name.removesuffix("_FILE")
        if not name.startswith("RELAY_") or base in known or base.startswith("RELAY_SMTP_OAUTH_"):
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
    "RELAY_MAIL_FROM",
    "RELAY_SLACK_TOKEN",
    "RELAY_SLACK_API_URL",
    "RELAY_ALLOW_PRIVATE_WEBHOOKS",
    "RELAY_LOG_FORMAT",
)
LATER_SETTINGS = ("RELAY_HOOK_SECRETS", "RELAY_CONSOLE_PASSWORD", "RELAY_RETENTION_DAYS")


def _listen(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address to listen on; write 127.0.0.1:8000")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(
                f"{host!r} is not an IP address; write 127.0.0.1:8000 or 0.0.0.0:8000"
            ) from None
    return host, int(port)


def _folder(value: str) -> Path:
    if not Path(value).is_dir():
        raise ValueError(f"there is no folder {value}")
    return Path(value)


def _database(value: str) -> Path:
    if value.startswith(("postgresql:", "postgres:")):
        raise ValueError("PostgreSQL is not part of this version; use sqlite:///relay.db")
    path = value.removeprefix("sqlite:///")
    if path == value or not path:
        raise ValueError(
            "write sqlite:///relay.db for a file in this folder, sqlite:////data/relay.db for /data"
        )
    return Path(path)


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
        raise ValueError(f"{value!r} is not a web address; it starts with https:// or http://")
    return value


def _tokens(value: str) -> tuple[SecretValue, ...]:
    tokens = list(dict.fromkeys(re.split(r"[,\s]+", value.strip(", \t\r\n"))))
    for number, token in enumerate(tokens, 1):
        if len(token) < MIN_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise ValueError(
                f"token {number} of {len(tokens)} can't be used; a token has at least "
                f"{MIN_TOKEN_LENGTH} characters, of A-Z a-z 0-9 . _ ~ -"
            )
    return tuple(SecretValue(token) for token in tokens)


_SMTP_PORTS = {SmtpTls.IMPLICIT: 465, SmtpTls.STARTTLS: 587, SmtpTls.NONE: 25}


def _smtp_url(value: str) -> SmtpServer:
    parts = _split(value)
    schemes = {tls.value: tls for tls in SmtpTls}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(
            "write smtps://user:password@host, smtp+starttls://user:password@host:587 "
            "or smtp://host for a server without login"
        )
    tls = schemes[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := set(options) - {"insecure"}:
        raise ValueError(f"unknown option {min(unknown)!r}; only ?insecure=yes is known")
    insecure = "insecure" in options and _yes_no(options["insecure"])
    if tls is SmtpTls.NONE and parts.username and not insecure:
        raise ValueError(
            "the password would cross the network in clear text; use smtps:// or smtp+starttls://, "
            "or add ?insecure=yes if the network is your own"
        )
    if bool(parts.username) != bool(parts.password):
        raise ValueError("a user name needs a password and the other way round: user:password@host")
    return SmtpServer(
        host=parts.hostname,
        port=parts.port or _SMTP_PORTS[tls],
        tls=tls,
        username=unquote(parts.username or ""),
        password=SecretValue(unquote(parts.password or "")),
    )


_MAIL_ADDRESS = re.compile(r'(?:"?(?P<name>[^"<>\r\n]*?)"?\s*<(?P<boxed>[^<>]+)>|(?P<bare>[^<>]+))')


def _mail_address(value: str) -> MailAddress:
    match = _MAIL_ADDRESS.fullmatch(value)
    address = match and (match["boxed"] or match["bare"]).strip()
    try:
        checked = validate_email(
            address or "", check_deliverability=False, test_environment=True, strict=True
        )
    except EmailNotValidError as error:
        raise ValueError(
            f"{value!r} is not a mail address; write Relay <relay@example.com> ({error})"
        ) from None
    if checked.ascii_email is None:
        raise ValueError(f"{value!r} has letters before the @ that not every mail server takes")
    return MailAddress((match["name"] or "").strip() if match else "", checked.ascii_email)


def _slack_token(value: str) -> SecretValue:
    if not value.startswith(("xoxb-", "xoxe.xoxb-")):
        raise ValueError("a bot token starts with xoxb-; this one does not")
    return SecretValue(value)


def _yes_no(value: str) -> bool:
    if value.lower() not in _YES_NO:
        raise ValueError(f"{value!r} is neither yes nor no")
    return _YES_NO[value.lower()]


def _log_format(value: str) -> LogFormat:
    try:
        return LogFormat(value.lower())
    except ValueError:
        raise ValueError(f"{value!r} is no log format; there are: text, json") from None
