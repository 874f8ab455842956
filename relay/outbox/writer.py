"""The one thread that owns the writing connection. Whoever waits at the same time shares a commit."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from relay.outbox.store import Cursor, Store, Work
from relay.outbox.values import StorageUnavailable

T = TypeVar("T")
_Waiting = tuple["asyncio.Future[Any]", Work]
_Answered = list[tuple["asyncio.Future[Any]", Any]]

MOST_IN_A_GROUP = 256
BETWEEN_GROUPS = 0.003
"""Seconds from one commit to the next while several wait for each: a commit costs more than what is in it.

What comes alone is committed at once. In the load harness of docs/performance.md it saves a tenth of all computing.
"""
LONGEST_CLOSE = 20.0
"""Seconds that the last group may take."""


class Writer:
    """Runs pieces of work, each inside a transaction that is durable before its future is answered."""

    def __init__(self, store: Store) -> None:
        """The writer closes the store at its end."""
        self._store = store
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._closed = False
        self._rests_until = 0.0
        self._thread.start()

    def run(self, work: Callable[[Cursor], T]) -> "asyncio.Future[T]":
        """The result of `work`, once it is on disk. Raises StorageUnavailable, or what `work` raised."""
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put((future, work))
        return future

    async def close(self) -> None:
        """Finish what waits, then close the store."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join, LONGEST_CLOSE)
            if self._thread.is_alive():
                self._store.cut()
                await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while group := self._next_group():
            answers = self._commit(group)
            self._rests_until = time.monotonic() + BETWEEN_GROUPS if len(group) > 1 else 0.0
            self._loop.call_soon_threadsafe(_answer, answers)
        self._store.close()

    def _next_group(self) -> list[_Waiting]:
        """Everything that waits now, at least one; empty when the writer was closed."""
        group: list[_Waiting] = []
        item = self._waiting.get()
        rest = self._rests_until - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        while item is not None:
            group.append(item)
            if len(group) == MOST_IN_A_GROUP or self._waiting.empty():
                return group
            item = self._waiting.get()
        if group:
            self._waiting.put(None)  # the closing word is for the next round
        return group

    def _commit(self, group: list[_Waiting]) -> _Answered:
        try:
            results = self._store.run([work for _, work in group])
        except StorageUnavailable as error:
            return [(future, error) for future, _ in group]
        except Exception as error:  # noqa: BLE001 - every kind is handed to whoever waits for it
            if len(group) == 1:
                return [(group[0][0], self._store.translated(error))]
            # One piece must not fail its neighbours: try them one by one.
            return [answer for waiting in group for answer in self._commit([waiting])]
        return [(future, result) for (future, _), result in zip(group, results, strict=True)]


def _answer(answers: _Answered) -> None:
    for future, answer in answers:
        if future.done():  # whoever waited was cancelled; the work is on disk all the same
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
