"""Signs webhooks according to the Standard Webhooks specification (https://www.standardwebhooks.com).

A secret is `whsec_` and the Base64 of 24 to 64 bytes. The signed text is `<webhook-id>.<webhook-timestamp>.<body>`.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import NoReturn

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""The least and the most bytes of a signing key."""
_WRITE = f"write {PREFIX} and the Base64 of {SHORTEST} to {LONGEST} random bytes"


def read_keys(secrets: str) -> tuple[bytes, ...]:
    """Return the keys in one secret, or in several separated by spaces or line breaks.

    Raises ValueError, whose text begins with a verb and contains nothing of a secret.
    """
    return tuple(map(_key, secrets.split())) or _refuse("is empty")


def _key(secret: str) -> bytes:
    if secret.startswith(("https://", "http://")):
        raise ValueError("is a web address, not a secret; are url and secret exchanged?")
    if not secret.startswith(PREFIX):
        _refuse(f"is not the secret of a webhook: it does not begin with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        _refuse(f"is not the secret of a webhook: what follows {PREFIX} is not Base64")
    if not SHORTEST <= len(key) <= LONGEST:
        size = "shorter" if len(key) < SHORTEST else "longer"
        _refuse(f"is {size} than a secret of a webhook may be: it has {len(key)} bytes")
    return key


def _refuse(words: str) -> NoReturn:
    raise ValueError(f"{words}; {_WRITE}")


def message_id(delivery: str) -> str:
    """Return the `webhook-id` of a delivery from its Message-ID, without dots, which the specification reserves."""
    return f"msg_{hashlib.sha256(delivery.encode()).hexdigest()[:32]}"


def signed(keys: Iterable[bytes], message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a webhook, with a signature by each key.

    `timestamp` is the time of this attempt in Unix seconds.
    """
    content = f"{message}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, content, "sha256") for key in keys)
    signatures = " ".join(f"v1,{base64.b64encode(each).decode()}" for each in digests)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures,
    }
