"""The current time, deadlines for short operations, background tasks, and work that goes before other work."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

Clock = Callable[[], datetime]
"""A function that returns the current time as an aware datetime in UTC. Tests pass their own."""


Rest = Callable[[float], None]
"""A function that lets its thread sleep for so many seconds. Tests pass their own."""


def utc_now() -> datetime:
    """Return the system's time as an aware datetime in UTC."""
    return datetime.now(UTC)


def pause(seconds: float) -> None:
    """Let this thread sleep; return at once if the call fails because the system's clock jumped."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        time.sleep(seconds)


LOOKS = 10
"""The most checks for expired work within one deadline."""
LATEST = 1.0
"""The most seconds that work may exceed its deadline."""


class Deadline:
    """Raises TimeoutError in work that takes longer than `seconds`.

    Use it as `with deadline.start(): ...`. This costs a quarter of `asyncio.timeout`, because one
    timer serves all the work. Work may run over its deadline by a tenth of `seconds`, and at most
    by one second.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._apart = min(seconds / LOOKS, LATEST)
        self._running: dict[Running, float] = {}
        """The loop time at which each piece of work expires, earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> "Running":
        """Return a context manager for one `with` block. Raises RuntimeError outside a task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can have a deadline")
        loop = task.get_loop()
        running = Running(self._running, task)
        self._running[running] = due = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look, loop)
        return running

    def end_all(self) -> None:
        """Raise TimeoutError in all work that is running under this deadline."""
        for running in list(self._running):
            running.end()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for running, due in list(self._running.items()):
            if due > now:
                self._timer = loop.call_at(max(due, now + self._apart), self._look, loop)
                return
            running.end()


class Running:
    """A running deadline: a context manager around one piece of work."""

    __slots__ = ("_all", "_cancelling", "_is_over", "_task")

    def __init__(self, among: dict["Running", float], task: "asyncio.Task[object]") -> None:
        self._all = among
        self._task = task
        self._cancelling = task.cancelling()
        self._is_over = False

    def end(self) -> None:
        """Cancel the work, which then raises TimeoutError."""
        del self._all[self]
        self._is_over = True
        self._task.cancel()

    def lift(self) -> None:
        """Remove the deadline, so that the rest of the work may take any time."""
        self._all.pop(self, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._all.pop(self, None)
        # If somebody else cancelled the task as well, it must stay cancelled.
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Background:
    """The background tasks of one part of the relay."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, *coroutines: Coroutine[Any, Any, Any]) -> None:
        """Run the coroutines as tasks until they end or `stop` is called. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(coroutine) for coroutine in coroutines]

    async def stop(self) -> None:
        """Cancel all background tasks and wait until they have ended. Their exceptions are dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


def let_interrupt(process: int, *, others: bool) -> None:
    """Set whether a process, and those that it starts later, may interrupt others when they get work (Linux only).

    `process` is a process ID, or 0 for the calling thread alone.
    """
    if sys.platform == "linux":
        policy = os.SCHED_OTHER if others else os.SCHED_BATCH
        with contextlib.suppress(OSError):  # forbidden in some containers
            os.sched_setscheduler(process, policy, os.sched_param(0))


WAITS, COMPUTES = 0.005, 0.02
"""The most seconds for which a thread gives way, and the seconds for which it then computes before it gives way again."""
BETWEEN_GLANCES = 0.0003


class Precedence:
    """Lets threads that compute give way while something more urgent is under way: `with precedence: ...` around it.

    The threads of one process compute in turns, so each step of the urgent work would wait for them.
    """

    def __init__(self, waits: float = WAITS) -> None:
        self._waits = waits
        self._under_way = 0
        self._computes_until = 0.0

    def __enter__(self) -> None:
        self._under_way += 1

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1

    def give_way(self) -> None:
        """Wait while urgent work is under way; at most `waits` seconds, then not for COMPUTES. Never call it in the event loop."""
        if not self._under_way or (now := time.monotonic()) < self._computes_until:
            return
        until = now + self._waits
        while self._under_way:
            if time.monotonic() > until:
                self._computes_until = until + COMPUTES
                return
            pause(BETWEEN_GLANCES)
