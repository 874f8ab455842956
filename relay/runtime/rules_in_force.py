"""The rules in force and everything that depends on them: how hooks are checked and where deliveries go."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from relay.alerts.problem_detection import stranded
from relay.alerts.stored_alert import RuleAlerts
from relay.clock import Background, Clock
from relay.crash_points import CrashPoint, reach
from relay.delivery.attempt import identity_of
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.endpoint import Endpoint
from relay.delivery.lane import Lane
from relay.delivery.redirect import Redirect
from relay.delivery.renderer import Renderer
from relay.delivery.scheduled_deliveries import Release
from relay.destination import Destination
from relay.intake import Taken, digest_delivery, take
from relay.metrics import Metrics
from relay.outbox import Accepted, Delivery, Gate, NewHook, Outbox, StorageUnavailable
from relay.outbox.digests import Digests
from relay.outbox.mutes import follow_file, lasting_mutes
from relay.outbox.pauses import Pause, end_pauses, pauses
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import RuleBook
from relay.rules.reading.mute_reader import with_conditions
from relay.rules.timed_evaluation import Judging
from relay.runtime.startup import Ready
from relay.timing.digest_contents import Digest
from relay.timing.digest_contents import Mute as ToldMute
from relay.timing.plan import Mute, Timing
from relay.transports import Ending, Outcome
from relay.transports.access import Access
from relay.transports.http import LONGEST_WAIT
from relay.transports.registry import TRANSPORTS, most_per_hour, open_transport, place_of

BETWEEN_LOOKS = timedelta(seconds=1)
"""Time between two looks at pauses and mutes in the database."""
LONGEST_SEND = timedelta(minutes=2)
"""Time limit for an alert that is sent without the database, as others have to be sent after it."""

log = logging.getLogger(__name__)


class RulesInForce:
    """The rules and destinations in use, replaced as a whole, so that each hook is checked by exactly one version of the rules."""

    def __init__(
        self,
        ready: Ready,
        outbox: Outbox,
        workers: RenderPool,
        metrics: Metrics,
        clock: Clock,
        *,
        between_looks: timedelta | None = None,
    ) -> None:
        self._between_looks = between_looks or BETWEEN_LOOKS
        self.rules = self._judged_by = ready.rules
        self._secrets = ready.secrets
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self.mail_domain = ready.settings.mail_domain
        self._access = Access(
            ready.settings, lambda name: self._secrets[name].reveal(), clock=clock
        )
        new = partial(digest_delivery, self.mail_domain)
        self._digests = Digests(outbox.operations, new, is_shared=outbox.is_shared)
        self.renderer = Renderer(
            workers, ready.settings.public_url, self._read_digest, self._read_mute
        )
        self._dispatcher = Dispatcher(
            outbox=outbox,
            lanes={},
            render=self.renderer.render,
            redirect=self._redirect,
            metrics=metrics,
            clock=clock,
            random=random.random,
        )
        self._endpoints: dict[str, tuple[object, Endpoint]] = {}
        """The endpoints of all rules that were ever in force, by key, each with its login."""
        self._judging = Judging()
        self._rule_alerts = RuleAlerts(
            self._dispatcher.accept, lambda: self.mutes, mail_domain=self.mail_domain, clock=clock
        )
        acts, wake = [self._digests.close], self._dispatcher.wake
        self._release = Release(
            outbox, acts, wake, clock, redirect=self._redirect, rest=between_looks
        )
        self._background, self._applying = Background(), asyncio.Lock()
        self._pauses: Mapping[str, Pause] = {}
        self._gates: Mapping[str, Gate] = {}  # as they were last read
        self.mutes: tuple[Mute, ...] = ()
        self._followed: tuple[Mute, ...] | None = None
        """The mutes of the rules file as they were last stored in the database."""

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes of all destinations that are served now, by name."""
        return self._dispatcher.lanes

    @property
    def clock_doubt(self) -> str:
        """Why nothing that waits for its time is released, as a sentence; empty where the clock can be trusted."""
        return self._release.doubt

    async def start(self) -> None:
        """Begin to send deliveries. Needs a running event loop."""
        lanes = await self._open_lanes(self.rules)
        with contextlib.suppress(StorageUnavailable):  # the next look does both
            await self._apply_mutes()
            await self._hasten_moved()
        self._dispatcher.start()
        living = self._outbox.share_database(
            clock=self._clock, wake=self._dispatcher.wake, see_gates=self._see_gates
        )
        self._background.start(living, self._watch_mutes_and_pauses())
        await self._dispatcher.change(lanes)
        self._release.change(self._timings())
        self._release.start()
        await self._warn_of_stranded()

    def _timings(self) -> dict[str, Timing]:
        return {name: destination.timing for name, destination in self.rules.destinations.items()}

    def _see_gates(self, changed: Mapping[str, Gate | None]) -> None:
        """Take over gates that another process has closed or opened."""
        for name in changed.keys() & self.lanes.keys():
            self.lanes[name].adopt(changed[name])
        self._dispatcher.wake(changed)

    async def _watch_mutes_and_pauses(self) -> None:
        """Put pauses and mutes that people make on any relay in force, within two seconds."""
        while True:
            await asyncio.sleep(self._between_looks.total_seconds())
            await self.apply_mutes_and_pauses()

    async def apply_mutes_and_pauses(self) -> None:
        """Put the pauses and mutes in the database in force. Never raises: if it fails, the next look does it."""
        try:
            async with self._applying:  # an earlier look must not undo what a later one has seen
                with contextlib.suppress(StorageUnavailable):  # the writer has logged it
                    await self._apply_pauses()
                    await self._apply_mutes()
        except Exception:  # a bug must not let pauses last for ever
            log.exception("looking for pauses and mutes failed; going on")

    async def _apply_mutes(self) -> None:
        sql, now = self._outbox.operations.sql, self._clock()
        if self._followed != (from_file := self.rules.mutes):
            work = partial(follow_file, sql, from_file=from_file, timings=self._timings(), now=now)
            if await self._outbox.run(work):
                self._release.look_now()
            self._followed = from_file
        mutes = await self._outbox.run(partial(lasting_mutes, sql, now=now))
        before, self.mutes = self.mutes, tuple(lasting.mute for lasting in mutes)
        if self.mutes != before:
            self._add_conditions_of_mutes()

    def _add_conditions_of_mutes(self) -> None:
        """Add the conditions of all present mutes to the rules by which chats are checked."""
        self._judged_by = with_conditions(self.rules, self.mutes)

    async def _apply_pauses(self) -> None:
        now, sql = self._clock(), self._outbox.operations.sql
        before, self._pauses = self._pauses, await self._outbox.run(partial(pauses, sql))
        for name, lane in self.lanes.items():
            lane.paused = self._pauses.get(name)
        changed = {name for name, pause in self._pauses.items() if pause != before.get(name)}
        over = [name for name, pause in self._pauses.items() if not pause.lasts(now)]
        if over:
            ending = partial(end_pauses, sql, destinations=over, now=now, early=False)
            await self._outbox.run(ending)
            reach(CrashPoint.PAUSE_OVER)
        self._dispatcher.wake({*changed, *over, *(before.keys() - self._pauses.keys())})

    def wake(self, destinations: Iterable[str]) -> None:
        """Wake the lanes of destinations for which alerts are queued."""
        self._dispatcher.wake(destinations, past_ceiling=True)

    async def look_again(self) -> None:
        """Look for deliveries and open gates, because a command has written to the database."""
        before, self._gates = self._gates, await self._outbox.gates()
        # Unchanged ones are skipped: they may be older than what this relay's lanes are about to write.
        self._see_gates(dict(self._gates.items() - before.items()))
        self._dispatcher.wake(self.lanes)
        self._release.look_now()

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Give deliveries that are being sent `grace` seconds or until `hurry`, then close all connections."""
        await self._release.stop()
        await self._dispatcher.stop(grace, hurry)
        await self._background.stop()  # late, as it renews the leases of what is being sent
        await self._access.close()
        self._judging.close()

    async def change(self, ready: Ready) -> None:
        """Put new rules in force. Destinations that have not changed go on undisturbed."""
        self._secrets = ready.secrets
        left = self._access.renew(ready.settings)
        lanes = await self._open_lanes(ready.rules)
        # Without an await in between: deliveries of the new rules must not be sent by the old lanes.
        self.rules = ready.rules
        self._add_conditions_of_mutes()
        await self._dispatcher.change(lanes)
        self._release.change(self._timings())
        with contextlib.suppress(StorageUnavailable):  # as in `start`
            await self._apply_mutes()
            await self._hasten_moved()
            self._dispatcher.wake(lanes)
        await self._warn_of_stranded()
        if left is not None:
            await left.close()

    async def take(self, body: bytes) -> Taken:
        """Store a hook and begin to send its deliveries. Raises as `intake.take` does."""
        taken = await take(
            body,
            rules=self._judged_by,
            mutes=self.mutes,
            judging=self._judging,
            outbox=self._outbox,
            accept=self._accept,
            alert=self._rule_alerts.queue_alerts,
            now=self._clock(),
            mail_domain=self.mail_domain,
        )
        if taken.new:
            self._metrics.took(
                odd=bool(taken.chat.oddities),
                matched=taken.matched,
                rules_failed=bool(taken.trouble),
            )
        return taken

    async def _accept(self, hook: NewHook) -> Accepted:
        accepted = await self._dispatcher.accept(hook)
        if accepted.scheduled:
            self._release.look_now()
        return accepted

    async def send_once(self, delivery: Delivery) -> Outcome:
        """Make one attempt at a delivery that is not in the database; nothing is stored."""
        lane = self.lanes[delivery.destination]
        to, identity = lane.destination, identity_of(delivery, "")
        notification = await self.renderer.render(delivery, to, bodies=lane.spec.bodies)
        try:
            async with asyncio.timeout(LONGEST_SEND.total_seconds()):
                return await lane.transport.send(notification, delivery.recipient, identity)
        except TimeoutError:
            return Outcome(Ending.LATER, "no answer in time")

    async def _open_lanes(self, rules: RuleBook) -> dict[str, Lane]:
        previous, lanes = self.lanes, dict[str, Lane]()
        # Without the database the gates are learned again from the servers.
        with contextlib.suppress(StorageUnavailable):
            self._gates = await self._outbox.gates()
            self._pauses = await self._outbox.run(partial(pauses, self._outbox.operations.sql))
        for name, destination in rules.destinations.items():
            endpoint, lane = self._endpoint(destination), previous.get(name)
            if lane and lane.destination == destination and lane.endpoint is endpoint:
                lanes[name] = lane
                continue
            lanes[name] = self._new_lane(destination, endpoint)
            with contextlib.suppress(StorageUnavailable):
                if lane is None or lane.endpoint is not endpoint:
                    await self._use(name, endpoint, self._gates.get(name), is_new=lane is None)
        self._limit(lanes)
        return lanes

    def _new_lane(self, destination: Destination, endpoint: Endpoint) -> Lane:
        return Lane(
            destination,
            TRANSPORTS[destination.transport],
            open_transport(destination, self._access),
            endpoint,
            most_per_hour(destination, self._access),
            paused=self._pauses.get(destination.name),
        )

    def _limit(self, lanes: Mapping[str, Lane]) -> None:
        most = {name: lane.most_per_hour for name, lane in lanes.items() if lane.most_per_hour}
        # Updated in place, as the writer's thread reads it at any time.
        limits = self._outbox.operations.most_per_hour
        limits.update(most)
        for name in limits.keys() - most.keys():
            del limits[name]

    async def _hasten_moved(self) -> None:
        """Make deliveries due whose recipient is no longer in the rules, so that the present recipients get them."""
        now, redirect = self._clock(), self._redirect()
        for name, waiting in (await self._outbox.run(self._outbox.operations.waiting_for)).items():
            if redirect.has_left(name, waiting):
                await self._outbox.hasten(name, now)

    async def _warn_of_stranded(self) -> None:
        """Log a warning for destinations that were renamed or removed while deliveries wait for them."""
        with contextlib.suppress(StorageUnavailable):  # `Watch` looks regularly
            summary = await self._outbox.summary()
            for name, words in stranded(summary.waiting, self.rules.destinations).items():
                log.warning("%s: %s", name, words)

    def _endpoint(self, destination: Destination) -> Endpoint:
        """The endpoint of a destination. Another login makes another endpoint, which keeps the pace."""
        place = place_of(destination, self._access)
        login, endpoint = self._endpoints.get(place.key, (None, Endpoint(place.key)))
        if login != place.login:
            endpoint = endpoint.renewed()
        self._endpoints[place.key] = place.login, endpoint
        return endpoint

    async def _use(self, name: str, endpoint: Endpoint, gate: Gate | None, *, is_new: bool) -> None:
        """Note that a destination uses an endpoint from now on. `gate`: the one stored under the destination's name.

        Unless the destination is new to this process, the stored gate belonged to another endpoint.
        """
        now = self._clock()
        if gate is not None and gate.broken_since is not None:
            if endpoint.gate is None:
                # It may have been repaired meanwhile: try one delivery at once.
                endpoint.close(replace(gate, closed_until=min(gate.closed_until, now)))
        elif gate is not None and is_new:
            endpoint.adopt(replace(gate, closed_until=min(gate.closed_until, now + LONGEST_WAIT)))
        elif gate is not None:
            await self._outbox.hasten(name, now)
            await self._outbox.open_gate(name)
        if endpoint.gate is not None:
            endpoint.stored_for.add(name)
            if gate is None or not is_new:
                await self._outbox.close_gate(name, endpoint.gate)

    async def _read_digest(self, delivery: Delivery) -> Digest | None:
        order = [rule.name for rule in self.rules.rules]
        return await self._outbox.run(partial(self._digests.read, body=delivery.body, order=order))

    async def _read_mute(self, delivery: Delivery) -> ToldMute | None:
        return await self._outbox.run(partial(self._digests.mute, why=delivery.why))

    def _redirect(self) -> Redirect:
        return Redirect(self._judged_by, self.mail_domain, self.mutes)
