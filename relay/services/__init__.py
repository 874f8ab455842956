"""Services: what a person can ask for, without click, HTTP or HTML. Commands, pages and the JSON API call them.

A service never blocks the event loop. Services that use the database raise StorageRefused and StorageUnavailable.
`by` is the name of the person for the log.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from relay.outbox.database_session import Session, Sessions
from relay.outbox.past_chats import ANY, PastHook, Which, count_hooks, read_hooks

Progress = Callable[[int, int], None]
"""Gets how many steps are done, and of how many."""
T = TypeVar("T")
AT_ONCE = 4
"""Threads of services. They are their own, so that the lookup of a server's address waits for none of them."""
_threads = ThreadPoolExecutor(AT_ONCE, "service")
REPORTED = 200
"""Hooks read between two reports of progress."""


class _Cancelled(Exception):
    pass


def unwatched(done: int, total: int) -> None:
    """A Progress that does nothing."""


async def in_thread(work: Callable[[Progress], T], progress: Progress = unwatched) -> T:
    """Run `work`, which may block, in a thread, and return its result.

    `work` reports its progress to its argument; `progress` gets it in the event loop's thread. If the calling task is
    cancelled, `work` ends at its next report; what it has committed stays.
    """
    loop = asyncio.get_running_loop()
    cancelled = threading.Event()

    def report(done: int, total: int) -> None:
        if cancelled.is_set():
            raise _Cancelled
        loop.call_soon_threadsafe(progress, done, total)

    running = loop.run_in_executor(_threads, work, report)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.gather(running, return_exceptions=True)
        raise


async def read_in_thread(sessions: Sessions, work: Callable[[Session], T]) -> T:
    """Run `work` in a thread, in a transaction that only reads, and return its result."""

    def run(_: Progress) -> T:
        with sessions.reading() as session:
            return work(session)

    return await in_thread(run)


async def write_in_thread(sessions: Sessions, work: Callable[[Session], T]) -> T:
    """Run `work` in a thread, in a transaction that is committed at its end, and return its result."""

    def run(_: Progress) -> T:
        with sessions.writing() as session:
            return work(session)

    return await in_thread(run)


def read_all(
    sessions: Sessions,
    report: Progress,
    since: datetime | None = None,
    which: Which = ANY,
    *,
    newest_first: bool = False,
) -> Iterator[PastHook]:
    """Stored hooks, one after the other, oldest or newest first. Blocks: call it in a thread."""
    total = count_hooks(sessions, since, which)
    for done, hook in enumerate(read_hooks(sessions, since, which, newest_first=newest_first)):
        if done % REPORTED == 0:
            report(done, total)
        yield hook
    report(total, total)
