"""Links that somebody may click: where they lead stands beside what they are called."""

from functools import lru_cache
from urllib.parse import urlsplit

from relay.notification import Link
from relay.text import clean_line

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
    """What it is called, with the host that it leads to.

    A page's title and address are what a visitor's browser says: "Open in the relay" may lead anywhere.
    """
    host = _host(link.url)
    name = clean_line(link.label, limit)
    if not host or host in name:
        return name or host or link.url[:limit]
    return f"{clean_line(name, max(limit - len(host) - 3, 1))} ({host})" if name else host


@lru_cache(maxsize=256)
def _host(url: str) -> str:
    """Its end where it is long: that is the part which somebody had to register."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host if len(host) <= MAX_HOST else f"…{host[-MAX_HOST:]}"
