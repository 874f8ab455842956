"""The loop that empties the outbox: claim, render, send, settle. The only place that tries again."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.delivery.attempt import Attempts, RenderDelivery, Renderings
from relay.delivery.endpoint import Endpoint
from relay.delivery.lane import Lane
from relay.delivery.redirect import Redirect
from relay.delivery.retry import LONGEST_WAIT, Random
from relay.delivery.settlement import WAIT_FOR_STORAGE, RunningAttempts, Settling
from relay.metrics import Metrics
from relay.outbox import (
    Accepted,
    Delivery,
    NewDelivery,
    NewHook,
    Outbox,
    Places,
    StorageUnavailable,
)
from relay.outbox.delivery_types import is_alert
from relay.outbox.leases import LEASE

SLOWEST_LOOK = timedelta(seconds=60)
"""The longest time between two looks at the outbox, when nothing wakes the lane."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Serves every destination in a task of its own, so that none waits for another."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        lanes: Mapping[str, Lane],
        render: RenderDelivery,
        redirect: Callable[[], Redirect],
        metrics: Metrics,
        clock: Clock,
        random: Random,
    ) -> None:
        self._outbox = outbox
        making = Attempts(outbox=outbox, render=render, redirect=redirect, random=random)
        self._making = making
        self._settling = Settling(
            outbox=outbox,
            making=making,
            redirect=redirect,
            lanes=self,
            metrics=metrics,
            clock=clock,
        )
        self._running = RunningAttempts(making, self._settling)
        self._clock = clock
        self._services = {name: _Service(lane) for name, lane in lanes.items()}
        _set_siblings(lanes.values())
        self._sweeping: asyncio.Task[None] | None = None
        self._claim_failed = asyncio.Event()
        """Set when a claim failed that may have been stored all the same."""
        self._accepting: set[asyncio.Task[Accepted]] = set()

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes of all destinations that are served now, by name."""
        return {name: service.lane for name, service in self._services.items()}

    def start(self) -> None:
        """Begin to send. Needs a running event loop."""
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        for service in self._services.values():
            self._begin(service)

    def wake(self, destinations: Iterable[str], *, past_ceiling: bool = False) -> None:
        """Let the lanes of `destinations` look for newly queued deliveries.

        `past_ceiling`: an alert is queued, to which the hourly limit does not apply.
        """
        for name in set(destinations) & self._services.keys():
            if past_ceiling:
                self._services[name].lane.full_until = None
            self._services[name].lane.falls_due(self._clock())
            self._services[name].woken.set()

    async def accept(self, hook: NewHook) -> Accepted:
        """Store a hook and queue its deliveries.

        Where a lane has room, they are claimed in the same commit and begun. Raises StorageUnavailable. If the caller
        is cancelled meanwhile, it is not known whether the hook is stored.
        """
        reserved = self._reserve(hook)
        if not reserved:
            accepted = await self._outbox.accept(hook)
            self.wake(accepted.waiting, past_ceiling=is_alert(hook.chat.account, hook.chat.id))
            return accepted
        # In a task of its own, so that claimed deliveries are sent even if the caller is cancelled.
        accepting = asyncio.get_running_loop().create_task(self._accept(hook, reserved))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        return await asyncio.shield(accepting)

    def _reserve(self, hook: NewHook) -> list[tuple[Lane, NewDelivery]]:
        """The deliveries of a hook that may be claimed at once, each with the lane that has room for it."""
        return [
            (service.lane, new)
            for new in hook.deliveries
            if new.is_plain
            if (service := self._services.get(new.destination))
            if service.is_begun and not service.ended
            if service.lane.reserve(hook.received_at)
        ]

    async def _accept(
        self, hook: NewHook, reserved: Sequence[tuple[Lane, NewDelivery]]
    ) -> Accepted:
        lanes = [lane for lane, _ in reserved]
        places = Places(
            free=Counter(lane.name for lane in lanes),
            lease=LEASE,
            rates={lane.name: lane.pacer.rates for lane in lanes if lane.pacer.rates},
            paces={lane.name: lane.pace.name for lane in lanes},
        )
        # Storing and rendering take about as long, on the disk and on other processors.
        renderings = {
            new.message_id: self._making.begin_rendering(lane, new.first_attempt(hook))
            for lane, new in reserved
        }
        try:
            accepted = await self._outbox.accept(hook, places)
            for lane in {lane.name: lane for lane in lanes}.values():
                begun = [each for each in accepted.claimed if each.destination == lane.name]
                self._start(lane, begun, hook.received_at, renderings)
        except StorageUnavailable:
            # Until a claim works again, hooks are stored without claiming.
            self.wake(places.free)
            self._claim_failed.set()
            raise
        finally:
            for lane in lanes:
                lane.release()
                self.look_again(lane)
                self._wake_siblings(lane)
            for unused in renderings.values():
                unused.cancel()
        self.wake(accepted.waiting, past_ceiling=is_alert(hook.chat.account, hook.chat.id))
        return accepted

    def _start(
        self,
        lane: Lane,
        claimed: Sequence[Delivery],
        now: datetime,
        renderings: Renderings | None = None,
    ) -> None:
        """Begin an attempt at each claimed delivery, removing what it uses from `renderings`. `now`: when they were claimed."""
        lane.claimed(claimed, now)
        self._running.begin(lane, claimed, renderings or {})

    def lane(self, destination: str) -> Lane | None:
        """The lane of a destination; None where the destination is not served."""
        service = self._services.get(destination)
        return service.lane if service else None

    def leading_to(self, endpoint: Endpoint) -> list[Lane]:
        """The lanes that are served now and use `endpoint`."""
        return [each.lane for each in self._services.values() if each.lane.endpoint is endpoint]

    def look_again(self, lane: Lane) -> None:
        """Let the lane look at its queue again, because it may claim more now, or sooner."""
        service = self._services.get(lane.name)
        if service is not None and service.lane.next_due is not None:
            service.woken.set()

    def _wake_siblings(self, lane: Lane) -> None:
        for sibling in lane.waiting_siblings():
            self.look_again(sibling)

    async def change(self, lanes: Mapping[str, Lane]) -> None:
        """Serve these lanes from now on. A lane that is the same object goes on undisturbed."""
        removed = [s for name, s in self._services.items() if lanes.get(name) is not s.lane]
        unchanged = {name: s for name, s in self._services.items() if lanes.get(name) is s.lane}
        added = {name: _Service(lane) for name, lane in lanes.items() if name not in unchanged}
        self._services = {**unchanged, **added}
        await self._end(removed)
        _set_siblings(lanes.values())
        for service in added.values():
            self._begin(service)
        for name in unchanged:
            self.look_again(lanes[name])

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Claim nothing more, and give back what is not being sent yet.

        Deliveries that are being sent get `grace` seconds or until `hurry`, then they are cut off.
        """
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._end(list(self._services.values()))
        await self._running.stop(grace, hurry)

    async def _end(self, services: Collection["_Service"]) -> None:
        """End the tasks of services without cancelling them, so that a claim in progress is finished."""
        for service in services:
            service.ended = True
            service.woken.set()
        tasks = [service.task for service in services if service.task is not None]
        await asyncio.gather(*tasks, *self._accepting, return_exceptions=True)

    # -- claim ----------------------------------------------------------------------------------------

    def _begin(self, service: "_Service") -> None:
        service.lane.falls_due(self._clock())  # earlier deliveries may wait
        service.task = asyncio.get_running_loop().create_task(self._serve(service))

    async def _serve(self, service: "_Service") -> None:
        lane = service.lane
        while not service.ended:
            service.woken.clear()
            # The same time for both checks: with a later one, a lane that is not free yet would seem to
            # wait for something else, and nothing would wake it.
            now = self._clock()
            try:
                await self._follow_clock(service, now)
                await self._settling.fall_back(lane, now)
                if not service.ended and not await self._claim(lane, now):
                    await self._rest(service, now)
            except StorageUnavailable:
                await asyncio.sleep(WAIT_FOR_STORAGE.total_seconds())
            except Exception:
                # A bug must not stop a destination for ever.
                log.exception("serving %s failed; going on", lane.name)
                await asyncio.sleep(WAIT_FOR_STORAGE.total_seconds())

    async def _follow_clock(self, service: "_Service", now: datetime) -> None:
        """Make due what was scheduled by a clock that was wrong, before the start or since the last look."""
        lane = service.lane
        if lane.is_before(now):
            log.warning("the clock was set back; what is queued for %s is due now", lane.name)
            await self._outbox.recall(lane.name, now, beyond=now)
        elif not service.is_begun:
            await self._outbox.recall(lane.name, now, beyond=now + LONGEST_WAIT)
        service.is_begun = True
        lane.note_time(now)

    async def _claim(self, lane: Lane, now: datetime) -> bool:
        slots = lane.slots(now)
        if slots == 0 or lane.next_due is None or lane.next_due > now:
            return False
        prefer_due_after = lane.claim_begins(now)
        next_due: datetime | None = now
        took_nothing = False
        try:
            claim = await self._outbox.claim(
                lane.name,
                now=now,
                lease=LEASE,
                limit=slots,
                suspects=1 - lane.suspects_in_flight,
                prefer_due_after=prefer_due_after,
                rates=lane.pacer.rates,
                pace=lane.pace.name,
            )
            lane.full_until = claim.full_until
            if claim.not_before is None:
                next_due, took_nothing = claim.next_due, not claim.deliveries
            else:
                lane.pacer.wait_until(claim.not_before)
        except StorageUnavailable:
            self._claim_failed.set()
            raise
        finally:
            lane.claim_ended(next_due, took_nothing=took_nothing)
            self._wake_siblings(lane)
        self._start(lane, claim.deliveries, now)
        return bool(claim.deliveries)

    async def _rest(self, service: "_Service", now: datetime) -> None:
        wakes_at = service.lane.wakes_at(now)
        wait = SLOWEST_LOOK
        if wakes_at is not None and wakes_at > now:
            wait = min(wakes_at - now, SLOWEST_LOOK)
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await service.woken.wait()
        except TimeoutError:
            if wakes_at is None:
                service.lane.falls_due(self._clock())

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOWEST_LOOK.total_seconds()):
                    await self._claim_failed.wait()
            self._claim_failed.clear()
            try:
                await self.take_back()
            except StorageUnavailable:
                await asyncio.sleep(WAIT_FOR_STORAGE.total_seconds())
                self._claim_failed.set()

    async def take_back(self) -> None:
        """Queue again the deliveries that nobody is sending; never those that this process is sending, even if the clock jumped ahead."""
        under_way = self._running.all()
        if expired := await self._outbox.expire_leases(self._clock(), under_way=under_way):
            log.warning("deliveries queued again, as they were not under way any more: %d", expired)
            self.wake(self._services)


def _set_siblings(lanes: Iterable[Lane]) -> None:
    """Let the lanes that use the same endpoint know each other."""
    by_endpoint: dict[str, list[Lane]] = {}
    for lane in lanes:
        lane.siblings = by_endpoint.setdefault(lane.endpoint.key, [])
        by_endpoint[lane.endpoint.key].append(lane)


@dataclass(slots=True)
class _Service:
    """A lane, and the task that serves it."""

    lane: Lane
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_begun: bool = False
    ended: bool = False
    task: asyncio.Task[None] | None = None
