"""By what the chats of one visitor are found again: numbers, made of the visitor's address and id, kept with each hook.

An address itself could be of any length, and would stand in an index after its hook was erased.
"""

import hashlib

from relay.chat import Visitor
from relay.mail_address import canonical_addresses

NONE, SEVERAL = 0, 1
"""Keys of a visitor without an address, and of one with several: those are told apart by the hooks themselves."""


def keys_of(visitor: Visitor) -> dict[str, int]:
    """The values of `hooks.email_key` and `hooks.visitor_key`."""
    addresses = canonical_addresses(visitor.email)
    return {
        "email_key": SEVERAL if len(addresses) > 1 else key_of("".join(addresses)),
        "visitor_key": key_of(visitor.id),
    }


def key_of(text: str) -> int:
    """A number of 64 bits; `text` is a canonical address or a visitor's id."""
    if not text:
        return NONE
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], signed=True) | 2  # neither NONE nor SEVERAL
