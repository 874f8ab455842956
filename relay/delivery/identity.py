"""What tells a delivery from all others at its far end, the same at every attempt."""

import hashlib

from relay.outbox import Delivery
from relay.transports import Identity


def identity_of(delivery: Delivery, visitor: str) -> Identity:
    """`visitor`: Smartsupp's id of whom it is about, empty where that is not known."""

    def root(kind: str, name: str) -> str:
        digest = hashlib.sha256(f"{kind}\0{delivery.account}\0{name}".encode()).hexdigest()[:18]
        return f"{kind}.{digest}@{delivery.message_id.rpartition('@')[2]}"

    return Identity(
        message_id=delivery.message_id,
        thread_id=root("chat", delivery.chat),
        visitor_thread_id=root("visitor", visitor) if visitor else "",
        date=delivery.created_at.replace(microsecond=0),
        chat=f"{delivery.account}/{delivery.chat}",
        unsure=delivery.suspect or delivery.unsure > 0,
        receipt=delivery.receipt,
        thread_receipt=delivery.thread_receipt,
    )
