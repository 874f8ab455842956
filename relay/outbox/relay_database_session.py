"""Sessions for pages in a relay's own process: reads use a connection of their own, so that hooks don't wait for them."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from relay.clock import Precedence
from relay.outbox.database_session import (
    CommandSessions,
    OpenDatabase,
    Session,
    log_of,
    open_database,
)
from relay.outbox.delivery_types import StorageUnavailable
from relay.outbox.writer import Store
from relay.settings.database import Database

T = TypeVar("T")

LONGEST_READ = 5.0
"""Seconds. A longer read keeps erased rows in SQLite's log, and lets the log grow."""
LONGEST_WAIT = 4.0
"""Seconds that a write waits for another program, while somebody waits for a page."""
BETWEEN_CUTS = 0.02
"""Seconds between two interruptions of a read; one has no effect while Python works between two statements."""

AFTER_CUT = 1.0
"""Seconds after an interruption at which the server itself ends the statement."""


class RelaySessions:
    """Sessions of a relay's own pages: reads share one connection, each write opens its own.

    The relay notices these writes as it notices those of commands: by looking at the database.
    """

    def __init__(self, database: Database, store: Store) -> None:
        """`store`: the store with which the relay writes."""
        self.precedence = Precedence()
        """Reads give way to what has precedence, such as hooks."""
        self._database = database.resolve() if isinstance(database, Path) else database
        self._store = store
        self.longest_read = LONGEST_READ
        """Seconds after which a read, or the wait for other reads, ends with StorageUnavailable."""
        self._opened: OpenDatabase | None = None
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._threads = ThreadPoolExecutor(1, "outbox-reader")
        self._closed = False

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a thread of its own within one `reading`, and return its result.

        Raises StorageRefused, StorageUnavailable, or what `work` raises.
        """

        def run() -> T:
            with self.reading() as session:
                return work(session)

        self._refuse_when_gone()
        try:
            async with asyncio.timeout(2 * self.longest_read):
                return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        except TimeoutError:
            raise self._busy() from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads and sees one moment. Blocks, for a bounded time.

        Raises StorageRefused and StorageUnavailable, the latter also where the read or those before it take too long.
        """
        is_late = threading.Event()
        with self._turn(self._reading):
            try:
                with ExitStack() as stack:
                    stack.enter_context(self._bounded(is_late))
                    session = self._begin(stack, is_late)
                    yield replace(session, before_each=self.precedence.give_way)
            except StorageUnavailable:
                if is_late.is_set():
                    raise self._too_long() from None
                raise

    def _begin(self, stack: ExitStack, is_late: threading.Event) -> Session:
        self._refuse_when_gone()
        if self._opened and self._opened.is_usable():
            try:
                return stack.enter_context(self._opened.transaction())
            except StorageUnavailable:
                # A connection that was lost while nobody read is noticed only now.
                if is_late.is_set():
                    raise
        self._forget_connection()
        # The server gets a timeout, too, as it may not notice a cut; a longer one, as the cut has the better message.
        longest = self.longest_read + AFTER_CUT
        self._opened = open_database(self._database, writes=False, longest=longest)
        return stack.enter_context(self._opened.transaction())

    def _forget_connection(self) -> None:
        if self._opened:
            opened, self._opened = self._opened, None
            opened.close()

    @contextlib.contextmanager
    def _bounded(self, is_late: threading.Event) -> Iterator[None]:
        """Set `is_late` when the time is over, and interrupt the statement that runs, and those after it."""
        ended, longest = threading.Event(), self.longest_read

        def watch() -> None:
            if not ended.wait(longest):
                is_late.set()
                while not ended.is_set():
                    self._cut()
                    ended.wait(BETWEEN_CUTS)

        watcher = threading.Thread(target=watch, name="outbox-reader-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _cut(self) -> None:
        if opened := self._opened:
            opened.cut()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in a transaction of its own: committed at the end, rolled back on an exception."""
        with self._apart() as sessions, sessions.writing() as session:
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        """A function that opens short writing sessions one after the other, in one connection."""
        with self._apart() as sessions, sessions.writing_often() as transaction:
            yield transaction

    @contextlib.contextmanager
    def _apart(self) -> Iterator[CommandSessions]:
        """Sessions for one write at a time, and never while the log is emptied: see `SqliteStore`."""
        with self._turn(self._writing):
            self._refuse_when_gone()
            yield CommandSessions(self._database, patience=LONGEST_WAIT)

    def _refuse_when_gone(self) -> None:
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        if not self._store.is_in_place():
            raise StorageUnavailable("the database file was moved, deleted or replaced")

    def empty_log(self) -> Path | None:
        """Empty SQLite's write-ahead log; the path of the log where that was not possible."""
        if self.forget() or not isinstance(self._database, Path):
            return None
        return log_of(self._database)

    def forget(self) -> bool:
        """Empty SQLite's log, so that no file holds erased rows; False where that was not possible.

        Waits for this process' reads and writes.
        """
        try:
            with self._turn(self._reading), self._turn(self._writing):
                return self._store.forget()
        except StorageUnavailable:
            return False

    @contextlib.contextmanager
    def _turn(self, lock: threading.Lock) -> Iterator[None]:
        if not lock.acquire(timeout=self.longest_read):
            raise self._busy()
        try:
            yield
        finally:
            lock.release()

    def _busy(self) -> StorageUnavailable:
        return StorageUnavailable("others keep the database busy; try again in a moment")

    def _too_long(self) -> StorageUnavailable:
        return StorageUnavailable(
            f"this was ended after {self.longest_read:g} seconds of reading; ask for less, such as fewer days"
        )

    def close(self) -> None:
        """Interrupt the current read and close the connection. Blocks until that is done."""
        self._closed = True
        while not self._reading.acquire(timeout=BETWEEN_CUTS):
            self._cut()
        try:
            self._forget_connection()
        finally:
            self._reading.release()
        self._threads.shutdown(wait=False)
