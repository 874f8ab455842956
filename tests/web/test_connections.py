"""Callers who hold a connection without asking for anything, by the hundred, and the hook that comes meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.web.connections import KEPT_FOR_OURSELVES
from relay.web.deadlines import Deadlines
from tests.builders import a_hook
from tests.running import RelayProcess, RunningRelay, running_relay, settings

BEGUN = b"POST /hooks/smartsupp/guess HTTP/1.1\r\nHost: relay\r\nX-Slow: "
UNREAD = b"POST /healthz HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{"
"""Answered at once, as nobody reads the body; its sender never sends the rest."""

Caller = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def callers(port: int, number: int, say: bytes) -> AsyncIterator[list[Caller]]:
    """So many who say this and no more."""
    there: list[Caller] = []
    try:
        for _ in range(number):
            there.append(await asyncio.open_connection("127.0.0.1", port))
            there[-1][1].write(say)
        yield there
    finally:
        for _, writer in there:
            writer.close()


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    async with running_relay(tmp_path, deadlines=Deadlines(headers=0.1)) as running:
        yield running


@pytest.mark.parametrize("say", [b"", BEGUN, UNREAD])
@pytest.mark.long
async def test_a_connection_without_a_whole_request_is_closed_after_a_while(
    relay: RunningRelay, say: bytes
) -> None:
    async with callers(relay.port, 3, say) as there:
        for reader, _ in there:
            await reader.read()  # until it is closed
    assert (await relay.post(a_hook())).status == 202


async def test_a_request_that_comes_byte_by_byte_has_no_more_time_than_any_other(
    relay: RunningRelay,
) -> None:
    async with callers(relay.port, 1, BEGUN) as [(reader, writer)]:
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            writer.write(b"x")
            await relay.ask("GET", "/healthz")
        with contextlib.suppress(ConnectionResetError):  # by what was written just then
            assert closed.result() == b""


async def test_a_caller_who_asks_now_and_then_stays(relay: RunningRelay) -> None:
    """A body of its own time, an answer, and the next request: the deadline begins anew each time."""
    path = relay.hook_url.removeprefix(relay.url).encode()
    head = b"POST " + path + b" HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n\r\n"
    async with callers(relay.port, 1, b"") as [(reader, writer)]:
        for number in (1, 2, 3):
            body = a_hook(number)
            writer.write(head % len(body) + body[:-1])
            async with callers(relay.port, 1, b"") as [(other, _)]:
                await other.read()  # a whole deadline passes
            writer.write(body[-1:])
            assert b" 202 " in await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}")


async def test_more_callers_than_there_are_files_do_not_keep_a_hook_out(tmp_path: Path) -> None:
    """OV-05: whoever has said nothing for longest makes room; no file that the relay needs is taken."""
    files = str(KEPT_FOR_OURSELVES + 40)
    limit = ("prlimit", f"--nofile={files}:{files}")
    relay = RelayProcess(settings(tmp_path), *limit, log=tmp_path / "log").start()
    try:
        async with callers(int(relay.url.rpartition(":")[2]), 400, BEGUN):
            assert (await relay.post(a_hook())).status == 202
        assert relay.stop() == 0
    finally:
        if relay.process.poll() is None:
            relay.kill()
    log = (tmp_path / "log").read_text()
    assert "40 connections at once, no more can be kept" in log
    assert "Too many open files" not in log
