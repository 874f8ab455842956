"""What of an address and a name stands in a mail's headers."""

import re

from relay.mail_address import MailAddress, UnusableAddress, read_mailbox
from relay.text import clean_line, tidy_line

MAX_NAME = 60
"""Characters of a display name: longer ones are folded, and older Pythons lose the quotes there."""
# Without these a name needs no quotes, so none can be lost or left open (cpython#80222).
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]+')


def recipient_address(text: str) -> MailAddress:
    """`anna@example.com` or `Anna <anna@example.com>`, ready for a header. Raises ValueError in words."""
    try:
        found = read_mailbox(text)
    except UnusableAddress as error:
        raise ValueError(f"{clean_line(text, 100)!r} {error}") from None
    return MailAddress(display_name(found.name), found.address)


def display_name(text: str) -> str:
    """A name that can stand before an address without quotes, at most 60 characters, maybe empty."""
    return clean_line(_SPECIALS.sub(" ", header_text(text)), MAX_NAME)


def header_text(text: str, limit: int = 200) -> str:
    """Text for a header: one line, and never read as an encoded word (`=?utf-8?q?...?=`) by anybody."""
    return tidy_line(text.replace("=?", "= ?"), limit)
