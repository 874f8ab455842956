"""Stores what follows an attempt, for the delivery and for its destination; and keeps track of the attempts being made."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from relay.clock import Clock
from relay.delivery.attempt import Attempts, Rendering, Renderings, log_attempt
from relay.delivery.endpoint import Endpoint
from relay.delivery.lane import Lane, Lesson
from relay.delivery.redirect import Redirect
from relay.metrics import Metrics
from relay.outbox import Delivery, Gate, Outbox, State, StorageUnavailable
from relay.transports import Outcome, Progress
from relay.transports.registry import cure_in_words

WAIT_FOR_STORAGE = timedelta(seconds=1)
_SUCCESSFUL = {State.DELIVERED, State.ACCEPTED}

T = TypeVar("T")

log = logging.getLogger("relay.delivery.dispatcher")


class Lanes(Protocol):
    """The lanes of the destinations that are served now."""

    def lane(self, destination: str) -> Lane | None:
        """The lane of a destination; None where the rules no longer have it."""

    def leading_to(self, endpoint: Endpoint) -> list[Lane]:
        """The lanes of all destinations behind an endpoint."""

    def look_again(self, lane: Lane) -> None:
        """Let the lane look at its queue again, because it may claim more now, or sooner."""

    def wake(self, destinations: Iterable[str], *, past_ceiling: bool = False) -> None:
        """Let the lanes of `destinations` look for newly queued deliveries.

        `past_ceiling`: an alert is queued, to which the hourly limit does not apply.
        """


class Settling:
    """Stores the outcomes of attempts, and retries until each is stored, as a lost one would mean sending again."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        making: Attempts,
        redirect: Callable[[], Redirect],
        lanes: Lanes,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._making = making
        self._redirect = redirect
        self._lanes = lanes
        self._metrics = metrics
        self._clock = clock
        self.is_cut = False
        """Set when the relay stops: what can't be stored at once is left."""

    async def conclude(self, lane: Lane, delivery: Delivery, outcome: Outcome) -> None:
        """Settle an attempt by its outcome, and let its lane learn from it. Tries until the database takes it."""
        now = self._clock()
        # If the rules have changed meanwhile, the outcome may be about an endpoint that is no longer used.
        present = self._lanes.lane(lane.name)
        is_present = present is not None and present.endpoint is lane.endpoint
        is_present = is_present or bool(self._lanes.leading_to(lane.endpoint))
        lesson = lane.learn(delivery, outcome, now) if is_present else Lesson.NONE
        settlement = self._making.settlement_after(lane, delivery, outcome, now)
        self._metrics.attempted(delivery.destination, outcome.ending)
        log_attempt(delivery, outcome, settlement)
        if lesson is Lesson.NONE and settlement.state in _SUCCESSFUL:
            # Its place is free now, so that the next claim shares the commit.
            lane.ended(delivery)
            self._lanes.look_again(lane)
        try:
            queued = await self._retry_storing(lambda: self._outbox.settle(delivery, settlement))
            self._lanes.wake(queued, past_ceiling=delivery.is_alert)
        finally:
            lane.ended(delivery)
        await self._store_lesson(lane, lesson, now)
        if present := self._lanes.lane(lane.name):
            if delivery.is_alert:
                present.full_until = None  # the next claim asks when the alert is due
            present.falls_due(settlement.due_at)
            self._lanes.look_again(present)

    async def _store_lesson(self, lane: Lane, lesson: Lesson, now: datetime) -> None:
        """Store what an attempt says about its destination, unless another attempt has said something else since."""
        match lesson:
            case Lesson.WORKS_AGAIN if not lane.is_broken:
                log.info(
                    "%s works again; what waited for it is sent, as fast as its limits allow",
                    lane.name,
                )
                await self._hasten(lane, now)
                await self._open_gate(lane.endpoint)
            case Lesson.BLIP_OVER:
                # What failed in the blip need not wait as long as its schedule says. Only after one failure:
                # what fails by its own fault would be tried at each success of another.
                await self._retry_storing(lambda: self._outbox.hasten(lane.name, now, blips=True))
                lane.falls_due(now)
            case Lesson.MUST_WAIT | Lesson.BROKE if (gate := lane.gate) is not None:
                if lesson is Lesson.BROKE:
                    log.error(
                        "%s is broken, its deliveries wait: %s%s",
                        *(lane.name, gate.reason, cure_in_words(gate.reason, lane.name)),
                    )
                await self._close_gate(lane, gate)

    async def _hasten(self, lane: Lane, now: datetime) -> None:
        """Make everything due that waits for the lane's endpoint, for whichever destination."""
        for affected in {
            each.name: each for each in (lane, *self._lanes.leading_to(lane.endpoint))
        }.values():
            await self._retry_storing(partial(self._outbox.hasten, affected.name, now))
            affected.falls_due(now)
            self._lanes.look_again(affected)

    async def _close_gate(self, lane: Lane, gate: Gate) -> None:
        """Store the gate for each destination with deliveries queued at the endpoint, so that each is shown as broken."""
        endpoint = lane.endpoint
        with_queued = {other.name for other in self._lanes.leading_to(endpoint) if other.next_due}
        for name in sorted({lane.name, *with_queued, *endpoint.stored_for}):
            if endpoint.gate is not gate:
                return  # it has changed, and the change is stored elsewhere
            endpoint.stored_for.add(name)
            await self._retry_storing(partial(self._outbox.close_gate, name, gate))

    async def _open_gate(self, endpoint: Endpoint) -> None:
        while endpoint.gate is None and endpoint.stored_for:
            name = min(endpoint.stored_for)
            await self._retry_storing(partial(self._outbox.open_gate, name))
            if endpoint.gate is None:
                endpoint.stored_for.discard(name)  # not sooner: see Lane.adopt

    async def fall_back(self, lane: Lane, now: datetime) -> None:
        """Send to the fallback, once, what has waited too long for a destination that is broken or silent."""
        queued_by = lane.falls_back_before(now)
        fallback = self._lanes.lane(lane.destination.fallback)
        if queued_by is None or fallback is None or fallback.is_broken or fallback.breaker.is_open:
            return
        done = await self._outbox.reassign(
            lane.name,
            lambda delivery: self._redirect().to_fallback(delivery, lane.destination, now),
            queued_by=queued_by,
            words=f"{fallback.name} gets it instead: {lane.name} has not taken it in time",
            now=now,
        )
        if done.moved:
            log.warning(
                "deliveries to %s that go to its fallback %s: %d",
                lane.name,
                fallback.name,
                done.moved,
            )
            self._lanes.wake(done.queued)

    async def _retry_storing(self, act: Callable[[], Awaitable[T]]) -> T:
        """Run `act` until the database accepts it, but only once while the relay stops."""
        while True:
            try:
                return await act()
            except StorageUnavailable:
                if self.is_cut:
                    raise
                await asyncio.sleep(WAIT_FOR_STORAGE.total_seconds())


LONGEST_WRITING = timedelta(seconds=2)
"""How long a stop waits for the outcomes of the last attempts to be stored."""


@dataclass(slots=True)
class _Attempt:
    delivery: Delivery
    rendering: Rendering | None
    progress: Progress = field(default_factory=Progress)
    has_ended: bool = False
    """Whether only the outcome has still to be stored."""


class RunningAttempts:
    """The attempts that are being made, each in a task of its own."""

    def __init__(self, making: Attempts, settling: Settling) -> None:
        self._making = making
        self._settling = settling
        self._attempts: dict[asyncio.Task[None], _Attempt] = {}

    def begin(self, lane: Lane, claimed: Iterable[Delivery], renderings: Renderings) -> None:
        """Begin the attempts at claimed deliveries, removing what they use from `renderings`. Needs a running event loop."""
        for delivery in claimed:
            attempt = _Attempt(delivery, renderings.pop(delivery.message_id, None))
            task = asyncio.get_running_loop().create_task(self._attempt(lane, attempt))
            self._attempts[task] = attempt
            task.add_done_callback(self._attempts.pop)

    def all(self) -> set[tuple[int, int]]:
        """The deliveries that are being sent, each with the number of its attempt."""
        return {(each.delivery.id, each.delivery.attempt) for each in self._attempts.values()}

    async def _attempt(self, lane: Lane, attempt: _Attempt) -> None:
        try:
            outcome = await self._making.make(
                lane, attempt.delivery, attempt.progress, attempt.rendering
            )
        except asyncio.CancelledError:
            outcome = self._making.cut(attempt.progress)
        attempt.has_ended = True
        await self._settling.conclude(lane, attempt.delivery, outcome)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Give back what is not being sent yet. Deliveries that are being sent get `grace` seconds or until `hurry`."""
        await asyncio.sleep(0)  # let new attempts begin, or they could not be given back
        for task, attempt in self._attempts.items():
            if not attempt.progress.is_sending and not attempt.has_ended:
                task.cancel()
        if self._attempts:
            loop = asyncio.get_running_loop()
            done = loop.create_task(asyncio.wait(self._attempts))
            hurried = loop.create_task(hurry.wait())
            await asyncio.wait({done, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            done.cancel()
            hurried.cancel()
        self._settling.is_cut = True
        cut = [task for task, attempt in self._attempts.items() if not attempt.has_ended]
        if cut:
            log.warning(
                "messages that were sent and not answered, and may arrive twice: %d", len(cut)
            )
        for task in cut:
            task.cancel()
        await self._write_down()

    async def _write_down(self) -> None:
        """Store the outcomes of the last attempts, as far as the database accepts them in time."""
        ending = list(self._attempts)
        if ending:
            await asyncio.wait(ending, timeout=LONGEST_WRITING.total_seconds())
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if lost := sum(task.cancelled() or task.exception() is not None for task in ending):
            log.error(
                "attempts whose end can't be written down, and which are made again: %d", lost
            )
