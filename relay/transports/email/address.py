"""Mail addresses: whom we write to, and whom an answer may go to."""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from relay.settings import MailAddress
from relay.text import clean_line

MAX_NAME = 60
"""Characters of a display name: longer ones are folded, and older Pythons lose the quotes there."""
_BOXED = re.compile(r'"?(?P<name>[^"<>]*?)"?\s*<(?P<address>[^<>]+)>')
MAX_ADDRESS = 254
# An address in ASCII. email-validator would refuse the names of networks in a house, such as mail.local.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
# Without these a name needs no quotes, so none can be lost or left open (cpython#80222).
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]+')


@lru_cache(maxsize=1024)
def recipient_address(text: str) -> MailAddress:
    """`anna@example.com` or `Anna <anna@example.com>`, the address in ASCII.

    Raises ValueError in words. Addresses within a house (`desk@mail.local`, `root@localhost`) are fine.
    """
    if not text.isprintable():
        raise _no_address(text, "it has a line break in it")
    boxed = _BOXED.fullmatch(text.strip())
    address = (boxed["address"] if boxed else text).strip()
    name = display_name(boxed["name"]) if boxed else ""
    if len(address) <= MAX_ADDRESS and _PLAIN.fullmatch(address):
        return MailAddress(name, address)
    try:
        checked = validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        raise _no_address(text, str(error)) from None
    if checked.ascii_email is None:
        raise _no_address(text, "it has letters before the @ that not every mail server takes")
    return MailAddress(name, checked.ascii_email)


def _no_address(text: str, why: str) -> ValueError:
    return ValueError(f"{clean_line(text, 100)!r} is not a mail address: {why}")


@lru_cache(maxsize=1024)
def reply_address(text: str) -> str:
    """A visitor's address in ASCII, or nothing where it is none that every mail server takes."""
    if not 3 <= len(text) <= 320:
        return ""
    try:
        checked = validate_email(text.strip(), check_deliverability=False)
    except EmailNotValidError:
        return ""
    return checked.ascii_email or ""


def display_name(text: str) -> str:
    """A name that can stand before an address without quotes, at most 60 characters, maybe empty."""
    return clean_line(_SPECIALS.sub(" ", header_text(text)), MAX_NAME)


def header_text(text: str, limit: int = 200) -> str:
    """Text for a header: one line, and never read as an encoded word (`=?utf-8?q?...?=`) by anybody."""
    return clean_line(text.replace("=?", "= ?"), limit)
