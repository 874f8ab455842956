"""Plans when a delivery is sent: at once, at the next opening, in a digest, or not at all.

A rule decides whether and to whom a message is sent, its destination decides when. Messages of
`urgent` rules do not wait.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

from relay.timing.schedule import Schedule, first_existing

WAIT, DIGEST, SKIP = "wait", "digest", "skip"
"""The values of `outside_hours:`, besides the name of a destination."""
TOGETHER = timedelta(seconds=1)
"""Deliveries that fall due within this time belong to one digest: two relays may have begun it at nearly the same moment."""
HOURS, SEND, LIMIT, ONCE_PER_VISITOR, MUTED = "hours", "send", "limit", "once per visitor", "muted:"
URGENT = "urgent"
"""The reasons why a delivery waits or is left out. MUTED is followed by the mute's number; URGENT
means that an urgent rule has sent the chat.
"""

IN_TIME = timedelta(minutes=1)
"""A delivery sent within this time after it was due counts as on time, even if the hours have ended since."""
_DAY = timedelta(days=1)
_LEAST = timedelta.resolution
_DAYS_AHEAD = range(-1, 17)
"""Offsets in days that surely include the next given day of the week, even if a time zone skips a day."""


class Every(Struct, frozen=True):
    """`send: every 30m`: a digest this long after the first chat in it."""

    period: timedelta

    def next(self, arrived: datetime, zone: ZoneInfo) -> datetime:  # noqa: ARG002 - as for At
        """Return when a digest that begins with a chat at `arrived` is due.

        Elapsed time; clock changes have no effect.
        """
        return arrived.astimezone(UTC) + self.period


class At(Struct, frozen=True):
    """`send: mon-fri 08:00`: a digest at this local time on these days."""

    days: frozenset[int]
    """Days of the week; 0 is Monday."""
    minute: int
    """Minutes since midnight."""

    def next(self, arrived: datetime, zone: ZoneInfo) -> datetime:
        """Return the digest's next time after `arrived`, in UTC. A chat at exactly such a time waits for the next one."""
        today = arrived.astimezone(zone).date()
        days = (today + number * _DAY for number in _DAYS_AHEAD)
        slots = (
            first_existing(day, self.minute, zone) for day in days if day.weekday() in self.days
        )
        return next(slot for slot in slots if slot > arrived)


class Limit(Struct, frozen=True):
    """`limit: 5 per hour`: this many messages at once, and the rest in a digest at the end of the hour."""

    count: int
    per: timedelta
    per_visitor: bool = False


class OncePer(Struct, frozen=True):
    """`once_per:` of a rule: after a message about a visitor, none about the same visitor for a time."""

    visitor: timedelta
    then: Literal["digest", "nothing"] = "digest"
    """What happens to further messages about the visitor: a digest, or nothing."""


class Timing(Struct, frozen=True, kw_only=True):
    """The timing of a destination in the rules file."""

    hours: Schedule | None = None
    """The opening hours; None means always."""
    outside_hours: str = WAIT
    """WAIT, DIGEST or SKIP; ignored if `instead` is set."""
    instead: str = ""
    """The destination that gets messages outside the hours; empty for none."""
    send: tuple[Every | At, ...] = ()
    """When digests are sent, each at the earliest of these times; () sends each chat at once."""
    limits: tuple[Limit, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """The time zone of the times in `send`."""

    @property
    def waits(self) -> bool:
        """Whether messages to this destination may have to wait."""
        return bool(self.hours or self.send or self.limits)

    @property
    def collects(self) -> bool:
        """Whether the destination may get digests."""
        return bool(self.send or self.limits) or self.outside_hours == DIGEST

    def opening(self, at: datetime) -> datetime:
        """Return the first moment from `at` on within the hours, in UTC; `at` itself if there is none."""
        return (self.hours.next_opening(at) if self.hours else None) or at.astimezone(UTC)

    def postponed_until(self, due: datetime, now: datetime) -> datetime | None:
        """Return until when an overdue delivery waits that would now be sent outside the hours; None to send it now.

        A delivery that was due just before the hours ended is still sent.
        """
        if self.hours is None or (opening := self.opening(now)) == now:
            return None
        in_time = now - due <= IN_TIME and self.opening(due) == due
        return None if in_time else opening

    def slot(self, after: datetime) -> datetime:
        """Return when the digest for a chat at `after` is due: within the hours, in UTC."""
        return self.opening(min(each.next(after, self.zone) for each in self.send))

    def after_hold(self, until: datetime) -> datetime:
        """Return when the digest is due for messages held back until `until`: the next of the times in `send`."""
        if self.send and all(isinstance(each, At) for each in self.send):
            return self.slot(until - _LEAST)  # `until` itself may be a time of a digest
        return self.opening(until)


AT_ONCE = Timing()
"""The timing of a destination that gets every message at once."""


class Mute(Struct, frozen=True, kw_only=True):
    """A request to get no messages for a time."""

    id: int
    rule: str = ""
    """The muted rule; empty means any rule."""
    destination: str = ""
    """The muted destination; empty means any destination."""
    when: str = ""
    """The condition on chats; `plan` treats it as met, because the rules evaluate it."""
    begins: datetime
    until: datetime
    because: str
    by: str
    then: Literal["digest", "nothing"] = "digest"
    """What happens to the muted chats: one digest at the end, or nothing."""
    urgent_too: bool = False
    """Whether urgent rules are muted too. A mute that names a rule always mutes that rule."""
    alerts_too: bool = False
    """Whether the relay's own alerts wait too, each until the end of the mute; only for a mute of a
    destination alone.
    """

    def holds(self, *, rule: str, urgent: bool, destination: str, arrived: datetime) -> bool:
        """Whether the mute applies to a message of a rule to a destination about a chat that arrived at `arrived`."""
        return (
            self.begins <= arrived < self.until
            and self.rule in {"", rule}
            and self.destination in {"", destination}
            and (not urgent or self.urgent_too or bool(self.rule))
        )


class Plan(Struct, frozen=True, kw_only=True):
    """When a delivery is sent, and why it waits."""

    state: Literal["queued", "scheduled", "left out"] = "queued"
    due: datetime | None = None
    """When a scheduled delivery is due, in UTC."""
    why: str = ""
    """HOURS, SEND, LIMIT, SKIP, ONCE_PER_VISITOR, URGENT, or MUTED with a number; empty if the
    delivery does not wait.
    """
    in_digest: bool = False
    """Whether the delivery is part of a digest: those due at one moment for one recipient are sent together."""
    joins: bool = False
    """Whether the delivery joins an earlier digest for its destination and recipient, if one waits already."""
    limited: bool = False
    """Whether the delivery counts towards the limits; if one is exhausted, it waits for a digest."""
    instead: str = ""
    """The destination that gets the message instead; it must be planned there."""
    otherwise: "Plan | None" = None
    """For a delivery left out because of an urgent rule: its plan if the urgent message turns out
    to bring nothing new.
    """

    @property
    def counts_once(self) -> bool:
        """Whether `once_per:` applies to the delivery: not if it is muted or left out."""
        return self.state != "left out" and not self.why.startswith(MUTED)


NOW = Plan()
"""The plan of a delivery that is sent at once."""


def plan(
    *,
    rule: str,
    urgent: bool,
    destination: str,
    timing: Timing,
    mutes: Sequence[Mute] = (),
    arrived: datetime,
) -> Plan:
    """Return the plan for a message of a rule to `destination` about a chat stored at `arrived` (aware).

    `mutes` are those whose condition the chat meets, and those without one. Delayed messages are
    due within the hours.
    """
    muting = [
        mute
        for mute in mutes
        if mute.holds(rule=rule, urgent=urgent, destination=destination, arrived=arrived)
    ]
    if muting:
        return _muted(timing, max(muting, key=lambda mute: mute.until))
    return NOW if urgent else _timed(timing, arrived)


def plan_alert(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """Return NOW; if a mute of the destination covers alerts, a plan for its end, or one that leaves the alert out."""
    return _plan_own(destination, (mute for mute in mutes if mute.alerts_too), now)


def plan_digest(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """Return the plan for a digest: NOW, or at the end of a mute of the destination, or left out.

    Used for digests that are moved to another destination.
    """
    return _plan_own(destination, mutes, now)


def _plan_own(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """Return the plan of a message about no single chat: only a mute of the destination alone can delay it."""
    muting = [
        mute
        for mute in mutes
        if (mute.rule, mute.destination, mute.when) == ("", destination, "")
        and mute.begins <= now < mute.until
    ]
    if not muting:
        return NOW
    mute = max(muting, key=lambda each: each.until)
    why = f"{MUTED}{mute.id}"
    if mute.then == "nothing":
        return Plan(state="left out", why=why)
    return Plan(state="scheduled", due=mute.until, why=why)


def _muted(timing: Timing, mute: Mute) -> Plan:
    why = f"{MUTED}{mute.id}"
    if mute.then == "nothing":
        return Plan(state="left out", why=why)
    return Plan(state="scheduled", due=timing.after_hold(mute.until), why=why, in_digest=True)


def _timed(timing: Timing, arrived: datetime) -> Plan:
    is_open = timing.opening(arrived) == arrived
    if not is_open and timing.instead:
        return Plan(instead=timing.instead)
    if not is_open and timing.outside_hours == SKIP:
        return Plan(state="left out", why=SKIP)
    return _waiting(timing, arrived, is_open=is_open)


def _waiting(timing: Timing, arrived: datetime, *, is_open: bool) -> Plan:
    why = SEND if is_open else HOURS
    if timing.send:
        joins = any(isinstance(each, Every) for each in timing.send)
        due = timing.slot(arrived)
        return Plan(state="scheduled", due=due, why=why, in_digest=True, joins=joins)
    due = timing.opening(arrived)
    if not is_open and timing.outside_hours == DIGEST:
        return Plan(state="scheduled", due=due, why=HOURS, in_digest=True)
    if timing.limits:
        return Plan(state="scheduled", due=due, why="" if is_open else HOURS, limited=True)
    return NOW if is_open else Plan(state="scheduled", due=due, why=HOURS)


def replan(
    *,
    timing: Timing,
    created: datetime,
    why: str,
    in_digest: bool,
    now: datetime,
    held_until: datetime | None = None,
) -> Plan:
    """Return a new plan for a waiting delivery whose destination's timing has changed.

    `created` is when its chat arrived; `why` and `in_digest` are from its previous plan;
    `held_until` is the end of the mute or `once_per` that delays it. The delivery keeps its
    destination and is never left out. If `due` is None, the previous time stays, because it does
    not depend on the timing or is unknown. With `joins`, the first delivery by `created` determines
    when the digest is due.
    """
    if why not in {HOURS, SEND, LIMIT, ""}:
        due = held_until and timing.opening(max(timing.after_hold(held_until), now))
        return Plan(state="scheduled", due=due, why=why, in_digest=in_digest)
    if why == LIMIT and not timing.send:
        # The limits are applied again: they may have changed.
        planned, in_digest = _waiting(timing, now, is_open=timing.opening(now) == now), False
    else:
        planned = _waiting(timing, created, is_open=timing.opening(created) == created)
    # Deliveries in one digest stay together, even if the reason for it is gone.
    in_digest = planned.in_digest or (in_digest and not planned.why)
    due = timing.opening(max(planned.due or created, now))
    if due <= now and not in_digest and not planned.limited:
        return NOW
    return replace(
        planned,
        state="scheduled",
        due=due,
        why=planned.why or (why if in_digest else HOURS if due > now else ""),
        in_digest=in_digest,
        limited=planned.limited and not in_digest,
    )
