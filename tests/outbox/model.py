"""What the outbox promises, in plain Python and without a disk: the state machine compares the two after each step."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from relay.outbox import Delivery, Gate, NewHook, Places, Settlement, State
from relay.outbox.delivery_types import BLIP
from relay.outbox.leases import MOST_LOST, WAITS_WHEN_BLAMED
from relay.timing.plan import TOGETHER
from relay.transports import Ending

Key = tuple[str, str, str]
"""Chat, rule, destination: each has one recipient here."""
LIVE = {State.QUEUED, State.SENDING}
ARRIVED = {State.DELIVERED, State.ACCEPTED}


@dataclass
class Queued:
    """A delivery, whatever became of it."""

    message_id: str
    due: datetime
    since: datetime
    """Queued since then; a resend begins again."""
    state: State = State.QUEUED
    generation: int = 1
    attempts: int = 0
    failures: int = 0
    unsure: int = 0
    lost: int = 0
    suspect: bool = False
    short: bool = False
    lease_until: datetime | None = None
    receipt: str = ""
    in_digest: bool = False
    """It waits for a digest."""
    digest: Key | None = None
    """The digest that it was put into."""
    endings: dict[int, str] = field(default_factory=dict)
    """Of each attempt; empty while it is under way."""

    def released(self, now: datetime) -> None:
        self.state, self.due, self.since, self.in_digest = State.QUEUED, now, now, False


@dataclass
class Model:
    """All of it."""

    deliveries: dict[Key, Queued] = field(default_factory=dict)
    """In the order in which they were queued."""
    hooks: set[tuple[str, bytes]] = field(default_factory=set)
    first_seen: dict[str, datetime] = field(default_factory=dict)
    last_seen: dict[str, datetime] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)

    def accept(self, hook: NewHook, places: Places) -> tuple[bool, list[str], list[Key]]:
        """Whether it is new, to which destinations something is queued that was not before, and what is claimed."""
        first = self.first_seen.setdefault(hook.chat.id, hook.received_at)
        self.last_seen[hook.chat.id] = hook.received_at
        if (hook.chat.id, hook.body) in self.hooks:
            return False, [], []
        self.hooks.add((hook.chat.id, hook.body))
        queued = list(self._queue(hook))
        free = dict(places.free) if first == hook.received_at else {}
        claimed = []
        for key in queued:
            free[key[2]] = free.get(key[2], 0) - 1
            if free[key[2]] >= 0:
                self.claimed(key, hook.received_at + places.lease)
                claimed.append(key)
        return True, [key[2] for key in queued], claimed

    def _queue(self, hook: NewHook) -> Iterable[Key]:
        for one in hook.deliveries:
            key = (hook.chat.id, one.rule, one.destination)
            if key not in self.deliveries:
                due, state = one.plan.due or hook.received_at, State(one.plan.state)
                self.deliveries[key] = Queued(one.message_id, due, hook.received_at, state)
                self.deliveries[key].in_digest = one.plan.in_digest
                if state is State.QUEUED:
                    yield key

    def release(self, known: Iterable[str], now: datetime) -> list[str]:
        """Of each that is due, at destinations that are known, where it goes; the most due first."""
        found = [
            (key, one)
            for key, one in self.deliveries.items()
            if one.state is State.SCHEDULED and not one.in_digest
            if one.due <= now and key[2] in known
        ]
        found.sort(key=lambda pair: pair[1].due)
        for _, one in found:
            one.released(now)
        return [key[2] for key, _ in found]

    def due_in_digest(self, known: Iterable[str], now: datetime) -> list[Key]:
        """What is in the digest that is closed now, of the first destination that one is due for."""
        for destination in sorted(known):
            found = [
                key
                for key, one in self.deliveries.items()
                if key[2] == destination and one.state is State.SCHEDULED and one.in_digest
                if one.due <= now + TOGETHER
            ]
            if any(self.deliveries[key].due <= now for key in found):
                return found
        return []

    def close(self, members: list[Key], digest: Key, message_id: str, now: datetime) -> None:
        """They become one delivery more, of a chat of its own."""
        self.deliveries[digest] = Queued(message_id, now, now)
        self.first_seen[digest[0]] = self.last_seen[digest[0]] = now
        for key in members:
            self.deliveries[key].state, self.deliveries[key].digest = State.IN_DIGEST, digest

    def due(self, destination: str, now: datetime, *, suspect: bool) -> list[Key]:
        """The most due first; those due at the same moment as they came."""
        found = [
            (key, one)
            for key, one in self.deliveries.items()
            if key[2] == destination and one.state is State.QUEUED
            if one.suspect is suspect and one.due <= now
        ]
        return [key for key, _ in sorted(found, key=lambda pair: pair[1].due)]

    def claimable(
        self,
        destination: str,
        now: datetime,
        limit: int,
        suspects: int,
        after: datetime | None = None,
    ) -> list[Key]:
        """Suspects come first; and of the others, what fell due after a moment, if anything did."""
        first = self.due(destination, now, suspect=True)[: min(limit, suspects)]
        others = self.due(destination, now, suspect=False)
        new = [key for key in others if after and self.deliveries[key].due > after]
        return first + (new or others)[: limit - len(first)]

    def next_due(self, destination: str) -> datetime | None:
        queued = [
            one.due
            for key, one in self.deliveries.items()
            if key[2] == destination and one.state is State.QUEUED
        ]
        return min(queued, default=None)

    def claimed(self, key: Key, lease_until: datetime) -> None:
        one = self.deliveries[key]
        one.state, one.lease_until = State.SENDING, lease_until
        one.attempts += 1
        one.endings[one.attempts] = ""

    def settle(self, key: Key, delivery: Delivery, said: Settlement) -> None:
        """By whoever claimed it, once or again, in time or too late."""
        one = self.deliveries[key]
        one.endings[delivery.attempt] = said.ending.value
        is_ours = one.state is State.SENDING and one.attempts == delivery.attempt
        if is_ours:
            self._settled(one, said)
        elif (
            said.ending in {Ending.DELIVERED, Ending.ACCEPTED}
            and one.state not in ARRIVED
            # It was sent again by hand meanwhile: that is another message.
            and one.message_id == delivery.message_id
        ):
            one.state, one.lease_until = said.state, None
        if is_ours:
            for also in said.also_queued:
                fallback = (key[0], also.rule, also.destination)
                self.deliveries.setdefault(
                    fallback, Queued(also.message_id, said.ended_at, said.ended_at)
                )

    def _settled(self, one: Queued, said: Settlement) -> None:
        one.state, one.lease_until = said.state, None
        one.due = said.due_at or one.due
        one.failures += said.counts
        one.unsure += said.ending is Ending.MAYBE_DELIVERED
        one.suspect, one.lost, one.short = False, 0, said.short
        one.receipt = said.receipt or one.receipt

    def lose(self, ended_by: datetime | None, now: datetime) -> int:
        """Leases that ended by then, or all; returns how many."""
        lost = [
            one
            for one in self.deliveries.values()
            if one.lease_until and (ended_by is None or one.lease_until <= ended_by)
        ]
        for one in lost:
            one.endings[one.attempts] = one.endings[one.attempts] or "lost"
            one.lost += one.suspect
            one.suspect, one.lease_until = True, None
            one.state = State.QUARANTINED if one.lost >= MOST_LOST else State.QUEUED
            if one.lost:
                one.due = now + WAITS_WHEN_BLAMED[min(one.lost, 2) - 1]
        return len(lost)

    def resend(self, key: Key, message_id: str, now: datetime) -> None:
        one = self.deliveries[key]
        one.due = now
        if one.state is State.QUEUED:
            return
        if one.state is State.SCHEDULED:
            one.released(now)
            return
        one.in_digest = False
        one.state, one.message_id, one.receipt, one.since = State.QUEUED, message_id, "", now
        one.generation += 1
        one.failures = one.unsure = one.lost = 0
        one.suspect = one.short = False

    def hasten(self, destination: str, now: datetime, *, blips: bool) -> None:
        for key, one in self.deliveries.items():
            waits = one.due > (now if blips else one.since)
            is_blip = one.failures == 1 and not one.unsure and one.due <= now + BLIP
            is_meant = is_blip or not blips
            if key[2] == destination and one.state is State.QUEUED and waits and is_meant:
                one.due = min(one.since, now)

    def recall(self, destination: str, now: datetime, beyond: datetime) -> None:
        for key, one in self.deliveries.items():
            if key[2] == destination and one.state is State.QUEUED and one.due > beyond:
                one.due = min(one.since, now)

    def forget(self, before: datetime, known: Collection[str]) -> set[str]:
        """Chats last heard of before then, unless something is still to be done for them; returns them.

        `known`: the destinations in the rules; none where they are not known yet.
        """
        live = {
            key[0] for key, one in self.deliveries.items() if self._lives(key, one, before, known)
        }
        old = {chat for chat, seen in self.last_seen.items() if seen < before} - live
        self.deliveries = {key: one for key, one in self.deliveries.items() if key[0] not in old}
        self.hooks = {hook for hook in self.hooks if hook[0] not in old}
        for seen in (self.first_seen, self.last_seen):
            for chat in old:
                del seen[chat]
        return old

    def _lives(self, its: Key, one: Queued, before: datetime, known: Collection[str]) -> bool:
        if one.state is State.SCHEDULED:
            return not known or its[2] in known or one.due >= before
        digest = one.digest and one.digest[0]
        return one.state in LIVE or any(
            other.state in LIVE for key, other in self.deliveries.items() if key[0] == digest
        )

    def close_gate(self, destination: str, gate: Gate) -> None:
        """The moment since which it is broken stays."""
        before = self.gates.get(destination)
        since = (before and before.broken_since) or gate.broken_since
        self.gates[destination] = Gate(gate.closed_until, since, gate.reason)
