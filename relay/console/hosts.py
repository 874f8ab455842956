"""The names by which a relay is called in a browser: any other may be that of a site that only leads here."""

from dataclasses import dataclass
from urllib.parse import urlsplit

HERE = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names by which this relay may be called in a browser."""

    public_url: str
    listens: str
    """The address that the relay listens on."""

    def knows(self, host: str) -> bool:
        """Whether a Host header names this relay: another site's name may lead here, too."""
        try:
            name, port = _name_and_port(f"//{host}")
            public = _name_and_port(self.public_url) if self.public_url else ("", None)
        except ValueError:
            return False
        # By a tunnel or a container's port this computer has other ports.
        return name in HERE or name == self.listens or ((name, port) == public and bool(name))

    def is_safe(self, host: str) -> bool:
        """Whether browsers keep the session's cookie: over HTTPS, or on this computer."""
        return self.public_url.startswith("https://") or _name_and_port(f"//{host}")[0] in HERE


def _name_and_port(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    port = parts.port
    return (parts.hostname or "").rstrip("."), None if port in (80, 443) else port
