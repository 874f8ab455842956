"""Checks the Host of requests, because another site's name may lead to the relay's address (DNS rebinding)."""

from dataclasses import dataclass
from urllib.parse import urlsplit

LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Hosts:
    """The host names by which this relay may be called in a browser."""

    public_url: str
    listens: str
    """The address at which the relay listens."""

    def knows(self, host: str) -> bool:
        """Whether a Host header names this relay."""
        try:
            name, port = _name_and_port(f"//{host}")
            public = _name_and_port(self.public_url) if self.public_url else ("", None)
        except ValueError:
            return False
        # Any port, as a tunnel or a container may use another.
        return name in LOCAL or name == self.listens or ((name, port) == public and bool(name))

    def is_safe(self, host: str) -> bool:
        """Whether browsers keep the session's cookie: over HTTPS, or on this computer."""
        return self.public_url.startswith("https://") or _name_and_port(f"//{host}")[0] in LOCAL


def _name_and_port(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    port = parts.port
    return (parts.hostname or "").rstrip("."), None if port in (80, 443) else port
