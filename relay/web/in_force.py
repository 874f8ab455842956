"""The rules in force, and all that hangs on them: what hooks are judged by and where deliveries go."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import attrgetter

from relay.clock import Clock
from relay.destination import Destination, Secret
from relay.dispatcher import Dispatcher
from relay.fallback import owe_fallback
from relay.intake import Taken, take
from relay.lane import Lane
from relay.metrics import Metrics
from relay.outbox import Delivery, Gate, NewDelivery, Outbox, StorageUnavailable
from relay.render_process.pool import RenderPool
from relay.rendering import Renderer
from relay.rules import RuleBook
from relay.settings import Settings
from relay.startup import Ready
from relay.transports.access import Access
from relay.transports.far_end import LONGEST_WAIT
from relay.transports.registry import TRANSPORTS, open_transport


class InForce:
    """Replaced as one: each hook is judged by exactly one version of the rules."""

    def __init__(
        self,
        ready: Ready,
        outbox: Outbox,
        workers: RenderPool,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._ready = ready
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self.mail_domain = ready.settings.mail_domain
        self._access = Access(
            ready.settings, lambda name: self._ready.secrets[name].reveal(), clock=clock
        )
        self._dispatcher = Dispatcher(
            outbox=outbox,
            lanes={},
            render=Renderer(workers, ready.settings.public_url).render,
            owe_fallback=self._owe_fallback,
            metrics=metrics,
            clock=clock,
            random=random.random,
        )
        self._neighbourhood: asyncio.Task[None] | None = None

    @property
    def rules(self) -> RuleBook:
        return self._ready.rules

    @property
    def lanes(self) -> Mapping[str, Lane]:
        return self._dispatcher.lanes

    async def start(self) -> None:
        """Begin to send."""
        lanes = self._open_lanes({}, await self._outbox.gates())
        self._dispatcher.start()
        living = self._outbox.live_with_neighbours(
            clock=self._clock, wake=self._dispatcher.wake, see_gates=self._see_gates
        )
        self._neighbourhood = asyncio.create_task(living)
        await self._dispatcher.change(lanes)

    def _see_gates(self, changed: Mapping[str, Gate | None]) -> None:
        """Another process met a destination that must wait, or that works again."""
        for name in changed.keys() & self.lanes.keys():
            self.lanes[name].hear(changed[name])
        self._dispatcher.wake(changed)

    def wake(self, destinations: Iterable[str]) -> None:
        """Something is owed to these."""
        self._dispatcher.wake(destinations)

    async def look_again(self) -> None:
        """A command has written into the database: anything may be owed, and a gate may be open."""
        gates = await self._outbox.gates()
        self._see_gates({name: gates[name] for name in self.lanes.keys() & gates.keys()})
        self._dispatcher.wake(self.lanes)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Give what is being sent `grace` seconds or until `hurry`, then let go of all connections."""
        await self._dispatcher.stop(grace, hurry)
        if self._neighbourhood is not None:
            # Not sooner: until here it keeps others from taking up what is being sent.
            self._neighbourhood.cancel()
            await asyncio.wait([self._neighbourhood])
        await self._access.close()

    async def change(self, ready: Ready) -> None:
        """Judge and deliver by these from now on. Destinations that are the same go on undisturbed."""
        before, self._ready = self._ready, ready
        left = self._access.renew(ready.settings)
        now_there = ready.rules.destinations
        renewed = {
            name
            for name, lane in self.lanes.items()
            if name in now_there
            and _secrets_of(before, lane.destination) != _secrets_of(ready, now_there[name])
        }
        kept = {
            name: lane
            for name, lane in self.lanes.items()
            if now_there.get(name) == lane.destination and name not in renewed
        }
        gates: dict[str, Gate] = {}
        # While the storage is away nothing is known of them: the far ends say it again.
        with contextlib.suppress(StorageUnavailable):
            gates = await self._gates(renewed)
        await self._dispatcher.change(self._open_lanes(kept, gates))
        if left is not None:
            await left.close()

    async def _gates(self, renewed: Iterable[str]) -> dict[str, Gate]:
        """Without those that asked for patience with a secret that is no longer used: what waited for that is due."""
        gates = await self._outbox.gates()
        for name in gates.keys() & set(renewed):
            if gates[name].broken_since is None:
                del gates[name]
                await self._outbox.open_gate(name)
                await self._outbox.hasten(name, self._clock())
        return gates

    async def take(self, body: bytes) -> Taken:
        """Keep a hook and begin to send what is owed for it; raises as `intake.take` does."""
        taken = await take(
            body,
            rules=self._ready.rules,
            outbox=self._outbox,
            accept=self._dispatcher.accept,
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

    def _open_lanes(self, kept: Mapping[str, Lane], gates: Mapping[str, Gate]) -> dict[str, Lane]:
        """`gates`: of those destinations that have to wait."""
        return {
            name: kept.get(name) or self._open_lane(destination, gates.get(name))
            for name, destination in self._ready.rules.destinations.items()
        }

    def _open_lane(self, destination: Destination, gate: Gate | None) -> Lane:
        transport = open_transport(destination, self._access)
        lane = Lane(destination, TRANSPORTS[destination.transport], transport)
        if gate is not None:
            now = self._clock()
            # A broken one may have been mended meanwhile: look at once, by one delivery.
            longest = now if gate.broken_since is not None else now + LONGEST_WAIT
            lane.gate = replace(gate, closed_until=min(gate.closed_until, longest))
        return lane

    def _owe_fallback(self, delivery: Delivery, failed: Destination) -> Iterable[NewDelivery]:
        return owe_fallback(delivery, failed, self._ready.rules.recipients, self.mail_domain)


def _secrets_of(ready: Ready, destination: Destination) -> list[object]:
    """A webhook may be another one under the same name, and a login have another password."""
    named = (value for value in destination.options.values() if isinstance(value, Secret))
    needed = TRANSPORTS[destination.transport].needs
    settings = (name for option in destination.options for name in needed.get(option, ()))
    return [
        *(ready.secrets.get(secret.name) for secret in named),
        *(_LOGINS[name](ready.settings) for name in settings if name in _LOGINS),
    ]


_LOGINS: Mapping[str, Callable[[Settings], object]] = {
    "RELAY_SMTP_URL": attrgetter("smtp"),
    "RELAY_SLACK_TOKEN": attrgetter("slack_token"),
}
