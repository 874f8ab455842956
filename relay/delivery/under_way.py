"""Attempts that are under way: begun, and given a decent end when the relay stops."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from relay.delivery.attempt import Attempts
from relay.delivery.lane import Lane
from relay.delivery.settlement import Settling
from relay.outbox import Delivery
from relay.transports import Progress

LONGEST_WRITING = timedelta(seconds=2)
"""At a stop, for writing down how the last attempts ended."""

log = logging.getLogger("relay.delivery.dispatcher")


@dataclass(slots=True)
class _Attempt:
    delivery: Delivery
    progress: Progress = field(default_factory=Progress)
    has_ended: bool = False
    """What is left is to write down how."""


class UnderWay:
    """Each in a task of its own."""

    def __init__(self, making: Attempts, settling: Settling) -> None:
        self._making = making
        self._settling = settling
        self._attempts: dict[asyncio.Task[None], _Attempt] = {}

    def begin(self, lane: Lane, claimed: Iterable[Delivery]) -> None:
        """Needs a running loop."""
        for delivery in claimed:
            attempt = _Attempt(delivery)
            task = asyncio.get_running_loop().create_task(self._attempt(lane, attempt))
            self._attempts[task] = attempt
            task.add_done_callback(self._attempts.pop)

    def all(self) -> set[tuple[int, int]]:
        """Deliveries, each with its attempt."""
        return {(one.delivery.id, one.delivery.attempt) for one in self._attempts.values()}

    async def _attempt(self, lane: Lane, attempt: _Attempt) -> None:
        try:
            outcome = await self._making.make(lane, attempt.delivery, attempt.progress)
        except asyncio.CancelledError:
            outcome = self._making.cut(attempt.progress)
        attempt.has_ended = True
        await self._settling.conclude(lane, attempt.delivery, outcome)

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Give back what has not begun to be sent. What is being sent gets `grace` seconds or until `hurry`."""
        await asyncio.sleep(0)  # what was just claimed begins, or it could not give itself back
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
        cut = [task for task, one in self._attempts.items() if not one.has_ended]
        if cut:
            log.warning("%d messages were sent and not answered; they may arrive twice", len(cut))
        for task in cut:
            task.cancel()
        await self._write_down()

    async def _write_down(self) -> None:
        """How the last attempts ended, as far as the database still takes it."""
        ending = list(self._attempts)
        if ending:
            await asyncio.wait(ending, timeout=LONGEST_WRITING.total_seconds())
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if lost := sum(task.cancelled() or task.exception() is not None for task in ending):
            log.error("how %d attempts ended can't be written down; they are made again", lost)
