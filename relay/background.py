"""Coroutines that run in the background, from the start of a part of the relay to its end."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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
