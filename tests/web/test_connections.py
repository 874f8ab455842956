"""What a caller can do to a connection: hold it without asking for anything, send too much, offer or end something."""

import asyncio
import contextlib
import json
import os
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relay.web.app import Deadlines
from relay.web.connections import KEPT_FOR_OURSELVES, MOST_AHEAD
from tests.builders import a_hook
from tests.running import (
    DEADLINE,
    TOKEN,
    RelayProcess,
    RunningRelay,
    relay_process,
    running_relay,
    settings,
)
from tests.servers import LoopClock

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
async def clock() -> LoopClock:
    return LoopClock()


async def closed(caller: Caller, clock: LoopClock) -> bytes:
    """What comes until the connection is closed, while time passes."""
    reading = asyncio.create_task(caller[0].read())
    while not reading.done():
        clock.forward(DEADLINE / 4)
        await asyncio.sleep(0.01)
    return reading.result()


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    async with running_relay(tmp_path) as running:
        yield running


@pytest.mark.parametrize("say", [b"", BEGUN, UNREAD])
@pytest.mark.long
async def test_a_connection_without_a_whole_request_is_closed_after_a_while(
    clock: LoopClock, patient: RunningRelay, say: bytes
) -> None:
    async with callers(patient.port, 3, say) as there:
        for caller in there:
            await closed(caller, clock)
    assert (await patient.post(a_hook())).status == 202


async def test_a_request_that_comes_byte_by_byte_has_no_more_time_than_any_other(
    clock: LoopClock, patient: RunningRelay
) -> None:
    async with callers(patient.port, 1, BEGUN) as [(reader, writer)]:
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")
            clock.forward(DEADLINE / 10)
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionResetError):  # by what was written just then
            assert reading.result() == b""


async def test_the_body_of_an_answer_does_not_wait_until_its_headers_are_acknowledged(
    patient: RunningRelay,
) -> None:
    await patient.post(a_hook())
    delays = [
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for connection in own_sockets()
        if connection.getsockname()[1:2] == (patient.port,) and not is_listening(connection)
    ]
    assert delays == [1]


def own_sockets() -> Iterator[socket.socket]:
    """The TCP sockets of this process, each for as long as the next one is not asked for."""
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(file.name))) as one:
            if one.family == socket.AF_INET:
                yield one


def is_listening(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


async def test_a_caller_who_asks_now_and_then_stays(clock: LoopClock, tmp_path: Path) -> None:
    """A body of its own time, an answer, and the next request: the deadline starts again each time."""
    deadlines = Deadlines(headers=DEADLINE, body=100 * DEADLINE)
    async with running_relay(tmp_path, deadlines=deadlines) as relay:
        await ask_now_and_then(relay, clock)


async def ask_now_and_then(relay: RunningRelay, clock: LoopClock) -> None:
    path = relay.hook_url.removeprefix(relay.url).encode()
    head = b"POST " + path + b" HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n\r\n"
    async with callers(relay.port, 1, b"") as [(reader, writer)]:
        for number in (1, 2, 3):
            body = a_hook(number)
            writer.write(head % len(body) + body[:-1])
            async with callers(relay.port, 1, b"") as [other]:
                await closed(other, clock)  # a whole deadline passes
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


# -- too much, or something else ---------------------------------------------------------------------------

HEAD = b"POST /hooks/smartsupp/%b HTTP/1.1\r\nHost: relay\r\n" % TOKEN.encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 2_000_000
"""Bytes. More than any buffer between the two holds."""


async def talk(port: int, *sent: bytes, half_close: bool = False) -> bytes:
    """All that comes back for these pieces, each sent by itself, until the relay closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def whole(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([HEAD + b"Content-Length: %d" % len(body), *headers, b"", body])


def chunks(body: bytes, extension: bytes = b"", size: int = 1000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(each), extension, each) for each in pieces)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"a: b\r\n" * 101, 431),
        (HEAD + b"a: b\r\n" * (MANY // 6), 431),
        (HEAD + b"X: " + b"x" * MANY, 431),
        (HEAD + b"x" * MANY, 431),
        (HEAD + b"X: " + b" " * MANY, 431),
        (b"GET /" + b"x" * MANY, 414),
        (b"GET /?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: relay\r\n\r\n", 414),
        (b"\r\n" * MANY, 431),
        (CHUNKED + b"1;" + b"x" * MANY, 431),
        (CHUNKED + chunks(b"{" * 2000, b";" + b"x" * 100, 1), 431),
        (CHUNKED + b"0" * MANY, 431),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 101, 431),
        (CHUNKED + b"0\r\nX: " + b"x" * MANY, 431),
        (CHUNKED + b"hello\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 400),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
    ],
)
async def test_too_much_beside_a_body_or_what_is_no_request_is_refused_in_json(
    patient: RunningRelay, sent: bytes, status: int
) -> None:
    """C1, C16."""
    answer = await talk(patient.port, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    assert b"content-type: application/json" in head
    assert json.loads(body).keys() == {"error"}
    assert patient.rows(
        "SELECT (SELECT count(*) FROM hooks), (SELECT count(*) FROM set_aside)"
    ) == [(0, 0)]


@pytest.mark.parametrize(
    "sent",
    [
        whole(a_hook(), *[b"a: b"] * 97, b"Connection: close"),
        whole(a_hook(), b"X: " + b"x" * 65_000, b"Connection: close"),
        CHUNKED + chunks(a_hook(), b";a=b", 100) + b"0\r\nDigest: x\r\n\r\n",
        CHUNKED + chunks(a_hook(filling="x" * 100_000), b"", 1) + b"0\r\n\r\n",
        b"\r\n\r\n" + whole(a_hook()),
    ],
)
async def test_as_much_as_anybody_needs_is_taken(patient: RunningRelay, sent: bytes) -> None:
    answer = await talk(patient.port, sent, half_close=True)
    assert answer.startswith(b"HTTP/1.1 202 ")


async def test_what_comes_after_the_body_is_no_header_of_the_request(patient: RunningRelay) -> None:
    trailer = b"0\r\nContent-Encoding: gzip\r\n\r\n"
    answer = await talk(patient.port, CHUNKED, chunks(a_hook()), trailer, half_close=True)
    assert answer.startswith(b"HTTP/1.1 202 ")


async def test_a_header_of_fifty_megabytes_costs_no_memory(tmp_path: Path) -> None:
    with relay_process(settings(tmp_path)) as relay:
        await relay.post(a_hook())
        before = peak_memory(relay)
        port = int(relay.url.rpartition(":")[2])
        for begin in (HEAD + b"X: ", b"GET /", CHUNKED + b"1;", CHUNKED + b"0\r\nX: "):
            assert b" 4" in await talk(port, begin, *[b"x" * 2**20] * 50)
        assert peak_memory(relay) < before + 8 * 2**20


async def test_of_requests_that_do_not_wait_for_answers_only_the_first_are_answered(
    patient: RunningRelay,
) -> None:
    """C1."""
    most = b"".join([whole(a_hook(1)), GET * MOST_AHEAD])
    answer = await talk(patient.port, most, half_close=True)
    assert (answer.count(b"HTTP/1.1 202 "), answer.count(b"alive\n")) == (1, MOST_AHEAD)
    for more in (GET, GET * 500, whole(a_hook(2))):
        answer = await talk(patient.port, most + more)
        assert (answer.count(b"HTTP/1.1 200 "), answer.count(b"alive\n")) == (
            1 + MOST_AHEAD,
            MOST_AHEAD,
        )
        assert answer.count(b"HTTP/1.1 ") == 1 + MOST_AHEAD
    assert patient.rows("SELECT count(*) FROM hooks") == [(1,)]


async def test_a_million_requests_that_do_not_wait_for_answers_cost_no_memory(
    tmp_path: Path,
) -> None:
    with relay_process(settings(tmp_path)) as relay:
        await relay.post(a_hook())
        before = peak_memory(relay)
        port = int(relay.url.rpartition(":")[2])
        for _ in range(4):
            with contextlib.suppress(ConnectionError):  # closed while more was sent
                await talk(port, *[GET * 1000] * 250)
        assert (await relay.post(a_hook(2))).status == 202
        assert peak_memory(relay) < before + 8 * 2**20


def peak_memory(relay: RelayProcess) -> int:
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize(
    "offer",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"),
        (b"Upgrade: websocket", b"connection: keep-alive, upgrade"),
        (b"UPGRADE: h2c, foo/2", b"CONNECTION: UPGRADE"),
    ],
)
@pytest.mark.parametrize("cut", [0, 30, 100, -1])
async def test_an_offer_of_another_protocol_is_passed_by(
    patient: RunningRelay, offer: tuple[bytes, ...], cut: int
) -> None:
    """C8."""
    first, second = (whole(a_hook(number), *offer) for number in (1, 2))
    chunked = b"\r\n".join([CHUNKED.rstrip(), *offer, b"", chunks(a_hook(3)) + b"0\r\n\r\n"])
    sent = first + chunked + second
    answer = await talk(patient.port, sent[:cut], sent[cut:], half_close=True)
    assert answer.count(b"HTTP/1.1 202 ") == 3
    stored = {zlib.decompress(body) for (body,) in patient.rows("SELECT body FROM hook_bodies")}
    assert stored == {a_hook(1), a_hook(2), a_hook(3)}


async def test_whoever_closes_their_side_after_a_whole_request_is_answered(
    patient: RunningRelay,
) -> None:
    """C10."""
    answer = await talk(patient.port, whole(a_hook()) + GET + GET, half_close=True)
    assert answer.count(b"HTTP/1.1 202 ") == 1
    assert answer.count(b"alive\n") == 2


@pytest.mark.parametrize("sent", [b"", HEAD, whole(a_hook())[:-1], CHUNKED + b"1\r\n{\r\n"])
async def test_whoever_closes_their_side_before_is_let_go(
    patient: RunningRelay, sent: bytes
) -> None:
    assert await talk(patient.port, sent, half_close=True) == b""
    assert patient.rows("SELECT count(*) FROM hooks") == [(0,)]


async def test_what_was_asked_before_nonsense_is_answered_before_the_end(
    patient: RunningRelay,
) -> None:
    answer = await talk(patient.port, whole(a_hook()) + b"nonsense\r\n\r\n" + whole(a_hook(2)))
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert patient.rows("SELECT count(*) FROM hooks") == [(1,)]
