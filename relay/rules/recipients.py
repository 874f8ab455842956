"""The recipients of a destination: fixed addresses, and addresses from the chat within the allowed domains."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from relay.chat import Chat
from relay.mail_address import UnusableAddress, read_mailbox
from relay.rules.compared_values import ChatView, Words
from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import field_named
from relay.rules.reading.value_parsers import BadValue, did_you_mean, listed, quoted, shown

MAX_ADDRESS = 320
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s][^{}]{0,200}?)\s*\}\}")
_FILLING = {Kind.TEXT, Kind.VARIABLE}
_ADDRESS_HINT = "write anna@example.com or Anna <anna@example.com>"


@dataclass(frozen=True, slots=True)
class Pattern:
    """An address with fields of the chat: `{{ visitor.variables.owner }}`."""

    written: str
    parts: tuple[str | Field, ...]
    domains: frozenset[str]

    def fill(self, view: ChatView) -> str:
        """Return the address for a chat. Raises BadValue if it is invalid or outside the allowed domains."""
        filled = "".join(p if isinstance(p, str) else _plain(view, p) for p in self.parts)
        if not filled:
            raise BadValue(f"{self.written} is empty for this chat")
        try:
            recipient = address(filled)
        except BadValue:
            raise BadValue(
                f"{self.written} is {quoted(filled)}, which is not an email address"
            ) from None
        if recipient.rpartition("@")[2] not in self.domains:
            raise BadValue(
                f"{self.written} is {quoted(filled)}, which is outside recipient_domains"
            )
        return recipient


@dataclass(frozen=True, slots=True)
class Recipients:
    """The recipients of a destination; each address once, ignoring case."""

    fixed: tuple[str, ...]
    patterns: tuple[Pattern, ...] = ()

    def resolve(self, chat: Chat) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the addresses for a chat, and a sentence for each address that can't be used."""
        return self.resolve_view(ChatView(chat))

    def resolve_view(self, view: ChatView) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the addresses for a chat's view, and a sentence for each address that can't be used."""
        if not self.patterns:
            return self.fixed, ()
        recipients, left_out = list(self.fixed), []
        for pattern in self.patterns:
            try:
                recipients.append(pattern.fill(view))
            except BadValue as bad:
                left_out.append(bad.message)
        return distinct(recipients), tuple(left_out)


def distinct(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses without duplicates, ignoring case, in their first spelling."""
    spellings: dict[str, str] = {}
    for recipient in addresses:
        spellings.setdefault(recipient.casefold(), recipient)
    return tuple(spellings.values())


def address(text: str) -> str:
    """Return the ASCII address in `a@b.cz` or `Anna <a@b.cz>`. Raises BadValue."""
    try:
        return read_mailbox(text).address
    except UnusableAddress as error:
        raise BadValue(f"{shown(text)} {error}", _ADDRESS_HINT) from None


def domain(text: str) -> str:
    """Return the domain that a text spells, in ASCII. Raises BadValue for any other text."""
    bare = text.strip().removeprefix("@")
    try:
        return address(f"postmaster@{bare}").rpartition("@")[2]
    except BadValue:
        raise BadValue(f"{shown(text)} is not a domain", "write example.com") from None


def is_pattern(text: str) -> bool:
    """Whether a recipient has fields of the chat in braces."""
    return "{{" in text or "{%" in text


def pattern(text: str, domains: frozenset[str]) -> Pattern:
    """Return the pattern of a recipient with fields in it.

    Raises BadValue if a field is unknown or has no text, or if no domain is allowed.
    """
    if not domains:
        raise BadValue(
            f"{shown(text)} lets the chat choose who gets mail",
            "say which domains may: `recipient_domains: [example.com]` at the top of the file",
        )
    # Odd elements are the contents of the braces.
    pieces = _PLACEHOLDER.split(text[:MAX_ADDRESS])
    if any(mark in piece for piece in pieces[::2] for mark in ("{", "}")):
        raise BadValue(
            f"{shown(text)} can't be used",
            "only a field may be in the braces: {{ visitor.variables.owner }}",
        )
    parts = [_field(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
    return Pattern(text, tuple(part for part in parts if part), domains)


def _field(name: str) -> Field:
    field = field_named(name)
    if field and field.kind in _FILLING:
        return field
    if field:
        fitting = [each.name for each in FIELDS.values() if each.kind in _FILLING]
        raise BadValue(f"{shown(name)} is not a text", f"write {listed(fitting[-9:])}")
    raise BadValue(f"unknown field {shown(name)}", did_you_mean(name, FIELDS))


def _plain(view: ChatView, field: Field) -> str:
    value = view[field]
    return value.plain.strip() if isinstance(value, Words) else ""
