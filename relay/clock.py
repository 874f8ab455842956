"""What time it is, deadlines, and what runs in the background.

What time it is: handed to whatever asks, so that a test can say so.

Deadlines of many short pieces of work, kept by one timer: `asyncio.timeout` makes a timer for each.

Coroutines that run in the background, from the start of a part of the relay to its end.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

Clock = Callable[[], datetime]
"""Aware, UTC."""


def utc_now() -> datetime:
    """The system's time, aware, in UTC."""
    return datetime.now(UTC)


def pause(seconds: float) -> None:
    """Let this thread rest. Where the system's clock jumps the call may fail: then it rests no longer."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        time.sleep(seconds)


LOOKS = 10
"""At most so many within one deadline, however many fall due."""
LATEST = 1.0
"""Seconds that work may go on beyond its deadline, however long that is."""


class Deadline:
    """Ends work that takes longer than `seconds` with TimeoutError.

    `with deadline.start(): ...` does what `async with asyncio.timeout(seconds): ...` does, in a quarter of the time.
    Where many fall due, they may end a tenth of `seconds` late, and never more than a second.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._apart = min(seconds / LOOKS, LATEST)
        self._running: dict[Running, float] = {}
        """When each is due. The next comes first: all have the same time."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> "Running":
        """A running deadline, to be used once, by `with`, in a task."""
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
        """What is under way now ends as if it had come to its deadline."""
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
    """One piece of work under a deadline."""

    __slots__ = ("_all", "_cancelling", "_is_over", "_task")

    def __init__(self, among: dict["Running", float], task: "asyncio.Task[object]") -> None:
        self._all = among
        self._task = task
        self._cancelling = task.cancelling()
        self._is_over = False

    def end(self) -> None:
        del self._all[self]
        self._is_over = True
        self._task.cancel()

    def lift(self) -> None:
        """What is left of the work may take as long as it likes."""
        self._all.pop(self, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._all.pop(self, None)
        # The count says whether somebody else cancelled the task too: then it stays cancelled.
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Background:
    """The background tasks of one part; empty until `start`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, *coroutines: Coroutine[Any, Any, Any]) -> None:
        """Run these until they end or `stop` is called. Needs a running loop."""
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(coroutine) for coroutine in coroutines]

    async def stop(self) -> None:
        """Cancel all of them, and wait until the last has ended. What they raised is dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
