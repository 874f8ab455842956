"""Addresses that a visitor typed, or that a visitor's browser reported: usable, or not at all."""

import re
from functools import lru_cache
from urllib.parse import quote

from email_validator import EmailNotValidError, validate_email

MAX_URL = 1_000
# No user name (https://bank.example@evil.example), no letters that only look like others, no blank.
_WEB = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][^\s\\<>\"]*)?", re.IGNORECASE)


def web_link(url: str) -> str:
    """The URL if it may become a link, else nothing: http and https only, and short enough for a mail."""
    length = len(url) + 4 * url.count("&")  # each is written as &amp;
    return url if length <= MAX_URL and _WEB.fullmatch(url) else ""


def host(url: str) -> str:
    """https://shop.example.com/shoes -> "shop.example.com"; nothing for what is no web address."""
    match = _WEB.match(url)
    return match[1].lower() if match else ""


@lru_cache(maxsize=1024)
def mail_address(typed: str) -> str:
    """The address as a mail server takes it (ASCII), or nothing where what was typed is none.

    The same choice as the email transport makes for Reply-To: a mail that promises where a reply goes must keep it.
    """
    if "@" not in typed or len(typed) > 320:
        return ""
    try:
        checked = validate_email(typed.strip(), check_deliverability=False)
    except EmailNotValidError:
        return ""
    return checked.ascii_email or ""


def mail_link(address: str) -> str:
    return "mailto:" + quote(address, safe="@.+-_")
