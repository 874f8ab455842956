"""The one thread that owns the writing connection. Whoever waits at the same time shares a commit."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from relay.outbox.values import StorageUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Cursor], Any]
_Waiting = tuple["asyncio.Future[Any]", Work]

MOST_IN_A_GROUP = 256
log = logging.getLogger(__name__)


class Writer:
    """Runs pieces of work, each inside a transaction that is durable before its future is answered."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """`connection` must be in autocommit mode (`isolation_level=None`); the writer closes it."""
        self._connection = connection
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._closed = False
        self._thread.start()

    def run(self, work: Callable[[sqlite3.Cursor], T]) -> "asyncio.Future[T]":
        """The result of `work`, once it is on disk. Raises StorageUnavailable, or what `work` raised."""
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put((future, work))
        return future

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while group := self._next_group():
            answers = self._commit(group)
            self._loop.call_soon_threadsafe(_answer, answers)
        self._connection.close()

    def _next_group(self) -> list[_Waiting]:
        """Everything that waits now, at least one; empty when the writer was closed."""
        group: list[_Waiting] = []
        item = self._waiting.get()
        while item is not None:
            group.append(item)
            if len(group) == MOST_IN_A_GROUP or self._waiting.empty():
                return group
            item = self._waiting.get()
        if group:
            self._waiting.put(None)  # the closing word is for the next round
        return group

    def _commit(self, group: list[_Waiting]) -> list[tuple["asyncio.Future[Any]", Any]]:
        try:
            results = self._in_one_transaction([work for _, work in group])
        except Exception as error:  # noqa: BLE001 - every kind is handed to whoever waits for it
            if len(group) == 1:
                return [(group[0][0], _translated(error))]
            # One piece must not fail its neighbours: try them one by one.
            return [answer for waiting in group for answer in self._commit([waiting])]
        return [(future, result) for (future, _), result in zip(group, results, strict=True)]

    def _in_one_transaction(self, works: list[Work]) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            results = [work(cursor) for work in works]
            cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        return results


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.ProgrammingError
    ):
        log.error("the outbox can't write: %s", error)
        return StorageUnavailable(str(error))
    return error


def _answer(answers: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, answer in answers:
        if future.done():  # whoever waited was cancelled; the work is on disk all the same
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
