"""Addresses that a visitor typed, or that a visitor's browser reported: usable, or not at all."""

import re
from urllib.parse import quote

MAX_URL = 1_000
# No user name (https://bank.example@evil.example), no letters that only look like others, no blank.
_WEB = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][^\s\\<>\"]*)?", re.IGNORECASE)


def web_link(url: str) -> str:
    """The address if it may become a link, else nothing.

    http and https only, and short enough for a mail.
    """
    length = len(url) + 4 * url.count("&")  # each is written as &amp;
    return url if length <= MAX_URL and _WEB.fullmatch(url) else ""


def host(url: str) -> str:
    """The host of a web address; nothing for what is none."""
    match = _WEB.match(url)
    return match[1].lower() if match else ""


def mail_link(address: str) -> str:
    return "mailto:" + quote(address, safe="@.+-_")
