"""The setting for the database: a SQLite file, or a PostgreSQL server that several relays may share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from relay.redaction import may_name_file
from relay.settings.environment import LoginUrl, SecretValue, split_login_url
from relay.text import nearest

SQLITE, POSTGRES = "sqlite:///", "postgresql://"
_FORMS = (
    "write sqlite:///relay.db for a file in this folder, sqlite:////data/relay.db for /data, "
    "postgresql://user:password@host/name for a server"
)

_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "ssl": ("true",),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8"),
    "load_balance_hosts": ("disable", "random"),
    # A read-only server can't store a chat.
    "target_session_attrs": ("any", "read-write", "primary"),
    **dict.fromkeys(("keepalives", "sslcompression", "sslsni", "gssdelegation"), ("0", "1")),
}
"""The parameters of libpq that take one of a few values."""
_NUMBERS = frozenset(
    {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"}
    | {"tcp_user_timeout"}
)
_FILES = frozenset({"sslrootcert", "sslcert", "sslcrl", "passfile"})
_ANY = frozenset(
    {"service", "user", "password", "dbname", "host", "hostaddr", "port", "options"}
    | {"application_name", "fallback_application_name", "sslkey", "sslpassword", "sslcrldir"}
    | {"requirepeer", "require_auth", "min_protocol_version", "max_protocol_version", "krbsrvname"}
    | {"gsslib", "scram_client_key", "scram_server_key", "sslkeylogfile", "oauth_issuer"}
    | {"oauth_client_id", "oauth_client_secret", "oauth_scope"}
)
PARAMETERS = frozenset(_CHOICES) | _NUMBERS | _FILES | _ANY
"""The parameters of libpq, except `replication`, with which no table can be used."""
_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("username", "login"), "user"),
    **dict.fromkeys(("pass", "passwd", "pwd"), "password"),
    **dict.fromkeys(("database", "db"), "dbname"),
    **dict.fromkeys(("server", "hostname"), "host"),
    **dict.fromkeys(("timeout", "connecttimeout"), "connect_timeout"),
    **dict.fromkeys(("tls", "ssl_mode", "use_ssl", "usessl"), "sslmode"),
    **dict.fromkeys(("sslca", "ssl_ca", "cafile", "ca", "ca_file"), "sslrootcert"),
    **dict.fromkeys(("schema", "currentschema", "search_path"), "options=-csearch_path%3Drelay"),
    **dict.fromkeys(("charset", "encoding"), "client_encoding"),
    **dict.fromkeys(("applicationname", "app"), "application_name"),
}
"""Maps the parameter names of other drivers to libpq's."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a PostgreSQL server. `url` is passed to libpq and may name several hosts and options."""

    url: SecretValue
    ca_file: Path | None = None
    """The file of certificates by which the server's is verified, unless the URL names another."""

    @property
    def password(self) -> SecretValue:
        """The password in the URL; empty if there is none."""
        url = _split(self.url.reveal())
        options = dict(parse_qsl(url.query))
        return url.password or SecretValue(options.get("password", ""))

    @property
    def hosts(self) -> list[str]:
        """The names or addresses of the servers, without ports."""
        return [host.name for host in _split(self.url.reveal()).hosts]

    def __str__(self) -> str:
        """Return the URL without login and options, which may contain a password."""
        url = _split(self.url.reveal())
        return f"{POSTGRES}{','.join(map(str, url.hosts))}{url.path}"


Database = Path | PostgresServer
"""The SQLite file or the PostgreSQL server."""
DEFAULT_DATABASE: Database = Path("relay.db")


def read_database(value: str, *, ca_file: Path | None = None) -> Database:
    """Return the database that RELAY_DATABASE names.

    Raises ValueError, whose text does not contain the value, because that may have a password.
    """
    if value.startswith("postgres://"):  # several hosting providers use this spelling
        value = POSTGRES + value.removeprefix("postgres://")
    if value.startswith(POSTGRES):
        for option in filter(None, _split(value).query.split("&")):
            name, _, text = option.partition("=")
            _check_option(unquote(name), unquote(text))
        return PostgresServer(SecretValue(value), ca_file)
    path = value.removeprefix(SQLITE)
    if path == value or not path or not may_name_file(path):
        raise ValueError(_FORMS)
    return Path(path)


def _split(value: str) -> LoginUrl:
    """Return the parts of a URL. Raises ValueError for a URL that libpq would understand differently."""
    url = split_login_url(value)
    if value.count("@") > 1:
        raise ValueError("in the user name or password, write @ as %40")
    if not (url.host.name or url.path or url.query):
        raise ValueError(_FORMS)
    if url.path.count("/") > 1:
        raise ValueError(f"a database's name has no / in it; {_FORMS}")
    if url.query and any("=" not in option for option in url.query.removesuffix("&").split("&")):
        raise ValueError(
            "an option after the question mark is written name=value, with & between two"
        )
    return url


def _check_option(name: str, value: str) -> None:
    """Check a parameter of the database's URL.

    Raises ValueError, which quotes nothing: name and value may be part of a password with an &.
    """
    if name not in PARAMETERS:
        near = [_SYNONYMS.get(name.casefold(), ""), *nearest(name, PARAMETERS, 1)]
        hint = next((f"; did you mean {word}?" for word in near if word), "")
        raise ValueError(f"an option after the question mark is none of PostgreSQL's{hint or _ALL}")
    choices = _CHOICES.get(name, ())
    if choices and value not in choices:
        *most, last = choices
        listed = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"{name} takes {listed}")
    if name in _NUMBERS and not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise ValueError(f"{name} takes a whole number")
    if name in _FILES and value and value != "system" and not Path(value).is_file():
        raise ValueError(f"{name} names a file that is not there, or can't be read")


_ALL = (
    "; there are sslmode, sslrootcert, connect_timeout, options and the others of "
    "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"
)


_CURES: Mapping[tuple[str, ...], str] = {
    ("too many clients", "connection slots", "too many conn"): (
        "each relay needs two connections: raise max_connections, or end other programs"
    ),
    ("read-write", "is read-only"): "of the hosts named none takes writes",
    ("root certificate file",): (
        "name a file with the certificates of your own authority in RELAY_CA_FILE, or write "
        "sslrootcert=/etc/ssl/certs/ca-certificates.crt after the question mark if a public one issued the server's certificate"
    ),
    ("does not match host name",): (
        "its certificate is for another host name: write the name that the certificate holds as the host in RELAY_DATABASE"
    ),
    ("certificate has expired",): "renew the server's certificate",
    ("certificate verify failed", "self-signed certificate"): (
        "its certificate can't be trusted, as its issuer is not known here: put the issuer's certificate, or the server's if "
        "it is self-signed, into the file of RELAY_CA_FILE, or of sslrootcert in RELAY_DATABASE"
    ),
    ("does not support SSL",): (
        "the server does not encrypt: set ssl = on there, or write sslmode=disable where nobody else is on the network"
    ),
    ("no encryption",): "the server takes encrypted connections only: write sslmode=verify-full",
    ("password authentication failed", "no password supplied"): (
        "check the user name and the password in RELAY_DATABASE"
    ),
    ("Connection refused",): (
        "nothing listens there: check host and port in RELAY_DATABASE, and whether the server runs"
    ),
    (
        "not known",
        "could not translate host name",
        "could not resolve",
    ): "check the host in RELAY_DATABASE",
}
"""Maps parts of error messages of libpq and PostgreSQL to advice; the first that matches is used."""


def connection_problem(error: Exception) -> str:
    """Return the error of libpq or the server on one line, with advice if there is any."""
    text = " ".join(str(error).split())
    cure = next((cure for parts, cure in _CURES.items() if any(part in text for part in parts)), "")
    return f"{text}; {cure}" if cure else text
