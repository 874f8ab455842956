"""The n-th write, or the n-th sync, of the database fails: nothing that was answered is lost or told of twice.

The kernel's answer is forged by strace, which needs no root. A refused commit may appear later, after a crash: the
sender that posts its hook again is answered 200 then instead of 202.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.builders import a_hook
from tests.forks import ForkedRelay
from tests.journeys.test_kill import chats_in
from tests.running import TOKEN, RelayProcess, rows, settings
from tests.servers import HttpServer, SmtpServer

pytestmark = [
    pytest.mark.skipif(
        shutil.which("strace") is None and os.environ.get("CI") != "true", reason="needs strace"
    ),
    pytest.mark.long,
]

DEEPEST = 50
CHATS = DEEPEST
"""Each is posted after the answer to the one before, so that it has a commit of its own."""
LIVE = "SELECT 1 FROM deliveries WHERE state IN ('queued', 'sending') LIMIT 1"
OFTEN = {("pwrite64", "EIO", "11"), ("fdatasync", "ENOSPC", "7+")}
"""What is tried in the suite that runs often."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a system call of the relay says, and which one: the n-th of a thread, or that and all after it."""

    call: str
    error: str
    when: str

    @property
    def lasts(self) -> bool:
        return self.when.endswith("+")

    def strace(self, trace: Path) -> list[str]:
        # -D: what is started is the relay, and strace is beside it.
        inject = f"inject={self.call}:error={self.error}:when={self.when}"
        options = ["-D", "-f", "-qq", "--seccomp-bpf", "-o", str(trace)]
        return ["strace", *options, "-e", f"trace={self.call}", "-e", inject]


def faults() -> Iterator[object]:
    for call, error in (("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fdatasync", "EIO")):
        for n in range(1, DEEPEST + 1):
            yield fault(call, error, str(n))
    for n in range(1, DEEPEST + 1, 3):
        yield fault("fdatasync", "ENOSPC", f"{n}+")


def fault(call: str, error: str, when: str) -> object:
    marks = () if (call, error, when) in OFTEN else (pytest.mark.proof,)
    return pytest.param(Fault(call, error, when), marks=marks, id=f"{call}-{error}-{when}")


@dataclass(slots=True)
class Place:
    """A relay's folder, and servers that take what comes."""

    folder: Path
    mail: SmtpServer
    room: HttpServer
    variables: Mapping[str, str]

    def told(self) -> list[list[int]]:
        """How often each chat was told of, by mail and in the room."""
        mailed = chats_in(one.data for one in self.mail.mails)
        posted = chats_in(one.body for one in self.room.requests)
        return [[told[name(chat)] for chat in range(CHATS)] for told in (mailed, posted)]


def name(chat: int) -> str:
    return f"chat-{chat:06d}"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with SmtpServer() as mail, HttpServer() as room:
        variables = settings(tmp_path, smtp=mail.port, http=room.port)
        yield Place(tmp_path, mail, room, variables)


async def post(client: aiohttp.ClientSession, url: str, chat: int) -> int:
    body = a_hook(chat, missed=True, visitor={"name": name(chat)})
    async with client.post(f"{url}/hooks/smartsupp/{TOKEN}", data=body) as answer:
        await answer.read()
        return answer.status


async def post_all(place: Place, relay: RelayProcess, *, and_wait: bool) -> set[int]:
    """Each once; returns those that were answered 202, at once or when nothing is queued for them any more."""
    answered = set()
    async with aiohttp.ClientSession() as client:
        for chat in range(CHATS):
            status = await post(client, relay.url, chat)
            assert status in {202, 503}
            if status == 202:
                answered.add(chat)
        # Or the end would cut off what is being sent, which may make a copy too.
        while and_wait and rows(place.folder / "relay.db", LIVE):
            async with client.get(f"{relay.url}/healthz") as answer:
                assert answer.status == 200
    return answered


async def on_a_sound_disk(place: Place, answered: set[int]) -> None:
    """Started again: what was answered is there, what was refused is posted again, all of it is told of."""
    kept = {int(chat) for (chat,) in rows(place.folder / "relay.db", "SELECT chat FROM chats")}
    assert answered <= kept
    relay = ForkedRelay(place.variables)
    try:
        url = await relay.url()
        async with aiohttp.ClientSession() as client:
            for chat in range(CHATS):
                expected = {200} if chat in answered else {200, 202}
                assert await post(client, url, chat) in expected
        await place.mail.until(lambda: all(place.told()[0]))
        await place.room.until(lambda: all(place.told()[1]))
        assert await relay.stop() == 0
    finally:
        relay.close()
    database = place.folder / "relay.db"
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert rows(database, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]


async def new_file(place: Place) -> None:
    relay = ForkedRelay(place.variables)
    try:
        assert await relay.url()
        assert await relay.stop() == 0
    finally:
        relay.close()


@pytest.mark.parametrize("fault", list(faults()))
async def test_an_error_of_the_disk_costs_no_hook_and_makes_no_copy_unless_it_lasts(
    place: Place, fault: Fault
) -> None:
    await new_file(place)
    trace, log = place.folder / "trace", place.folder / "log"
    relay = RelayProcess(place.variables, *fault.strace(trace), log=log)
    answered: set[int] = set()
    try:
        await asyncio.to_thread(relay.start)
        answered = await post_all(place, relay, and_wait=not fault.lasts)
        assert await asyncio.to_thread(relay.stop) == 0
    except AssertionError:
        # It does not start then, and says why.
        assert not relay.url
        assert relay.process.wait() == relay.stop() == 2
        assert "The relay can't start:" in log.read_text()
    finally:
        if relay.process.poll() is None:
            relay.kill()
    assert "(INJECTED)" in trace.read_text()
    assert "Traceback" not in log.read_text()
    await on_a_sound_disk(place, answered)
    if fault.lasts:
        # What was being sent when the disk failed for good may have arrived, and nobody could write it down.
        assert max(max(told) for told in place.told()) <= 2
        assert len({one.message["Message-ID"] for one in place.mail.mails}) == CHATS
    else:
        assert place.told() == [[1] * CHATS, [1] * CHATS]
