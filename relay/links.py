"""Validates and builds web links, mailto links and webhook URLs.

A webhook's URL is a secret: no error text here quotes one.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, urlsplit

from relay.chat import Page
from relay.notification import Link
from relay.settings.environment import is_placeholder
from relay.text import cut, tidy_line

MAX_URL = 1_000
MAX_QUOTED = 700
"""The most characters of a quoted question in a mailto link, URL-encoded; Outlook accepts no more."""
# No user name (https://bank.example@evil.example), no look-alike letters, no space.
# A host has at most 253 characters and is shown in full: its end is the part that was registered.
_HOST = r"https?://([a-z0-9.-]{1,253})(?::[0-9]{1,5})?"
_BEGINS_WEB = re.compile(rf"{_HOST}(?![^/?#])", re.IGNORECASE)
_WEB = re.compile(rf"{_HOST}(?:[/?#][^\s\\<>\"]*)?", re.IGNORECASE)


def web_link(url: str) -> str:
    """The URL if it may become a link, else an empty text.

    Only http and https URLs that are short enough for an email are accepted.
    """
    is_short = len(url) + 4 * url.count("&") <= MAX_URL  # each & is written as &amp;
    return url if is_short and is_safe(url, "") and _WEB.fullmatch(url) else ""


def host(url: str) -> str:
    """The host of a web address; empty for any other text."""
    match = _BEGINS_WEB.match(url)
    return match[1].lower() if match else ""


def mail_link(address: str) -> str:
    """Return a mailto: link to an address."""
    return "mailto:" + quote(address, safe="@.+-_")


def answer_link(address: str, subject: str, question: str) -> str:
    """Return a mailto: link that opens a reply with the question quoted, cut to what email programs accept."""
    link = f"{mail_link(address)}?subject={quote(subject, safe='')}"
    quoted = cut(question, MAX_QUOTED, lambda piece: len(quote(piece, safe="")))
    return f"{link}&body=%0D%0A%0D%0A%3E%20{quote(quoted, safe='')}" if quoted else link


def page_links(pages: Sequence[Page], most: int) -> tuple[Link, ...]:
    """Return links to the last `most` pages, each once, the latest first."""
    latest = {page.url: page for page in reversed(pages) if web_link(page.url)}
    return tuple(
        Link(label=page.title or host(page.url), url=page.url, visited=True)
        for page in list(latest.values())[:most]
    )


MAX_HOST = 60


def is_safe(url: str, *schemes: str) -> bool:
    """Whether a URL begins with one of `schemes` ("https://") and has no character that would end it early."""
    return (
        url.startswith(schemes)
        and len(url) <= MAX_URL
        and url.isprintable()
        and not any(sign in url for sign in ' <>|"\\')
    )


def without_braces(url: str) -> str:
    """Return the URL with { and } encoded: Teams would replace {{DATE()}} in it."""
    return url.replace("{", "%7B").replace("}", "%7D")


def label(link: Link, limit: int) -> str:
    """Return a link's text, at most `limit` characters, with the link's host at the end.

    The visitor's browser supplies a page's title and address, so a title may claim anything and may
    even contain another host. Only a title that equals the host is shown alone.
    """
    host = _host(link.url)
    name = tidy_line(link.label, limit)
    if not host or name.lower() == host:
        return name or link.url[:limit]
    return f"{tidy_line(name, max(limit - len(host) - 3, 1))} ({host})" if name else host


@lru_cache(maxsize=256)
def _host(url: str) -> str:
    """Return the URL's host. A long one is cut at its beginning: its end is the part that was registered."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host if len(host) <= MAX_HOST else f"…{host[-MAX_HOST:]}"


_HOSTS = {
    "Slack": (".slack.com", "hooks.slack-gov.com"),
    "Teams": (
        *("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft"),
        *(".logic.azure.com", ".logic.azure.us", ".powerplatform.com", ".powerautomate.com"),
        *(".webhook.office.com", "outlook.office.com", "outlook.office365.com"),
    ),
}
"""The hosts of each service; a leading dot means any subdomain. Includes hosts of pages, which
people paste by mistake.
"""


def not_an_address(url: str) -> str:
    """Return why the URL can't be called; empty if it can."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not url.isprintable() or " " in url:
        return "is not a web address"
    if is_placeholder(url):
        return "is a placeholder, as in an example; write your own address"
    if "&amp;" in url:
        return "has &amp; in it, as the source of a page has; write & in its place"
    return ""


def host_of(url: str) -> str:
    """Return the host of a web address in lower case, without a final dot; empty for any other text."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def service_of(url: str) -> str:
    """Return the service that owns the URL's host, `Slack` or `Teams`; empty for any other."""
    host = host_of(url)
    return next(
        (
            service
            for service, ends in _HOSTS.items()
            if any(host == end or (end.startswith(".") and host.endswith(end)) for end in ends)
        ),
        "",
    )


def service_mismatch(url: str, service: str) -> str:
    """Return why the URL can't be a webhook of `service`; empty if it can."""
    actual = service_of(url)
    if actual in {"", service}:
        return ""
    return f"is a webhook of {actual}, not of {service}; are two of them exchanged?"
