"""Links that somebody may click: where they lead stands beside what they are called."""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, urlsplit

from relay.notification import Link
from relay.override import Misfit, Mixed, Value
from relay.text import clean, cut, tidy_line

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


# -- addresses in a template's own JSON ------------------------------------------------------------------------

_AUTHORS = re.compile(r"(?:https?://[^/?#\s]+[/?#]|mailto:)\S*")
"""Scheme and host are written out, so that nobody else decides where the link leads."""
MAX_IN_URL = 300
"""Of one value, in characters after it was encoded."""


def address_of(mixed: Mixed, schemes: tuple[str, ...], limit: int) -> str:
    """An address with values in it: one value as a whole, if it is safe, or values behind the author's own host.

    Raises Misfit.
    """
    first, *others = mixed.parts
    if isinstance(first, Value):
        if others:
            raise Misfit("a value can't be the beginning of an address", mixed.at)
        if not is_safe(first.text, *schemes):
            raise Misfit(
                "a value is no address to link to; ask for it by {% if %}, and let |web_link look at it",
                mixed.at,
            )
        return first.text
    if not _AUTHORS.fullmatch(first) or not first.startswith(schemes):
        raise Misfit(f"an address begins with {' or '.join(schemes)} and its host", mixed.at)
    url = "".join(_encoded(part.text) if isinstance(part, Value) else part for part in mixed.parts)
    if len(url) > limit:
        raise Misfit(f"an address has {len(url):,} characters; at most {limit:,}", mixed.at)
    return url


def _encoded(text: str) -> str:
    return quote(cut(clean(text), MAX_IN_URL, lambda piece: len(quote(piece)), mark=""), safe="@")


def address_within(
    before: str,
    value: Value,
    following: Sequence[str | Value],
    at: int,
    schemes: tuple[str, ...],
) -> str:
    """What stands for a value within markup: `<before{value}|label>` or `[label](before{value})`.

    Raises Misfit.
    """
    if before:
        # What stands before may hold values by now, which are encoded: no blank and no new host.
        if not _AUTHORS.fullmatch(before) or not before.startswith(schemes):
            raise Misfit(f"an address begins with {' or '.join(schemes)} and its host", at)
        return _encoded(value.text)
    end = following[0] if following else ""
    if not (isinstance(end, str) and end.startswith(("|", ">", ")"))):
        raise Misfit("a value can't be the beginning of an address", at)
    address = address_of(Mixed((value,), at), schemes, MAX_URL)
    return address.replace("(", "%28").replace(")", "%29")
