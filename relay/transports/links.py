"""Links that somebody may click: where they lead stands beside what they are called."""

from functools import lru_cache
from urllib.parse import urlsplit

from relay.notification import Link
from relay.text import tidy_line

MAX_URL = 1_000
MAX_HOST = 60


def is_safe(url: str, *schemes: str) -> bool:
    """Whether it begins with one of `schemes` ("https://") and holds nothing that ends an address early."""
    return (
        url.startswith(schemes)
        and len(url) <= MAX_URL
        and url.isprintable()
        and not any(sign in url for sign in ' <>|"\\')
    )


def label(link: Link, limit: int) -> str:
    """What a link is called, at most `limit` characters, with the host that it leads to at the end.

    A page's title and address are what a visitor's browser says: "Open in the relay" may lead anywhere, and a title that
    holds the host may hold another one before it. Only a title that is the host, and nothing else, is shown alone.
    """
    host = _host(link.url)
    name = tidy_line(link.label, limit)
    if not host or name.lower() == host:
        return name or link.url[:limit]
    return f"{tidy_line(name, max(limit - len(host) - 3, 1))} ({host})" if name else host


@lru_cache(maxsize=256)
def _host(url: str) -> str:
    """Its end where it is long: that is the part which somebody had to register."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host if len(host) <= MAX_HOST else f"…{host[-MAX_HOST:]}"
