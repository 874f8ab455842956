"""What goes into the outbox and what comes out of it: values, their columns, and the keys by which visitors are found.

How moments, words and records are kept in the columns: milliseconds since 1970 UTC, text that every database takes, bytes.

By what the chats of one visitor are found again: numbers, made of the visitor's address and id, kept with each hook.

An address itself could be of any length, and would stand in an index after its hook was erased.

What goes into the outbox and what comes out of it: frozen values, no SQL.
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
from relay.transports.outcome import Ending

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
SHORT = 512
"""Bytes of a record, up to which packing it takes longer than what it saves is worth."""


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware datetime."""
    return round((moment - _EPOCH) / _MILLISECOND)


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def maybe_time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def storable(text: str) -> str:
    """What every database takes: no NUL, no lone surrogates. For words of servers, which may hold anything."""
    if text.isprintable():
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def packed(record: bytes) -> bytes:
    """A record of verdicts, which is JSON, as it is kept."""
    return record if len(record) <= SHORT else zlib.compress(record, 1)


def unpacked(kept: bytes) -> bytes:
    """The record of verdicts that `packed` was given."""
    is_packed = kept[:1] == b"x"  # as zlib begins, and no JSON
    return zlib.decompress(kept) if is_packed else kept


NONE, SEVERAL = 0, 1
"""Keys of a visitor without an address, and of one with several: those are told apart by the hooks themselves."""


def keys_of(visitor: Visitor) -> dict[str, int]:
    """The values of `hooks.email_key` and `hooks.visitor_key`."""
    addresses = canonical_addresses(visitor.email)
    return {
        "email_key": SEVERAL if len(addresses) > 1 else key_of("".join(addresses)),
        "visitor_key": key_of(visitor.id),
    }


def visitor_key(visitor: Visitor) -> str:
    """The value of `deliveries.visitor`: equal for one address however it is spelled, else for one id.

    Empty for neither.
    """
    name = min(canonical_addresses(visitor.email), default="") or visitor.id
    return str(key_of(name)) if name else ""


def key_of(text: str) -> int:
    """A number of 64 bits; `text` is a canonical address or a visitor's id."""
    if not text:
        return NONE
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], signed=True) | 2  # neither NONE nor SEVERAL


class State(StrEnum):
    """Where a delivery stands. The first three are live, the others are history."""

    QUEUED = "queued"
    SENDING = "sending"
    """Claimed: an attempt is under way, until its lease ends."""
    SCHEDULED = "scheduled"
    """Waits for its time: `due_at` says until when, `why` says why."""
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """Taken by a server that posts out of our sight."""
    MAYBE_DELIVERED = "maybe delivered"
    """The answer was lost and a repeat is left to a person."""
    FAILED = "failed"
    QUARANTINED = "quarantined"
    """Again and again the relay died while this one was under way."""
    MOVED = "moved"
    """Others have taken its place: the present recipients of its destination, or those of another."""
    IN_DIGEST = "in digest"
    """Its chat was put into a digest, which is a delivery of its own."""
    LEFT_OUT = "left out"
    """Nobody was to hear of it: muted, outside hours, or once per visitor."""


BLIP = timedelta(seconds=30)
"""What failed once waits no longer by the schedule: if it does, the server asked for it."""
ITSELF = ""
"""The account of alerts, which the relay sends about itself, and of digests. A hook's account is never empty."""
DIGEST = "digest:"
"""How the chat of a digest is called, with the digest's number behind."""


def is_digest(account: str, chat: str) -> bool:
    """Whether it is no chat but a digest of several."""
    return account == ITSELF and chat.startswith(DIGEST)


def is_alert(account: str, chat: str) -> bool:
    """Whether it is no chat but what the relay says about itself."""
    return account == ITSELF and not chat.startswith(DIGEST)


class StorageUnavailable(Exception):
    """The database can't write just now (disk full, locked, I/O error). Nothing was kept; try again later."""


class StorageRefused(Exception):
    """The database can't be opened as it is. A sentence that says what to do."""


class Collision(Exception):
    """Raised where tables are not as a migration expects them: another relay changes them too, or they are not a relay's."""


class NewDelivery(Struct, frozen=True, kw_only=True):
    """One notification to be queued."""

    rule: str
    template: str
    destination: str
    recipient: str
    message_id: str
    instead_of: str = ""
    """The destination where it failed, if this one is its fallback."""
    plan: Plan = NOW
    """When it is sent."""
    visitor: str = ""
    """The key of the visitor, where it does not come with a hook: for limits per visitor."""
    once_per: OncePer | None = None
    """What holds it back where its rule has told this recipient of the same visitor before."""

    @property
    def is_plain(self) -> bool:
        """Whether it is queued at once, whatever was told before."""
        return self.plan is NOW and self.once_per is None

    def first_attempt(
        self, hook: "NewHook", *, delivery_id: int = 0, hook_id: int = 0
    ) -> "Delivery":
        """What a claim would read from the database, where nothing was told of the chat before."""
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
    """A hook that has been read, with what the rules made of it."""

    body: bytes
    chat: Chat
    received_at: datetime
    rules_hash: str
    verdicts: bytes = b""
    """What the rules said of it, to be asked about later; opaque here."""
    trouble: str = ""
    """What went wrong while the rules were asked, empty if nothing did."""
    deliveries: tuple[NewDelivery, ...] = ()


class Delivery(Struct, frozen=True, kw_only=True):
    """A claimed delivery: everything an attempt needs."""

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
    """When it was queued, where it was scheduled before."""
    attempt: int = 1
    """This attempt's number, from 1: also the fencing token of its lease."""
    failures: int = 0
    """Earlier attempts that surely did not deliver."""
    unsure: int = 0
    """Earlier attempts whose answer was lost."""
    short: bool = False
    """Send the short form: the server found the whole too long or too rich."""
    suspect: bool = False
    """Whether it was under way when a process died, and may be why: others like it wait while it is tried."""
    receipt: str = ""
    """What an earlier attempt got from the server; empty if none did."""
    thread_receipt: str = ""
    """The receipt of the first delivery about the same chat to the same recipient."""
    body: bytes
    """The hook's raw bytes; an alert's own where `account` is ITSELF."""
    instead_of: str = ""
    """The destination where it failed, if this one is its fallback."""
    quiet: bool = False
    """Whether it mentions nobody, as another one does that was released with it."""
    why: str = ""
    """What it waited for; empty where it was queued at once."""

    @property
    def queued_at(self) -> datetime:
        """Since when a delivery may be sent: by this it has its age, and a mail its date."""
        return self.released_at or self.created_at

    @property
    def is_alert(self) -> bool:
        """Whether it is about the relay itself, and about no chat."""
        return is_alert(self.account, self.chat)

    @property
    def is_digest(self) -> bool:
        """Whether it is about several chats, which are read when it is sent."""
        return is_digest(self.account, self.chat)


@dataclass(frozen=True, slots=True)
class Places:
    """What a hook may have claimed in the commit that keeps it, where nothing else that is due waits."""

    free: Mapping[str, int]
    """How many deliveries, by destination."""
    lease: timedelta
    rates: Mapping[str, Sequence[Rate]]
    """The rates of these destinations that the caller keeps by itself."""
    paces: Mapping[str, str] = field(default_factory=dict)
    """Under which name all relays keep the rates of a destination together; its own where none stands here."""


class Accepted(Struct, frozen=True):
    """What became of a hook that is on disk: which of its deliveries were claimed, and which destinations have more."""

    new: bool
    """False: these very bytes were here before."""
    destinations: tuple[str, ...]
    """A destination for every delivery that is newly queued."""
    claimed: tuple[Delivery, ...] = ()
    """New deliveries that were claimed in the commit that keeps the hook."""
    scheduled: int = 0
    """How many new deliveries wait for their time."""

    @property
    def waiting(self) -> Iterable[str]:
        """A destination for every delivery that is newly queued and has to be claimed."""
        if not self.claimed:
            return self.destinations
        claimed = Counter(delivery.destination for delivery in self.claimed)
        return (Counter(self.destinations) - claimed).elements()


class Claim(Struct, frozen=True):
    """What one destination may send now, and when it should ask again."""

    deliveries: tuple[Delivery, ...]
    next_due: datetime | None
    """When the next queued delivery falls due; None while nothing more is queued, or while that was not asked."""
    not_before: datetime | None = None
    """Other relays have used up the destination's pace: nothing was claimed, and may be until then."""
    full_until: datetime | None = None
    """The destination has had its most for an hour: until then nothing may be claimed, not even an alert of our own."""


class Settlement(Struct, frozen=True, kw_only=True):
    """How an attempt ended and what follows for its delivery."""

    ending: Ending
    detail: str
    state: State
    ended_at: datetime
    due_at: datetime | None = None
    """For QUEUED: when to try again."""
    counts: bool = False
    """Whether the attempt surely delivered nothing, and counts towards giving up."""
    short: bool = False
    receipt: str = ""
    """What the server gave us to find the message again; empty keeps what an earlier attempt got."""
    also_queued: tuple[NewDelivery, ...] = ()
    """Deliveries that take its place, queued in the same commit: those to a fallback, or to present recipients."""


class Gate(Struct, frozen=True):
    """A destination that must wait, as it is kept over restarts."""

    closed_until: datetime
    broken_since: datetime | None
    reason: str


@dataclass(slots=True)
class Waits:
    """Whether deliveries wait for their time. Used by both threads."""

    timings: Mapping[str, Timing] = field(default_factory=dict)
    """The timing of each destination in the rules, kept up to date by whoever knows the rules."""
    some: bool = False
    """Some may be scheduled, as far as this relay knows."""
