"""Mail addresses: which can be used, asked in one place by settings, rules, templates and mails."""

import re
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

MAX_MAILBOX = 600
"""Characters of a name and an address together."""
MAX_TYPED = 320
MAX_REASON = 150

_BOXED = re.compile(r'"?(?P<name>[^"<>]*?)"?\s*<(?P<address>[^<>]*)>')
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Names that only a local network knows. They are what a mail server in the house may well be called.
_LOCAL = re.compile(r".*[@.](localhost|local|internal|lan|home\.arpa|test|invalid)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A display name, which may be empty, and an ASCII address."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class UnusableAddress(ValueError):
    """`str()` goes on where the address ends: "is not a mail address (the reason)"."""


@lru_cache(maxsize=1024)
def read_mailbox(text: str) -> MailAddress:
    """`anna@example.com` or `Anna <anna@example.com>`; local networks' names are fine.

    Raises UnusableAddress.
    """
    if len(text) > MAX_MAILBOX:
        raise _none(f"it is longer than {MAX_MAILBOX} characters")
    if _CONTROLS.search(text):
        raise _none("it has a line break or another control character in it")
    boxed = _BOXED.fullmatch(text.strip())
    name, address = (boxed["name"], boxed["address"]) if boxed else ("", text)
    return MailAddress(name.strip(), _ascii(address.strip(), local=True))


@lru_cache(maxsize=1024)
def visitor_address(typed: str) -> str:
    """What a visitor typed, in ASCII, where an answer can go to it; else nothing.

    Only public addresses: nobody outside says where in our own network mail goes.
    """
    if "@" not in typed or len(typed) > MAX_TYPED:
        return ""
    try:
        return _ascii(typed.strip(), local=False)
    except UnusableAddress:
        return ""


def _ascii(address: str, *, local: bool) -> str:
    if "=?" in address:
        raise _none("mail programs would decode what follows =?")
    # The validator takes no names of local networks; with a public end it checks all the rest.
    public_end = ".com" if local and _LOCAL.fullmatch(address) else ""
    try:
        checked = validate_email(address + public_end, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise _none(str(error)[:MAX_REASON].rstrip(".")) from None
    if checked.ascii_email is None:
        raise UnusableAddress("has letters before the @ that not every mail server takes")
    return checked.ascii_email.removesuffix(public_end)


def _none(reason: str) -> UnusableAddress:
    return UnusableAddress(f"is not a mail address ({reason})")
