"""Validates and compares email addresses of settings, rules, templates and visitors."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import idna
import regex
from email_validator import EmailNotValidError, validate_email

MAX_MAILBOX = 600
"""The most characters of a name and an address together."""
MAX_TYPED = 320
MAX_REASON = 150

_BOXED = re.compile(r'"?(?P<name>[^"<>]*?)"?\s*<(?P<address>[^<>]*)>')
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Domains of local networks; an internal mail server may use them.
_LOCAL_NETWORK = re.compile(
    r".*[@.](localhost|local|internal|lan|home\.arpa|test|invalid)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A display name, which may be empty, and an ASCII address."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.address.rpartition("@")[2]


# Most addresses are canonical already.
_PLAIN = re.compile(r"[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]+")
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_WIDE: dict[int, int | str] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys(map(ord, "\u3002\uff61"), "."),
    ord("\ufe6b"): "@",
}
"""The full-width characters and full stops of East Asian keyboards, and their ASCII equivalents."""
_OUTSIDE = r"\s@<>()\[\]\\,;:\""
"""Characters that may surround an address but are not part of it."""
_LOCAL = re.compile(rf"([^{_OUTSIDE}]+)\s*$")
_QUOTED_LOCAL = re.compile(r'"([^"]+)"\s*$')
_ATOMS = re.compile(rf"[^{_OUTSIDE}']+")
_DOMAIN = re.compile(rf"\s*(\[[0-9a-f.:]+\]|[^{_OUTSIDE}'/?&|!*{{}}^`+=#%$]+)", re.IGNORECASE)


class UnusableAddress(ValueError):
    """Raised for text that is not an email address.

    The error's text continues a sentence that begins with the address: "is not an email address
    (the reason)".
    """


@lru_cache(maxsize=1024)
def read_mailbox(text: str) -> MailAddress:
    """Return the address in `anna@example.com` or `Anna <anna@example.com>`; local domains are accepted.

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
    """Return the address that a visitor typed, in ASCII, if a reply can be sent there; else an empty string.

    Only public addresses are accepted: a visitor must not choose where email goes in the local
    network.
    """
    if "@" not in typed or len(typed) > MAX_TYPED:
        return ""
    try:
        return _ascii(typed.strip(), local=False)
    except UnusableAddress:
        return ""


def canonical_addresses(text: str) -> frozenset[str]:
    """Return all addresses in a text, in the canonical form by which addresses are compared.

    `Jana <JANA@Bücher.example.>` gives `jana@xn--bcher-kva.example`: case, name, `mailto:`,
    invisible characters and the domain's spelling are ignored. A local part keeps its letters
    (`straße@` is not `strasse@`). A text without an address is returned in lower case, as the only
    element.
    """
    if _PLAIN.fullmatch(text) and "xn--" not in text:
        return frozenset((text,))
    text = _INVISIBLE.sub("", text).translate(_WIDE)
    text = unicodedata.normalize("NFC", text).replace("%40", "@")
    addresses = frozenset(_canonical_addresses(text))
    whole = " ".join(text.lower().split())
    return addresses or frozenset((whole,) if whole else ())


def _canonical_addresses(text: str) -> Iterator[str]:
    for left, right in pairwise(text.split("@")):
        # The length is limited so that the work grows linearly with the text.
        before, after = left[-MAX_TYPED:], right[:MAX_TYPED]
        local = _QUOTED_LOCAL.search(before) or _LOCAL.search(before)
        domain = _DOMAIN.match(after)
        name = unicodedata.normalize("NFC", local[1].strip("'").lower()) if local else ""
        host = _canonical_domain(domain[1].strip(".")) if domain else ""
        if name and host:
            yield f"{name}@{host}" if _ATOMS.fullmatch(name) else f'"{name}"@{host}'


def _canonical_domain(domain: str) -> str:
    """Return the domain in ASCII (IDNA 2008); a text that can't be a domain is only put in lower case."""
    try:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        mapped = ""
    # A diaeresis alone is mapped to a text that begins with a space.
    if mapped[:1].isspace() or not _DOMAIN.fullmatch(mapped):
        return unicodedata.normalize("NFC", domain.lower())
    return ".".join(map(_canonical_label, mapped.split(".")))


def _canonical_label(label: str) -> str:
    try:
        return idna.alabel(label).decode("ascii").lower()
    except idna.IDNAError:
        return label


def _ascii(address: str, *, local: bool) -> str:
    if "=?" in address:
        raise _none("mail programs would decode what follows =?")
    # The validator refuses local domains; with a public suffix added it checks everything else.
    public_end = ".com" if local and _LOCAL_NETWORK.fullmatch(address) else ""
    try:
        checked = validate_email(address + public_end, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise _none(str(error)[:MAX_REASON].rstrip(".")) from None
    if checked.ascii_email is None:
        raise UnusableAddress("has letters before the @ that not every mail server takes")
    return checked.ascii_email.removesuffix(public_end)


def _none(reason: str) -> UnusableAddress:
    return UnusableAddress(f"is not an email address ({reason})")
