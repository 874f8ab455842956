"""The chats of a digest, in the order in which they are shown. Pure: no words, no templates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, groupby

from msgspec import Struct
from msgspec.structs import replace

MOST_SHOWN = 50
"""Chats of a digest; the others are counted."""
_REASONS = ("hours", "send", "limit", "once per visitor", "muted")
"""The order of the sections."""


class Member(Struct, frozen=True, kw_only=True):
    """One chat of a digest, as its newest hook tells of it."""

    account: str
    chat: str
    rules: tuple[str, ...]
    why: str
    arrived: datetime
    """When its first hook came in."""
    missed: bool = False
    offline: bool = False
    hook_id: int = 0
    heard: datetime
    """When its newest hook came in."""
    body: bytes = b""
    """The newest hook, compressed; only of those that are shown."""


class Mute(Struct, frozen=True, kw_only=True):
    """What a notification says of the mute that held its chats back."""

    by: str
    because: str
    until: datetime


class Group(Struct, frozen=True, kw_only=True):
    """The chats that one rule asked for and that waited for one reason."""

    why: str
    rule: str
    count: int
    members: tuple[Member, ...]


class Digest(Struct, frozen=True, kw_only=True):
    """All that a digest is written from: its chats, where it goes, and when it was closed."""

    destination: str
    groups: tuple[Group, ...]
    """In the order in which they are shown."""
    count: int
    missed: int = 0
    offline: int = 0
    first: datetime
    last: datetime
    """When the first and the last of its chats came in."""
    closed_at: datetime
    due_since: datetime | None = None
    """When it was due, where nothing could be sent then; else None."""
    erased: int = 0
    """How many of its chats were erased meanwhile."""
    mutes: Mapping[str, Mute] = {}
    """By what is said in `Group.why`."""


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
    """The members as they are shown: by reason, by the `order` of the rules, by time. There must be one.

    Members about the same chat become one, with the rules of all. Only the first MOST_SHOWN are in the groups; the
    counts are of all.
    """
    chats = sorted(_each_chat_once(members, order), key=lambda one: _place(one, order))
    shown = {id(one) for one in chats[:MOST_SHOWN]}
    groups = []
    for (why, rule), found in groupby(chats, key=lambda one: (one.why, one.rules[0])):
        group = list(found)
        kept = tuple(one for one in group if id(one) in shown)
        groups.append(Group(why=why, rule=rule, count=len(group), members=kept))
    return Digest(
        destination=destination,
        groups=tuple(groups),
        count=len(chats),
        missed=sum(one.missed and not one.offline for one in chats),
        offline=sum(one.offline for one in chats),
        first=min(one.arrived for one in chats),
        last=max(one.arrived for one in chats),
        closed_at=closed_at,
        due_since=due_since,
        erased=erased,
        mutes=mutes or {},
    )


def _each_chat_once(members: Iterable[Member], order: Sequence[str]) -> Iterator[Member]:
    by_chat: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        by_chat.setdefault((member.account, member.chat), []).append(member)
    for same in by_chat.values():
        first = min(same, key=lambda one: _place(one, order))
        newest = max(same, key=lambda one: one.heard)
        rules = dict.fromkeys(chain.from_iterable(one.rules for one in same))
        yield replace(
            newest,
            rules=tuple(sorted(rules, key=lambda rule: _rank(rule, order))),
            why=first.why,
            arrived=min(one.arrived for one in same),
        )


def _place(member: Member, order: Sequence[str]) -> tuple[object, ...]:
    kind = member.why.partition(":")[0]
    reason = _REASONS.index(kind) if kind in _REASONS else len(_REASONS)
    return reason, member.why, _rank(member.rules[0], order), member.arrived, member.chat


def _rank(rule: str, order: Sequence[str]) -> tuple[int, str]:
    """Rules that are no longer in the file come last."""
    return (order.index(rule) if rule in order else len(order)), rule
