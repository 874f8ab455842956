"""Services as a page calls them: in the event loop of a running relay, with progress, and cancelled in the middle."""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.outbox import State
from relay.outbox.database_session import CommandSessions, Session
from relay.outbox.history import Wanted, stored_hooks
from relay.outbox.past_chats import WantedChats
from relay.services import Progress, in_thread
from relay.services.find_chats import chat_history, count_chats, last_hook, list_chats
from relay.services.find_deliveries import (
    delivery_details,
    failed_by_cause,
    list_deliveries,
    waiting_by_cause,
    waiting_destinations,
)
from relay.services.find_digests import find_digests
from relay.services.recent_counts import rule_counts
from relay.services.replay import replay
from relay.settings.database import read_database
from tests.builders import NOON, a_hook
from tests.rules.books import a_book
from tests.running import RunningRelay, running_relay

EVERYTHING = a_book("""
    destinations: {room: {slack: {webhook: $ROOM}}}
    rules: [{name: Everything, when: always, send_to: room}]
""")
SHARED_BY_READERS = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""
"""Takes the bytes that every connection to an SQLite file holds a lock on; fails while one does."""


async def test_a_running_relay_keeps_sqlites_locks_when_a_page_of_its_own_asks(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7, missed=True))
        found = await list_deliveries(_sessions(relay), Wanted(), limit=1)
        assert [each.chat for each in found.deliveries] == ["7"]
        assert found.more
        (details,) = await delivery_details(_sessions(relay), [found.deliveries[0].id, 99])
        assert details.delivery.id == found.deliveries[0].id
        taken = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SHARED_BY_READERS, str(tmp_path / "relay.db")],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "BlockingIOError" in taken.stderr


@dataclass(frozen=True)
class _Traced(CommandSessions):
    """Keeps each statement that is asked for, with its values."""

    asked: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        with super().reading() as session:
            session.cursor.connection.set_trace_callback(self.asked.append)
            yield session


async def test_no_page_reads_all_that_was_ever_delivered(tmp_path: Path) -> None:
    live = [State.QUEUED, State.SCHEDULED, State.SENDING]
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7, missed=True))
        sessions = _Traced(tmp_path / "relay.db")
        await failed_by_cause(sessions, limit=10)
        await waiting_by_cause(sessions)
        await waiting_destinations(sessions, NOON)
        await find_digests(sessions, limit=0)
        await rule_counts(sessions, NOON)
        await count_chats(sessions, NOON)
        for wanted in (WantedChats(), WantedChats(failed=True), WantedChats(waiting=True)):
            await list_chats(sessions, "", wanted, before=None, limit=10)
        for count in (1, 2, 3):
            await list_deliveries(sessions, Wanted(states=live[:count]), limit=10)
        await last_hook(sessions, ("208", "7"))
        await chat_history(sessions, 1)
        with sessions.reading() as session:
            stored_hooks(session, ids=[7])
            for question in list(sessions.asked):
                session.cursor.execute(f"EXPLAIN QUERY PLAN {question}")
                plan = [str(row[-1]) for row in session.cursor.fetchall()]
                assert "SCAN deliveries" not in plan, f"{question}\n{plan}"
                assert "SCAN hooks" not in plan, f"{question}\n{plan}"
                assert "SCAN chats" not in plan or " LIMIT " in question, f"{question}\n{plan}"


async def test_a_hook_that_only_an_older_relay_could_read_is_named_and_the_others_are_replayed(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7))
        await relay.post(a_hook(8))
        relay.change("UPDATE hook_bodies SET body = ? WHERE hook_id = 1", zlib.compress(b"no chat"))
        heard: list[int] = []
        done = await replay(
            _sessions(relay),
            EVERYTHING,
            "example.org",
            ids=[1, 2, 3],
            chats=[("208", "9")],
            by="Anna",
            now=NOON,
            progress=lambda number, _: heard.append(number),
        )
        assert list(done.unreadable) == [1]
        assert [(each.id, len(each.queued)) for each in done.judged] == [(2, 1)]
        assert (done.missing, done.missing_chats) == ([3], [("208", "9")])
        assert heard == [0, 1]


def _sessions(relay: RunningRelay) -> CommandSessions:
    return CommandSessions(read_database(f"sqlite:///{relay.folder}/relay.db"))


async def test_progress_is_heard_in_order_in_the_event_loop_and_before_the_result() -> None:
    heard: list[tuple[int, int, bool]] = []

    def work(report: Progress) -> str:
        for done in range(3):
            report(done, 2)
        return "done"

    here = threading.get_ident()
    result = await in_thread(
        work, lambda done, total: heard.append((done, total, threading.get_ident() == here))
    )
    assert result == "done"
    assert heard == [(0, 2, True), (1, 2, True), (2, 2, True)]


async def test_cancelled_work_ends_at_its_next_report_and_before_the_task_does() -> None:
    begun, heard, ended = asyncio.Event(), threading.Event(), threading.Event()

    def work(report: Progress) -> None:
        try:
            for done in itertools.count():
                heard.clear()
                report(done, 0)
                heard.wait()
        finally:
            ended.set()

    def progress(_done: int, _total: int) -> None:
        begun.set()
        heard.set()

    task = asyncio.create_task(in_thread(work, progress))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_the_work_raises_is_raised() -> None:
    def work(_report: Progress) -> None:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        await in_thread(work)
