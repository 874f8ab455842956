"""Where the outbox lives: a file of its own, or a PostgreSQL server that several relays share."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from relay.redaction import may_name_file
from relay.settings.environment import LoginUrl, SecretValue, split_login_url

SQLITE, POSTGRES = "sqlite:///", "postgresql://"
_FORMS = (
    "write sqlite:///relay.db for a file in this folder, sqlite:////data/relay.db for /data, "
    "postgresql://user:password@host/name for a server"
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a PostgreSQL server. `url` is what libpq takes: several hosts, sslmode and all."""

    url: SecretValue
    ca_file: Path | None = None
    """Whose certificates the server's is checked by, unless the URL names others."""

    @property
    def password(self) -> SecretValue:
        """What must not be printed; empty where the URL holds none."""
        url = _split(self.url.reveal())
        options = dict(parse_qsl(url.query))
        return url.password or SecretValue(options.get("password", ""))

    @property
    def hosts(self) -> list[str]:
        """Names or addresses, without ports."""
        return [host.name for host in _split(self.url.reveal()).hosts]

    def __str__(self) -> str:
        """Without the login and the options, either of which may hold a password."""
        url = _split(self.url.reveal())
        return f"{POSTGRES}{','.join(map(str, url.hosts))}{url.path}"


Database = Path | PostgresServer
"""The SQLite file, or the server."""
DEFAULT_DATABASE: Database = Path("relay.db")


def read_database(value: str, *, ca_file: Path | None = None) -> Database:
    """Raises ValueError, in words that don't show the value: it may hold a password."""
    if value.startswith("postgres://"):  # what several hosting providers hand out
        value = POSTGRES + value.removeprefix("postgres://")
    if value.startswith(POSTGRES):
        _split(value)
        return PostgresServer(SecretValue(value), ca_file)
    path = value.removeprefix(SQLITE)
    if path == value or not path or not may_name_file(path):
        raise ValueError(_FORMS)
    return Path(path)


def _split(value: str) -> LoginUrl:
    """Of what libpq takes only that which it understands as we do. Raises ValueError."""
    url = split_login_url(value)
    if value.count("@") > 1:
        raise ValueError("in the user name or password, write @ as %40")
    if not (url.host.name or url.path or url.query):
        raise ValueError(_FORMS)
    if url.path.count("/") > 1:
        raise ValueError(f"a database's name has no / in it; {_FORMS}")
    if any("=" not in option for option in url.query.split("&") if option):
        raise ValueError("an option behind the question mark is written name=value")
    return url
