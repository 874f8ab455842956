"""Web addresses: links that somebody may click, and webhooks.

Addresses that a visitor typed, or that a visitor's browser reported: usable, or not at all.

Links that somebody may click: where they lead stands beside what they are called.

What is wrong with a webhook's address by its look alone. Nothing here quotes it: it is a secret.
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
"""Characters of a question in a link, encoded: the link fits on a line of a mail, and into what Outlook takes."""
# No user name (https://bank.example@evil.example), no letters that only look like others, no blank.
# A name has at most 253 characters: it is shown whole, for its end is the part that somebody had to register.
_HOST = r"https?://([a-z0-9.-]{1,253})(?::[0-9]{1,5})?"
_BEGINS_WEB = re.compile(rf"{_HOST}(?![^/?#])", re.IGNORECASE)
_WEB = re.compile(rf"{_HOST}(?:[/?#][^\s\\<>\"]*)?", re.IGNORECASE)


def web_link(url: str) -> str:
    """The address if it may become a link, else nothing.

    http and https only, and short enough for a mail.
    """
    is_short = len(url) + 4 * url.count("&") <= MAX_URL  # each is written as &amp;
    return url if is_short and is_safe(url, "") and _WEB.fullmatch(url) else ""


def host(url: str) -> str:
    """The host of a web address; nothing for what is none."""
    match = _BEGINS_WEB.match(url)
    return match[1].lower() if match else ""


def mail_link(address: str) -> str:
    return "mailto:" + quote(address, safe="@.+-_")


def answer_link(address: str, subject: str, question: str) -> str:
    """A mailto: link that begins a mail with this subject, and the question below the answer, cut to what every mail program takes."""
    link = f"{mail_link(address)}?subject={quote(subject, safe='')}"
    asked = cut(question, MAX_QUOTED, lambda piece: len(quote(piece, safe="")))
    return f"{link}&body=%0D%0A%0D%0A%3E%20{quote(asked, safe='')}" if asked else link


def page_links(pages: Sequence[Page], most: int) -> tuple[Link, ...]:
    """The last `most` pages, each once, the latest first."""
    latest = {page.url: page for page in reversed(pages) if web_link(page.url)}
    return tuple(
        Link(label=page.title or host(page.url), url=page.url, visited=True)
        for page in list(latest.values())[:most]
    )


MAX_HOST = 60


def is_safe(url: str, *schemes: str) -> bool:
    """Whether a URL begins with one of `schemes` ("https://") and holds nothing that ends an address early."""
    return (
        url.startswith(schemes)
        and len(url) <= MAX_URL
        and url.isprintable()
        and not any(sign in url for sign in ' <>|"\\')
    )


def without_braces(url: str) -> str:
    """The address with { and } encoded: Teams fills in what {{DATE()}} asks for, in addresses too."""
    return url.replace("{", "%7B").replace("}", "%7D")


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


_HOSTS = {
    "Slack": (".slack.com", "hooks.slack-gov.com"),
    "Teams": (
        *("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft"),
        *(".logic.azure.com", ".logic.azure.us", ".powerplatform.com", ".powerautomate.com"),
        *(".webhook.office.com", "outlook.office.com", "outlook.office365.com"),
    ),
}
"""A host's name, or with a dot in front the end of one; of pages too, which somebody copied in a webhook's place."""


def not_an_address(url: str) -> str:
    """Why it is no address that can be called; empty where it is one."""
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
    """The host of a web address, in small letters and without a dot at its end; empty for anything else."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def service_of(url: str) -> str:
    """The service whose host a web address names, `Slack` or `Teams`; empty for any other."""
    host = host_of(url)
    return next(
        (
            service
            for service, ends in _HOSTS.items()
            if any(host == end or (end.startswith(".") and host.endswith(end)) for end in ends)
        ),
        "",
    )


def of_another_service(url: str, service: str) -> str:
    """Why the address can't be a webhook of `service`; empty where it can."""
    other = service_of(url)
    if other in {"", service}:
        return ""
    return f"is a webhook of {other}, not of {service}; are two of them exchanged?"
