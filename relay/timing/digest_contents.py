"""The chats of a digest in the order in which they are shown, before any wording."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, groupby

from msgspec import Struct
from msgspec.structs import replace

MOST_SHOWN = 50
"""The most chats that a digest shows; the others are only counted."""
_REASONS = ("hours", "send", "limit", "once per visitor", "muted")
"""The order of a digest's sections."""


class Member(Struct, frozen=True, kw_only=True):
    """One chat of a digest, with the state of its newest hook."""

    account: str
    chat: str
    rules: tuple[str, ...]
    why: str
    arrived: datetime
    """When the chat's first hook arrived."""
    missed: bool = False
    offline: bool = False
    hook_id: int = 0
    updated: datetime
    """When the chat's newest hook arrived."""
    body: bytes = b""
    """The chat's newest hook, compressed; empty for chats that are only counted."""


class Mute(Struct, frozen=True, kw_only=True):
    """The facts that a notification shows about the mute that delayed its chats."""

    by: str
    because: str
    until: datetime


class Group(Struct, frozen=True, kw_only=True):
    """Chats that one rule selected and that waited for one reason."""

    why: str
    rule: str
    count: int
    members: tuple[Member, ...]


class Digest(Struct, frozen=True, kw_only=True):
    """The chats of one digest and the facts that its wording needs."""

    destination: str
    groups: tuple[Group, ...]
    """The groups in the order in which they are shown."""
    count: int
    missed: int = 0
    offline: int = 0
    first: datetime
    last: datetime
    """`first` and `last`: when the first and the last chat of the digest arrived."""
    closed_at: datetime
    due_since: datetime | None = None
    """When the digest was due, if it could not be sent at that time; else None."""
    erased: int = 0
    """How many chats were erased before the digest was sent."""
    mutes: Mapping[str, Mute] = {}
    """The mutes that delayed chats, by the value of `Group.why`."""


def arranged(
    members: Iterable[Member],
    *,
    order: Sequence[str],
    destination: str,
    closed_at: datetime,
    due_since: datetime | None = None,
    erased: int = 0,
    mutes: Mapping[str, Mute] | None = None,
) -> Digest:
    """Return a digest of the members, sorted by reason, by the `order` of the rules, and by time.

    Members about one chat are merged, with the rules of all. The groups contain only the first
    MOST_SHOWN chats; all chats are counted. Raises ValueError without members.
    """
    chats = sorted(_merged_by_chat(members, order), key=lambda chat: _place(chat, order))
    shown = {id(chat) for chat in chats[:MOST_SHOWN]}
    groups = []
    for (why, rule), chats_of_group in groupby(chats, key=lambda chat: (chat.why, chat.rules[0])):
        group = list(chats_of_group)
        first = tuple(chat for chat in group if id(chat) in shown)
        groups.append(Group(why=why, rule=rule, count=len(group), members=first))
    return Digest(
        destination=destination,
        groups=tuple(groups),
        count=len(chats),
        missed=sum(chat.missed and not chat.offline for chat in chats),
        offline=sum(chat.offline for chat in chats),
        first=min(chat.arrived for chat in chats),
        last=max(chat.arrived for chat in chats),
        closed_at=closed_at,
        due_since=due_since,
        erased=erased,
        mutes=mutes or {},
    )


def _merged_by_chat(members: Iterable[Member], order: Sequence[str]) -> Iterator[Member]:
    by_chat: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        by_chat.setdefault((member.account, member.chat), []).append(member)
    for same in by_chat.values():
        first = min(same, key=lambda member: _place(member, order))
        newest = max(same, key=lambda member: member.updated)
        rules = dict.fromkeys(chain.from_iterable(member.rules for member in same))
        yield replace(
            newest,
            rules=tuple(sorted(rules, key=lambda rule: _rank(rule, order))),
            why=first.why,
            arrived=min(member.arrived for member in same),
        )


def _place(member: Member, order: Sequence[str]) -> tuple[object, ...]:
    kind = member.why.partition(":")[0]
    reason = _REASONS.index(kind) if kind in _REASONS else len(_REASONS)
    return reason, member.why, _rank(member.rules[0], order), member.arrived, member.chat


def _rank(rule: str, order: Sequence[str]) -> tuple[int, str]:
    """Return a sort key: rules of the file in their order, then rules that are no longer in it."""
    return (order.index(rule) if rule in order else len(order)), rule
