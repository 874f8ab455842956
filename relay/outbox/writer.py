"""The one thread that writes to the database, and the stores it writes to.

Works that wait at the same time share a commit.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from sqlalchemy.engine import Dialect

from relay.clock import let_interrupt, pause
from relay.outbox.delivery_types import StorageUnavailable
from relay.outbox.statements import Statements

Cursor = Any
"""A DB-API cursor. The drivers' classes share no type."""
Work = Callable[[Cursor], Any]


class Store(Protocol):
    """A database with one connection that writes. `run` and `close` are called only in the writer's thread."""

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect of the database."""

    @property
    def statements(self) -> Statements:
        """The compiled statements, in the dialect of the database."""

    @property
    def holder(self) -> str:
        """The name by which this relay marks its claims; empty for a file, which only one relay uses."""

    @property
    def ended(self) -> Mapping[str, str]:
        """The relays that had surely ended when the store was opened: their `holder`, and their name in `relays`."""

    @property
    def has_written(self) -> bool:
        """Whether the last `run` changed anything in the database."""

    def run(self, works: Sequence[Work]) -> list[Any]:
        """Run all works in one transaction, which is durable when this returns, or none of them.

        Raises StorageUnavailable where any other work would fail as well, else what a work raised.
        """

    def translated(self, error: Exception) -> Exception:
        """StorageUnavailable where `error` says that the database can't work just now; else `error` itself."""

    def close(self) -> None:
        """Close the connection."""

    def cut(self) -> None:
        """Make a `run` that hangs fail, from any thread."""

    def has_room(self) -> bool:
        """Whether the disk has room for more hooks, as far as the relay can see."""

    @property
    def data_loss(self) -> str:
        """A sentence that says what was missing from the database when it was opened, as after a restored backup; empty if nothing was."""

    def is_in_place(self) -> bool:
        """Whether the database file is still at its path. Writes to one that was moved, deleted or replaced would be lost."""

    def version(self, cursor: Cursor) -> int | None:
        """A number that changes whenever another process has written; None where relays notify each other."""

    def free_some(self, cursor: Cursor) -> bool:
        """Give some free pages back to the disk; returns whether there are more."""

    def forget(self) -> bool:
        """Remove erased rows from all files; False where some are left. May be called from any thread."""


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that other relays use at the same time."""

    def is_steady(self) -> bool:
        """Whether all relays have had time to renew their leases since the last outage."""

    def listen(self) -> AsyncIterator[str]:
        """The notifications of all relays, this one included; an empty one where some may be lost.

        Ends where the database has none.
        """


T = TypeVar("T")
_Waiting = tuple["asyncio.Future[Any]", Work]
_Signal = Literal["look", "close"]
"""Signals to the writer that are no work: an outcome waits in the other queue, or the writer was closed."""
_Answered = list[tuple["asyncio.Future[Any]", Any]]

MOST_IN_A_GROUP = 256
MOST_WITH_OUTCOMES = 16
"""Works that share a commit with outcomes; or half of those waiting, if that is more.

An outcome should be stored soon, as after a kill the relay sends again what it has not stored as sent; but hooks must
not wait for ever.
"""
BETWEEN_GROUPS = 0.003
"""Seconds between two commits while several works wait for each, as a commit costs more than its contents.

A single work is committed at once. In the load test of docs/performance.md this saves a tenth of all computing.
"""
BEFORE_OUTCOMES = 0.001
"""Seconds instead of BETWEEN_GROUPS while an outcome waits, so that little is sent but not stored when the relay is killed."""
MANY = 8
"""From this many works in a group on, the writer does not interrupt the event loop, until a work is alone again.

Where there is one processor, each interruption costs both threads time, as only one of them can run Python. With few
works, it matters more that each is soon on disk.
"""
LONGEST_CLOSE = 20.0
"""Seconds that the last group may take."""
FAILED = 70
"""The exit status of a failed writer, which differs from that of a relay that could not start."""
BETWEEN_LOGS = 60.0
"""Seconds between two log lines with the same error of a database."""

log = logging.getLogger(__name__)


class Writer:
    """Runs works in a thread of its own, each inside a transaction that is durable before the work's future is answered."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        """`store` is closed by the writer."""
        self._store = store
        self._monotonic = monotonic
        self._sleep = sleep
        self._waiting: queue.SimpleQueue[_Waiting | _Signal] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        """Works that store how attempts ended; they come first. For each, `_waiting` has a "look"."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._closed = False
        self._rests_until = 0.0
        self._interrupts = True
        self._busy_since: float | None = None
        self._logged_at = 0.0
        self.trouble = ""
        """Why the last group could not be written; empty once one was."""
        self._thread.start()

    def run(self, work: Callable[[Cursor], T], *, outcome: bool = False) -> "asyncio.Future[T]":
        """The result of `work`, once it is durable. Raises StorageUnavailable, or what `work` raised.

        `outcome`: the work stores how an attempt ended, and comes before other works.
        """
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        if outcome:
            self._outcomes.put((future, work))
        self._waiting.put("look" if outcome else (future, work))
        return future

    def busy_for(self) -> float:
        """Seconds since the current group was begun, 0 without one; many if a disk or a server hangs."""
        since = self._busy_since
        return 0.0 if since is None else self._monotonic() - since

    async def close(self) -> None:
        """Finish the works that wait, then close the store."""
        if not self._closed:
            self._closed = True
            self._waiting.put("close")
            await asyncio.to_thread(self._thread.join, LONGEST_CLOSE)
            if self._thread.is_alive():
                self._store.cut()
                await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:
            # A bug, or no memory. Without this thread every hook and every outcome would wait for ever, while a relay
            # that ends is started again, and has lost nothing.
            log.critical("the thread that writes has failed; the relay ends at once", exc_info=True)
            logging.shutdown()
            os._exit(FAILED)

    def _work(self) -> None:
        while group := self._next_group():
            is_alone = len(group) == 1
            if self._interrupts is not is_alone and (is_alone or len(group) >= MANY):
                let_interrupt(0, others=is_alone)
                self._interrupts = is_alone
            self._busy_since = self._monotonic()
            answers = self._commit(group)
            self._busy_since = None
            self._rests_until = self._monotonic() + BETWEEN_GROUPS if len(group) > 1 else 0.0
            self._loop.call_soon_threadsafe(_answer, answers)
        self._store.close()

    def _next_group(self) -> list[_Waiting]:
        """The works of the next commit, outcomes first, at least one; empty when the writer was closed."""
        group: list[_Waiting] = []
        while True:
            item = self._waiting.get()
            # Bounded, should the clock have jumped.
            longest = BETWEEN_GROUPS if self._outcomes.empty() else BEFORE_OUTCOMES
            rest = min(self._rests_until - self._monotonic(), longest)
            if rest > 0:
                self._sleep(rest)
            while not self._outcomes.empty():
                group.append(self._outcomes.get())
            room = max(MOST_WITH_OUTCOMES, self._waiting.qsize() // 2)
            most = min(len(group) + room, MOST_IN_A_GROUP) if group else MOST_IN_A_GROUP
            while item != "close":
                if item != "look":
                    group.append(item)
                if len(group) >= most or self._waiting.empty():
                    break
                item = self._waiting.get()
            if item == "close" and group:
                self._waiting.put("close")  # it is for the next round
            if item == "close" or group:
                return group

    def _commit(self, group: list[_Waiting]) -> _Answered:
        try:
            results = self._store.run([work for _, work in group])
        except StorageUnavailable as error:
            self._fails(error)
            return [(future, error) for future, _ in group]
        except Exception as error:  # noqa: BLE001 - every kind is passed to the caller
            if len(group) == 1:
                translated = self._store.translated(error)
                if isinstance(translated, StorageUnavailable):
                    self._fails(translated)
                return [(group[0][0], translated)]
            # One work must not make the others fail: try them one by one.
            return [answer for waiting in group for answer in self._commit([waiting])]
        if self.trouble and self._store.has_written:
            log.warning("the outbox can write again")
            self.trouble = ""
        return [(future, result) for (future, _), result in zip(group, results, strict=True)]

    def _fails(self, error: StorageUnavailable) -> None:
        now, why = self._monotonic(), str(error)
        if why != self.trouble or now - self._logged_at >= BETWEEN_LOGS:
            log.error("the outbox can't write: %s", why)
            self._logged_at = now
        self.trouble = why


def _answer(answers: _Answered) -> None:
    for future, answer in answers:
        if future.done():  # the caller was cancelled; the work is stored all the same
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
