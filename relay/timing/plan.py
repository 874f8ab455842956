"""When a notification is sent: at once, at the next opening, in a digest, or not at all.

A rule says whether and to whom. The destination says when. `urgent` rules do not wait.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

from relay.timing.schedule import Schedule, first_existing

WAIT, DIGEST, SKIP = "wait", "digest", "skip"
"""What `outside_hours:` may say, beside the name of a destination."""
HOURS, SEND, LIMIT, ONCE_PER_VISITOR, MUTED = "hours", "send", "limit", "once per visitor", "muted:"
URGENT = "urgent"
"""Why a delivery waits or is left out; MUTED is followed by the mute's number; URGENT: an urgent rule has told."""

IN_TIME = timedelta(minutes=1)
"""What is sent no later than this after it was due was sent in time, though its hours have ended since."""
_DAY = timedelta(days=1)
_LEAST = timedelta.resolution
_DAYS_AHEAD = range(-1, 17)
"""In which the next day of a week surely lies, also where a zone leaves out a whole day."""


class Every(Struct, frozen=True):
    """`send: every 30m`: a digest so long after the first chat that waits for it."""

    period: timedelta

    def next(self, arrived: datetime, zone: ZoneInfo) -> datetime:  # noqa: ARG002 - as for At
        """When the digest is due that a chat begins; elapsed time, whatever the clock on the wall does."""
        return arrived.astimezone(UTC) + self.period


class At(Struct, frozen=True):
    """`send: mon-fri 08:00`: a digest at this time of these days, by the clock on the wall."""

    days: frozenset[int]
    """0 is Monday."""
    minute: int
    """Of the day."""

    def next(self, arrived: datetime, zone: ZoneInfo) -> datetime:
        """The first such time after `arrived`, in UTC. Who arrives at that very moment is in the next digest."""
        today = arrived.astimezone(zone).date()
        days = (today + number * _DAY for number in _DAYS_AHEAD)
        slots = (
            first_existing(day, self.minute, zone) for day in days if day.weekday() in self.days
        )
        return next(slot for slot in slots if slot > arrived)


class Limit(Struct, frozen=True):
    """`limit: 5 per hour`: so many at once, the rest in a digest at the end of that hour."""

    count: int
    per: timedelta
    per_visitor: bool = False


class OncePer(Struct, frozen=True):
    """`once_per:` of a rule: after one about a visitor, no other about the same visitor for so long."""

    visitor: timedelta
    then: Literal["digest", "nothing"] = "digest"
    """What becomes of the others."""


class Timing(Struct, frozen=True, kw_only=True):
    """When a destination is told, as the rules file says it."""

    hours: Schedule | None = None
    """None: at all times."""
    outside_hours: str = WAIT
    """WAIT, DIGEST or SKIP; no matter where `instead` is set."""
    instead: str = ""
    """Another destination that is told outside the hours."""
    send: tuple[Every | At, ...] = ()
    """When digests are sent, each at the first of these; () is at once, each chat by itself."""
    limits: tuple[Limit, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """For the times in `send`."""

    @property
    def waits(self) -> bool:
        """Whether anything sent here may ever have to wait."""
        return bool(self.hours or self.send or self.limits)

    @property
    def collects(self) -> bool:
        """Whether it may be told in digests."""
        return bool(self.send or self.limits) or self.outside_hours == DIGEST

    def opening(self, at: datetime) -> datetime:
        """The first moment at or after `at` within the hours, in UTC; `at` itself where they never come."""
        return (self.hours.next_opening(at) if self.hours else None) or at.astimezone(UTC)

    def put_off(self, due: datetime, now: datetime) -> datetime | None:
        """Until when something waits that was due before and is sent only `now`, outside the hours; None: it is sent.

        What was due just before they ended is still sent.
        """
        if self.hours is None or (opening := self.opening(now)) == now:
            return None
        in_time = now - due <= IN_TIME and self.opening(due) == due
        return None if in_time else opening

    def slot(self, after: datetime) -> datetime:
        """When the digest is due that a chat is in which arrives at `after`: within the hours, in UTC."""
        return self.opening(min(each.next(after, self.zone) for each in self.send))

    def after_hold(self, until: datetime) -> datetime:
        """When the digest is due of what something else held back `until` then: the next of the times in `send`."""
        if self.send and all(isinstance(each, At) for each in self.send):
            return self.slot(until - _LEAST)  # the end itself may be a time of the digests
        return self.opening(until)


AT_ONCE = Timing()
"""Of a destination that is told of everything at once."""


class Mute(Struct, frozen=True, kw_only=True):
    """What somebody does not want to be told for a while."""

    id: int
    rule: str = ""
    """The rule that is muted; empty: whatever rule it is."""
    destination: str = ""
    """The destination that is muted; empty: whichever it is."""
    when: str = ""
    """A condition that rules judge: `plan` takes it as met."""
    begins: datetime
    until: datetime
    because: str
    by: str
    then: Literal["digest", "nothing"] = "digest"
    """What becomes of the chats: one digest at the end, or nothing."""
    urgent_too: bool = False
    """Also of urgent rules, where no rule is named: a rule that is named is muted, urgent or not."""
    alerts_too: bool = False
    """Also the relay's own alerts, each sent by itself at the end; only where nothing but a destination is named."""

    def holds(self, *, rule: str, urgent: bool, destination: str, arrived: datetime) -> bool:
        """Whether it keeps back what this rule tells this destination of a chat that arrives now."""
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
    """For scheduled: UTC."""
    why: str = ""
    """HOURS, SEND, LIMIT, SKIP, ONCE_PER_VISITOR, URGENT or MUTED with a number; empty where nothing keeps it back."""
    in_digest: bool = False
    """All that is due in digests at one moment, for one recipient, is one notification."""
    joins: bool = False
    """It goes with a digest that is due earlier, where one already waits for this destination and recipient."""
    limited: bool = False
    """It counts towards the limits; where one of them is used up it waits for a digest."""
    instead: str = ""
    """The destination that is told in the place of this one: to be planned there."""
    otherwise: "Plan | None" = None
    """What holds for one that is left out because of an urgent rule, where that one has nothing new to tell."""

    @property
    def counts_once(self) -> bool:
        """Whether `once_per:` is asked: not of what a mute holds back, nor of what is left out."""
        return self.state != "left out" and not self.why.startswith(MUTED)


NOW = Plan()
"""At once."""


def plan(
    *,
    rule: str,
    urgent: bool,
    destination: str,
    timing: Timing,
    mutes: Sequence[Mute] = (),
    arrived: datetime,
) -> Plan:
    """When `destination` is told what a rule has for it, of a chat whose hook was stored at `arrived` (aware).

    `mutes`: those whose condition the chat meets, and those without one. What waits is due within the hours.
    """
    muting = [
        each
        for each in mutes
        if each.holds(rule=rule, urgent=urgent, destination=destination, arrived=arrived)
    ]
    if muting:
        return _muted(timing, max(muting, key=lambda each: each.until))
    return NOW if urgent else _timed(timing, arrived)


def plan_alert(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """NOW; where a mute of the destination says `alerts_too`, at its end, by itself, or left out."""
    return _plan_own(destination, (mute for mute in mutes if mute.alerts_too), now)


def plan_digest(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """NOW; where the destination is muted, at the end of the mute, by itself, or left out. For one that others could not be told of."""
    return _plan_own(destination, mutes, now)


def _plan_own(destination: str, mutes: Iterable[Mute], now: datetime) -> Plan:
    """Of what is about no one chat: only a mute of the destination alone can hold it back."""
    found = [
        mute
        for mute in mutes
        if (mute.rule, mute.destination, mute.when) == ("", destination, "")
        and mute.begins <= now < mute.until
    ]
    if not found:
        return NOW
    mute = max(found, key=lambda each: each.until)
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
    """What becomes of a delivery that waits, where its destination's timing has changed.

    `created`: when its chat arrived; `why` and `in_digest`: as it was planned. What waits is never left out and stays
    with its destination. `held_until`: when the mute or the `once_per` ends, or has ended, that holds it back. `due`
    None: its moment stays, for it does not come from the timing, or nobody knows any more when that ends.
    Where it `joins`, the first by `created` says when the digest is due.
    """
    if why not in {HOURS, SEND, LIMIT, ""}:
        due = held_until and timing.opening(max(timing.after_hold(held_until), now))
        return Plan(state="scheduled", due=due, why=why, in_digest=in_digest)
    if why == LIMIT and not timing.send:
        # The limits are asked again: they may be others now.
        planned, in_digest = _waiting(timing, now, is_open=timing.opening(now) == now), False
    else:
        planned = _waiting(timing, created, is_open=timing.opening(created) == created)
    # What is collected already stays together, also where the reason for it is gone.
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
