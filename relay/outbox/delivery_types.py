"""The values that go into the outbox and come out of it, and how they are stored in columns.

Times are stored as milliseconds since 1970 UTC. Visitors are found by keys, 64-bit numbers made of an email address
or id: an address may be of any length, and would stay in an index after its hook was erased.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from relay.chat import Chat, Visitor
from relay.destination import Rate
from relay.mail_address import canonical_addresses
from relay.timing.plan import NOW, OncePer, Plan, Timing
from relay.transports import Ending

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
SHORT = 512
"""Bytes up to which a record is not compressed."""


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware datetime."""
    return round((moment - _EPOCH) / _MILLISECOND)


def from_ms(ms: int) -> datetime:
    """Return a stored time, aware and in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_ms(moment: datetime | None) -> int | None:
    """Return a time in milliseconds since 1970, as it is stored; None for None."""
    return None if moment is None else to_ms(moment)


def maybe_time(ms: int | None) -> datetime | None:
    """Return a stored time, aware and in UTC; None for None."""
    return None if ms is None else from_ms(ms)


def storable(text: str) -> str:
    """The text without what some databases refuse: NUL and lone surrogates are replaced.

    For servers' answers, which may hold anything.
    """
    if text.isprintable():
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def packed(record: bytes) -> bytes:
    """A JSON record of verdicts as it is stored: compressed if it is long."""
    return record if len(record) <= SHORT else zlib.compress(record, 1)


def unpacked(kept: bytes) -> bytes:
    """The JSON record of verdicts that `packed` was given."""
    is_packed = kept[:1] == b"x"  # as zlib begins, and no JSON
    return zlib.decompress(kept) if is_packed else kept


NONE, SEVERAL = 0, 1
"""Keys in place of a hash: of a visitor without an email address, and of one with several, who is found only by reading hooks."""


def keys_of(visitor: Visitor) -> dict[str, int]:
    """The values of `hooks.email_key` and `hooks.visitor_key`."""
    addresses = canonical_addresses(visitor.email)
    return {
        "email_key": SEVERAL if len(addresses) > 1 else key_of("".join(addresses)),
        "visitor_key": key_of(visitor.id),
    }


def visitor_key(visitor: Visitor) -> str:
    """The value of `deliveries.visitor`: the same for all spellings of an email address; empty without one.

    Without an email address, it is made from the visitor's id.
    """
    name = min(canonical_addresses(visitor.email), default="") or visitor.id
    return str(key_of(name)) if name else ""


def key_of(text: str) -> int:
    """The 64-bit key of a canonical email address or a visitor's id."""
    if not text:
        return NONE
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], signed=True) | 2  # neither NONE nor SEVERAL


class State(StrEnum):
    """The state of a delivery. The first three are live, the others final."""

    QUEUED = "queued"
    SENDING = "sending"
    """Claimed: an attempt is being made, until its lease ends."""
    SCHEDULED = "scheduled"
    """Waits for its time: `due_at` says until when, `why` says why."""
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """Taken by a server that forwards it without telling the result."""
    MAYBE_DELIVERED = "maybe delivered"
    """The answer was lost; whether to repeat is left to a person."""
    FAILED = "failed"
    QUARANTINED = "quarantined"
    """The relay died several times while sending it."""
    MOVED = "moved"
    """Replaced by deliveries to its destination's present recipients, or to another destination."""
    IN_DIGEST = "in digest"
    """The delivery's chat was put into a digest, which is a delivery of its own."""
    LEFT_OUT = "left out"
    """Not sent on purpose: muted, outside hours, or once per visitor."""

    @property
    def was_sent(self) -> bool:
        """Whether a server took the notification, or may have taken it."""
        return self in {State.DELIVERED, State.ACCEPTED, State.MAYBE_DELIVERED}


BLIP = timedelta(seconds=30)
"""The longest wait of a retry schedule after one failure; only a server asks for a longer one."""
ITSELF = ""
"""The account of alerts and digests, which are about no single chat. A hook's account is never empty."""
DIGEST = "digest:"
"""Prefix of the id of a digest's chat; the digest's number follows."""


def is_digest(account: str, chat: str) -> bool:
    """Whether this account and id name a digest of several chats."""
    return account == ITSELF and chat.startswith(DIGEST)


def is_alert(account: str, chat: str) -> bool:
    """Whether this account and id name an alert, which the relay sends about itself."""
    return account == ITSELF and not chat.startswith(DIGEST)


class StorageUnavailable(Exception):
    """Raised where the database can't write at present (disk full, locked, I/O error). Nothing was stored; try again later."""


class StorageRefused(Exception):
    """Raised where the database can't be opened as it is. The message says what to do."""


class Collision(Exception):
    """Raised where tables are not as a migration expects them: another relay changes them too, or another program made them."""


class NewDelivery(Struct, frozen=True, kw_only=True):
    """A delivery to be queued."""

    rule: str
    template: str
    destination: str
    recipient: str
    message_id: str
    instead_of: str = ""
    """The destination that failed, where this delivery goes to its fallback; else empty."""
    plan: Plan = NOW
    """When it is sent: at once, at a time, in a digest, or not at all."""
    visitor: str = ""
    """The visitor's key for limits per visitor, where no hook is at hand to make it from."""
    once_per: OncePer | None = None
    """How long, after a notification about one visitor, others about the same visitor are held back; None: they are not."""

    @property
    def is_plain(self) -> bool:
        """Whether it is queued at once, without a look at earlier notifications."""
        return self.plan is NOW and self.once_per is None

    def first_attempt(
        self, hook: "NewHook", *, delivery_id: int = 0, hook_id: int = 0
    ) -> "Delivery":
        """The delivery as a claim would read it from the database, if its chat is new."""
        return Delivery(
            id=delivery_id,
            account=storable(hook.chat.account),
            chat=storable(hook.chat.id),
            hook_id=hook_id,
            rule=self.rule,
            template=self.template,
            destination=self.destination,
            recipient=self.recipient,
            message_id=self.message_id,
            created_at=from_ms(to_ms(hook.received_at)),
            body=hook.body,
            instead_of=self.instead_of,
        )


class NewHook(Struct, frozen=True, kw_only=True):
    """A hook that was read and checked against the rules."""

    body: bytes
    chat: Chat
    received_at: datetime
    rules_hash: str
    verdicts: bytes = b""
    """The rules' results as JSON, for `relay explain`; opaque here."""
    trouble: str = ""
    """What went wrong while the rules were checked; empty if nothing did."""
    deliveries: tuple[NewDelivery, ...] = ()


class Delivery(Struct, frozen=True, kw_only=True):
    """A claimed delivery, with everything that an attempt needs."""

    id: int
    account: str
    chat: str
    hook_id: int
    rule: str
    template: str
    destination: str
    recipient: str
    message_id: str
    created_at: datetime
    released_at: datetime | None = None
    """When a delivery that had been scheduled was queued; None where it was queued at once."""
    attempt: int = 1
    """The number of this attempt, from 1; also the fencing token of its lease."""
    failures: int = 0
    """Earlier attempts that surely did not deliver."""
    unsure: int = 0
    """Earlier attempts whose answer was lost."""
    short: bool = False
    """Send the short form, because the server refused the full one as too long or too rich."""
    suspect: bool = False
    """Whether a process died while sending it and it may be the cause; suspects are sent one at a time."""
    receipt: str = ""
    """The receipt that an earlier attempt got from the server; empty if none did."""
    thread_receipt: str = ""
    """The receipt of the first delivery about the same chat to the same recipient; empty without one."""
    body: bytes
    """The hook's raw bytes, or the content of an alert or digest, where `account` is ITSELF."""
    instead_of: str = ""
    """The destination that failed, where this delivery goes to its fallback; else empty."""
    quiet: bool = False
    """Whether it mentions nobody, because another delivery that was released with it does."""
    why: str = ""
    """Why it had to wait; empty where it was queued at once."""

    @property
    def queued_at(self) -> datetime:
        """When the delivery may be sent, at the earliest. Its age counts from here, and an email has this date."""
        return self.released_at or self.created_at

    @property
    def is_alert(self) -> bool:
        """Whether it is an alert about the relay itself, not about a chat."""
        return is_alert(self.account, self.chat)

    @property
    def is_digest(self) -> bool:
        """Whether it is about several chats, which are read when it is sent."""
        return is_digest(self.account, self.chat)


@dataclass(frozen=True, slots=True)
class Places:
    """How many deliveries of a hook may be claimed in the commit that stores it, if no earlier one is due."""

    free: Mapping[str, int]
    """How many deliveries may be claimed in the same commit, by destination."""
    lease: timedelta
    rates: Mapping[str, Sequence[Rate]]
    """The rates of the destinations that have any, by name; the caller keeps them."""
    paces: Mapping[str, str] = field(default_factory=dict)
    """The name under which all relays keep a destination's rates together; the destination's own where it is missing here."""


class Accepted(Struct, frozen=True):
    """The result of storing a hook: which deliveries are queued, and which of them are claimed already."""

    new: bool
    """Whether the hook was stored now; false where one with the same bytes was stored before."""
    destinations: tuple[str, ...]
    """The destination of each newly queued delivery."""
    claimed: tuple[Delivery, ...] = ()
    """New deliveries that were claimed in the commit that stores the hook."""
    scheduled: int = 0
    """How many new deliveries wait for their time."""

    @property
    def waiting(self) -> Iterable[str]:
        """The destination of each newly queued delivery that was not claimed."""
        if not self.claimed:
            return self.destinations
        claimed = Counter(delivery.destination for delivery in self.claimed)
        return (Counter(self.destinations) - claimed).elements()


class Claim(Struct, frozen=True):
    """The deliveries that a destination may send now, and when to claim again."""

    deliveries: tuple[Delivery, ...]
    next_due: datetime | None
    """When the next queued delivery is due; None while none is queued, or while that was not asked."""
    not_before: datetime | None = None
    """Nothing was claimed, because other relays have used up the destination's pace until then."""
    full_until: datetime | None = None
    """The destination has reached its hourly limit: nothing may be claimed until then, not even an alert."""


class Settlement(Struct, frozen=True, kw_only=True):
    """How an attempt ended and what follows for its delivery."""

    ending: Ending
    detail: str
    state: State
    ended_at: datetime
    due_at: datetime | None = None
    """When to try again; only for the state QUEUED."""
    counts: bool = False
    """Whether the attempt surely did not deliver, and counts towards giving up."""
    short: bool = False
    receipt: str = ""
    """What the server returned to identify the message; empty keeps the receipt of an earlier attempt."""
    also_queued: tuple[NewDelivery, ...] = ()
    """Deliveries that replace this one, queued in the same commit: to a fallback, or to the present recipients."""


class Gate(Struct, frozen=True):
    """Keeps deliveries to one destination waiting; stored, so that it outlives restarts."""

    closed_until: datetime
    broken_since: datetime | None
    reason: str


@dataclass(slots=True)
class Waits:
    """Which destinations have a timing, and whether any delivery is scheduled. Used by the event loop and the writer's thread."""

    timings: Mapping[str, Timing] = field(default_factory=dict)
    """The timing of each destination in the rules. Kept up to date by the code that loads the rules."""
    some: bool = False
    """Whether deliveries may be scheduled, as far as this relay knows."""
