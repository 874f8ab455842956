"""Simulates what would be sent and when, for chats that arrive one after another. Nothing is sent or stored."""

import heapq
from collections.abc import Hashable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from relay.timing.plan import LIMIT, ONCE_PER_VISITOR, TOGETHER, Limit, OncePer, Plan, Timing


class PlannedDelivery(Struct, frozen=True, kw_only=True):
    """A delivery as planned when its chat arrives."""

    chat: str
    visitor: str
    rule: str
    destination: str
    recipient: str
    arrived: datetime
    """When the chat arrives, as an aware datetime; never before the chat of an earlier delivery."""
    plan: Plan
    timing: Timing
    once_per: OncePer | None = None


class Sent(Struct, frozen=True, kw_only=True):
    """A notification that would be sent."""

    at: datetime
    destination: str
    recipient: str
    members: tuple[PlannedDelivery, ...]

    @property
    def chats(self) -> int:
        """How many chats the notification has; several for a digest."""
        return len({each.chat for each in self.members})

    @property
    def longest_wait(self) -> timedelta:
        """The time between the first chat's arrival and the notification."""
        return max(self.at - each.arrived for each in self.members)


class Simulation:
    """Simulates deliveries: `add` them in the order of arrival, then `run` to the end or to a moment."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.left_out: list[PlannedDelivery] = []
        self._waiting: list[tuple[datetime, int, PlannedDelivery]] = []
        """A heap of waiting deliveries: due time, number in the order of arrival, and delivery."""
        self._count = 0
        self._digests: dict[Hashable, set[datetime]] = {}
        """The due times of waiting digests, by destination and recipient."""
        self._windows: dict[Hashable, tuple[datetime, int]] = {}
        """For each limit: when its window began, and how many messages were sent in it."""
        self._notified: dict[Hashable, datetime] = {}
        """When a rule last sent a recipient something about a visitor."""

    def add(self, delivery: PlannedDelivery) -> None:
        """Add a delivery, after sending those that are due before it arrives."""
        self.run(delivery.arrived)
        plan = self._once(delivery)
        delivery = replace(delivery, plan=plan)
        if plan.state == "left out":
            self.left_out.append(delivery)
        elif plan.state == "queued":
            self._send(delivery.arrived, [delivery])
        else:
            due = plan.due or delivery.arrived
            if plan.joins:
                due = min([due, *self._digests.get(_reader(delivery), ())])
            self._wait(due, delivery)
            self.run(delivery.arrived)

    def take(self) -> list[Sent]:
        """Return the notifications sent since the previous call."""
        sent, self.sent = self.sent, []
        return sent

    def run(self, until: datetime | None = None) -> list[Sent]:
        """Send what is due by `until`, or everything that waits. Returns all notifications since the beginning."""
        while self._waiting and (until is None or self._waiting[0][0] <= until):
            now = self._waiting[0][0]
            due_now = self._taken(now)
            digests = [entry for entry in due_now if entry[2].plan.in_digest]
            for _, _, delivery in due_now:
                if not delivery.plan.in_digest:
                    self._release(now, delivery)
            if digests:
                self._close_digests(now, digests)
        return self.sent

    def _taken(self, until: datetime) -> list[tuple[datetime, int, PlannedDelivery]]:
        """Remove and return what is due by `until`."""
        taken = []
        while self._waiting and self._waiting[0][0] <= until:
            taken.append(heapq.heappop(self._waiting))
        return taken

    def _wait(self, due: datetime, delivery: PlannedDelivery) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, delivery))
        if delivery.plan.in_digest:
            self._digests.setdefault(_reader(delivery), set()).add(due)

    def _release(self, now: datetime, delivery: PlannedDelivery) -> None:
        full_until = self._ask_limits(now, delivery) if delivery.plan.limited else None
        if full_until is None:
            self._send(now, [delivery])
            return
        plan = replace(delivery.plan, why=LIMIT, in_digest=True, limited=False)
        self._wait(delivery.timing.opening(full_until), replace(delivery, plan=plan))

    def _ask_limits(self, now: datetime, delivery: PlannedDelivery) -> datetime | None:
        """Count a delivery towards the limits, or return when the last exhausted limit is reset."""
        windows = {
            _key(limit, delivery): (limit, *self._window(now, _key(limit, delivery), limit))
            for limit in delivery.timing.limits
        }
        full = [begin + limit.per for limit, begin, used in windows.values() if used >= limit.count]
        if full:
            return max(full)
        self._windows |= {key: (begin, used + 1) for key, (_, begin, used) in windows.items()}
        return None

    def _window(self, now: datetime, key: Hashable, limit: Limit) -> tuple[datetime, int]:
        begin, used = self._windows.get(key, (now, 0))
        return (begin, used) if now < begin + limit.per else (now, 0)

    def _close_digests(
        self, now: datetime, members: list[tuple[datetime, int, PlannedDelivery]]
    ) -> None:
        """Send digests with these members, and with others that are due nearly at the same time."""
        digests: dict[Hashable, list[PlannedDelivery]] = {_reader(each): [] for *_, each in members}
        for entry in (*members, *self._taken(now + TOGETHER)):
            due, _, delivery = entry
            reader = _reader(delivery)
            if delivery.plan.in_digest and reader in digests:
                digests[reader].append(delivery)
                self._digests[reader].discard(due)
            else:
                heapq.heappush(self._waiting, entry)
        for digest in digests.values():
            self._send(now, digest)

    def _send(self, at: datetime, members: list[PlannedDelivery]) -> None:
        first = members[0]
        self.sent.append(
            Sent(
                at=at,
                destination=first.destination,
                recipient=first.recipient,
                members=tuple(members),
            )
        )

    def _once(self, delivery: PlannedDelivery) -> Plan:
        """Return a delivery's plan, changed if its rule recently sent the recipient a message about the visitor."""
        once, plan = delivery.once_per, delivery.plan
        if once is None or not plan.counts_once or not delivery.visitor:
            return plan
        key = (delivery.rule, delivery.destination, delivery.recipient, delivery.visitor)
        first = self._notified.get(key)
        if first is None or delivery.arrived >= first + once.visitor:
            self._notified[key] = delivery.arrived
            return plan
        if once.then == "nothing":
            return Plan(state="left out", why=ONCE_PER_VISITOR)
        due = delivery.timing.after_hold(first + once.visitor)
        return Plan(state="scheduled", due=due, why=ONCE_PER_VISITOR, in_digest=True)


def _reader(delivery: PlannedDelivery) -> Hashable:
    return (delivery.destination, delivery.recipient)


def _key(limit: Limit, delivery: PlannedDelivery) -> Hashable:
    of = delivery.visitor if limit.per_visitor else ""
    return (delivery.destination, delivery.recipient, limit, of)
