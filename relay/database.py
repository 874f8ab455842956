"""Where the outbox lives: a file of its own, or a PostgreSQL server that several relays share."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from relay.secret import SecretValue

SQLITE, POSTGRES = "sqlite:///", "postgresql://"
_FORMS = (
    "write sqlite:///relay.db for a file in this folder, sqlite:////data/relay.db for /data, "
    "postgresql://user:password@host/name for a server"
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a PostgreSQL server. `url` is what libpq takes: several hosts, sslmode and all."""

    url: SecretValue

    @property
    def password(self) -> SecretValue:
        """What must not be printed; empty where the URL holds none."""
        login = self.url.reveal().removeprefix(POSTGRES).partition("/")[0].rpartition("@")[0]
        return SecretValue(unquote(login.partition(":")[2]))

    def __str__(self) -> str:
        """Without the login and the options, either of which may hold a password."""
        rest = self.url.reveal().removeprefix(POSTGRES).partition("?")[0]
        return POSTGRES + rest.rpartition("@")[2]


Database = Path | PostgresServer
"""The SQLite file, or the server."""
DEFAULT_DATABASE: Database = Path("relay.db")


def read_database(value: str) -> Database:
    """Raises ValueError, in words that don't show the value: it may hold a password."""
    if value.startswith("postgres://"):  # what several hosting providers hand out
        value = POSTGRES + value.removeprefix("postgres://")
    if value.startswith(POSTGRES) and len(value) > len(POSTGRES):
        return PostgresServer(SecretValue(value))
    path = value.removeprefix(SQLITE)
    if path == value or not path:
        raise ValueError(_FORMS)
    return Path(path)
