"""Sessions in a relay's own process: pages read by a connection of their own, and hooks don't wait for them."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

from relay.outbox.rows import StorageUnavailable
from relay.outbox.session import CommandSessions, OpenDatabase, Session, log_of, open_database
from relay.outbox.writer import Store
from relay.settings.database import Database

T = TypeVar("T")

LONGEST_READ = 5.0
"""Seconds. A longer one keeps what was erased in SQLite's log, and lets that log grow."""
LONGEST_WAIT = 4.0
"""Seconds that a write waits for another program: somebody looks at an empty page meanwhile."""
BETWEEN_CUTS = 0.02
"""Seconds from one cut to the next: it hits nothing while Python works between two statements."""

AFTER_CUT = 1.0
"""Seconds after which a server ends by itself what was cut."""


class RelaySessions:
    """One connection that reads, opened at the first read and again where it is lost; and one for each write.

    What is written by it is noticed by the relay, as what a command writes is.
    """

    def __init__(self, database: Database, store: Store) -> None:
        """`store`: the one that the relay writes by."""
        self._database = database.resolve() if isinstance(database, Path) else database
        self._store = store
        self.longest_read = LONGEST_READ
        """Seconds; then a read ends with StorageUnavailable, and whoever waits for others to end does so, too."""
        self._opened: OpenDatabase | None = None
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._threads = ThreadPoolExecutor(1, "outbox-reader")
        self._closed = False

    async def read(self, work: Callable[[Session], T]) -> T:
        """What `work` returns, run in a thread of its own within one `reading`. Raises as that does, or what `work` raises."""

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
        """A transaction that can't write and sees one moment. It blocks, for a bounded time.

        Raises StorageRefused and StorageUnavailable; the latter also where it takes too long, or others read for too long.
        """
        is_late = threading.Event()
        with self._turn(self._reading):
            try:
                with ExitStack() as stack:
                    stack.enter_context(self._bounded(is_late))
                    yield self._begin(stack, is_late)
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
                # Only now a connection is noticed that was lost while nobody read.
                if is_late.is_set():
                    raise
        self._forget_connection()
        # The server is told, too: it may not notice for long that nobody waits any more. After the cut, which has its words.
        longest = self.longest_read + AFTER_CUT
        self._opened = open_database(self._database, writes=False, longest=longest)
        return stack.enter_context(self._opened.transaction())

    def _forget_connection(self) -> None:
        if self._opened:
            opened, self._opened = self._opened, None
            opened.close()

    @contextlib.contextmanager
    def _bounded(self, is_late: threading.Event) -> Iterator[None]:
        """When the time is over `is_late` is set, and the statement that runs is cut, and those after it."""
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
        with self._apart() as sessions, sessions.writing() as session:
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        with self._apart() as sessions, sessions.writing_often() as transaction:
            yield transaction

    @contextlib.contextmanager
    def _apart(self) -> Iterator[CommandSessions]:
        """Never while the log is emptied: see `SqliteStore`."""
        with self._turn(self._writing):
            self._refuse_when_gone()
            yield CommandSessions(self._database, patience=LONGEST_WAIT)

    def _refuse_when_gone(self) -> None:
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        if not self._store.is_in_place():
            raise StorageUnavailable("the database file was moved, deleted or replaced")

    def empty_log(self) -> Path | None:
        if self.forget() or not isinstance(self._database, Path):
            return None
        return log_of(self._database)

    def forget(self) -> bool:
        """Let nothing of what was erased stand anywhere; False: not all yet. Waits for reads and writes of this process."""
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
        """End what reads now. It blocks until that is done."""
        self._closed = True
        while not self._reading.acquire(timeout=BETWEEN_CUTS):
            self._cut()
        try:
            self._forget_connection()
        finally:
            self._reading.release()
        self._threads.shutdown(wait=False)
