"""What the outbox needs of a database, whichever it is.

The one thread that owns the writing connection. Whoever waits at the same time shares a commit.
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

from relay.clock import pause
from relay.outbox.rows import StorageUnavailable
from relay.outbox.statements import Statements

Cursor = Any
"""Any DB-API cursor: they share no type."""
Work = Callable[[Cursor], Any]


class Store(Protocol):
    """One connection that writes. `run` and `close` are called in the writer's thread alone."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def statements(self) -> Statements: ...

    @property
    def holder(self) -> str:
        """The name that this relay's claims carry; empty in a file, which one relay uses at a time."""

    @property
    def ended(self) -> Mapping[str, str]:
        """The holders that had surely ended when the store was opened, with their names in `relays`."""

    @property
    def has_written(self) -> bool:
        """Whether the last `run` changed anything in the database."""

    def run(self, works: Sequence[Work]) -> list[Any]:
        """Do all of it in one transaction, which is durable when this returns; or none of it.

        Raises StorageUnavailable where any other work would fail as well, else what a piece raised.
        """

    def translated(self, error: Exception) -> Exception:
        """StorageUnavailable where `error` says that the database can't work just now; else `error`."""

    def close(self) -> None: ...

    def cut(self) -> None:
        """Let `run` fail that has waited for too long, from any thread."""

    def has_room(self) -> bool:
        """Whether the disk has room for more hooks, as far as can be seen from here."""

    @property
    def found_lost(self) -> str:
        """What the database had lost when it was opened, as a sentence; empty for nothing that can be told."""

    def is_in_place(self) -> bool:
        """Whether the database is where it was: once it was moved, deleted or replaced, writing on would be lost."""

    def version(self, cursor: Cursor) -> int | None:
        """A number that changes whenever another process has written; None where others tell it themselves."""

    def free_some(self, cursor: Cursor) -> bool:
        """Give some erased room back to the disk; returns whether there is more."""

    def forget(self) -> bool:
        """Let nothing of what was erased stand anywhere; False: not all yet. From any thread."""


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that other relays use at the same time."""

    def is_steady(self) -> bool:
        """Whether all had time to renew their leases: not shortly after an outage."""

    def listen(self) -> AsyncIterator[str]:
        """What relays tell, this one too; empty when something may have been missed. Ends where it can't be had."""


T = TypeVar("T")
_Waiting = tuple["asyncio.Future[Any]", Work]
_Word = Literal["look", "close"]
"""Not work: there is an outcome to be looked for; the writer was closed."""
_Answered = list[tuple["asyncio.Future[Any]", Any]]

MOST_IN_A_GROUP = 256
MOST_BESIDE_OUTCOMES = 16
"""Pieces of work that share a commit with outcomes, or half of what waits where that is more.

Until the commit a kill makes the relay send again what has arrived; but where each takes long, hooks must not starve.
"""
BETWEEN_GROUPS = 0.003
"""Seconds from one commit to the next while several wait for each: a commit costs more than what is in it.

What comes alone is committed at once. In the load harness of docs/performance.md it saves a tenth of all computing.
"""
BEFORE_OUTCOMES = 0.001
"""Seconds, in place of those: others share the commit, and a kill finds little that has arrived and is not written down."""
LONGEST_CLOSE = 20.0
"""Seconds that the last group may take."""
FAILED = 70
"""The exit status, which is not that of a relay that could not start."""
BETWEEN_WORDS = 60.0
"""Seconds between two lines of the log that say the same of a database that can't be used."""

log = logging.getLogger(__name__)


class Writer:
    """Runs pieces of work, each inside a transaction that is durable before its future is answered."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        """The writer closes the store at its end."""
        self._store = store
        self._monotonic = monotonic
        self._sleep = sleep
        self._waiting: queue.SimpleQueue[_Waiting | _Word] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        """How attempts ended, which is written before all else. For each there is a "look" among the others."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._closed = False
        self._rests_until = 0.0
        self._busy_since: float | None = None
        self._said_at = 0.0
        self.trouble = ""
        """Why the last group could not be written; empty once one was."""
        self._thread.start()

    def run(self, work: Callable[[Cursor], T], *, outcome: bool = False) -> "asyncio.Future[T]":
        """The result of `work`, once it is on disk. Raises StorageUnavailable, or what `work` raised.

        `outcome`: it writes down how an attempt ended, and goes before all that is none.
        """
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        if outcome:
            self._outcomes.put((future, work))
        self._waiting.put("look" if outcome else (future, work))
        return future

    def busy_for(self) -> float:
        """Seconds for which it has been at one group: a disk or a server may hang."""
        since = self._busy_since
        return 0.0 if since is None else self._monotonic() - since

    async def close(self) -> None:
        """Finish what waits, then close the store."""
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
            self._busy_since = self._monotonic()
            answers = self._commit(group)
            self._busy_since = None
            self._rests_until = self._monotonic() + BETWEEN_GROUPS if len(group) > 1 else 0.0
            self._loop.call_soon_threadsafe(_answer, answers)
        self._store.close()

    def _next_group(self) -> list[_Waiting]:
        """What waits now, outcomes first, at least one; empty when the writer was closed."""
        group: list[_Waiting] = []
        while True:
            item = self._waiting.get()
            # No longer than that, should the clock have jumped.
            longest = BETWEEN_GROUPS if self._outcomes.empty() else BEFORE_OUTCOMES
            rest = min(self._rests_until - self._monotonic(), longest)
            if rest > 0:
                self._sleep(rest)
            while not self._outcomes.empty():
                group.append(self._outcomes.get())
            beside = max(MOST_BESIDE_OUTCOMES, self._waiting.qsize() // 2)
            most = min(len(group) + beside, MOST_IN_A_GROUP) if group else MOST_IN_A_GROUP
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
        except Exception as error:  # noqa: BLE001 - every kind is handed to whoever waits for it
            if len(group) == 1:
                translated = self._store.translated(error)
                if isinstance(translated, StorageUnavailable):
                    self._fails(translated)
                return [(group[0][0], translated)]
            # One piece must not fail its neighbours: try them one by one.
            return [answer for waiting in group for answer in self._commit([waiting])]
        if self.trouble and self._store.has_written:
            log.warning("the outbox can write again")
            self.trouble = ""
        return [(future, result) for (future, _), result in zip(group, results, strict=True)]

    def _fails(self, error: StorageUnavailable) -> None:
        now, why = self._monotonic(), str(error)
        if why != self.trouble or now - self._said_at >= BETWEEN_WORDS:
            log.error("the outbox can't write: %s", why)
            self._said_at = now
        self.trouble = why


def _answer(answers: _Answered) -> None:
    for future, answer in answers:
        if future.done():  # whoever waited was cancelled; the work is on disk all the same
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
