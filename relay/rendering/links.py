"""Addresses that a visitor typed, or that a visitor's browser reported: usable, or not at all."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from relay.chat import Page
from relay.notification import Link
from relay.text import cut

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
    length = len(url) + 4 * url.count("&")  # each is written as &amp;
    return url if length <= MAX_URL and _WEB.fullmatch(url) else ""


def host(url: str) -> str:
    """The host of a web address; nothing for what is none."""
    match = _BEGINS_WEB.match(url)
    return match[1].lower() if match else ""


def mail_link(address: str) -> str:
    return "mailto:" + quote(address, safe="@.+-_")


def answer_link(address: str, subject: str, question: str) -> str:
    """Begins a mail with this subject, and the question below the answer, cut to what every mail program takes."""
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
