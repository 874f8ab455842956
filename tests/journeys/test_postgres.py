"""Relays that share a PostgreSQL server: whatever ends, what was answered 2xx arrives."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from relay.web.app import Deadlines
from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.journeys.test_kill import chats_in
from tests.postgres import PostgresCluster, postgres_cluster
from tests.running import DEADLINE, RULES, RelayProcess, relay_process, running_relay, settings
from tests.servers import HANG, HttpAnswer, HttpServer, SmtpServer

pytestmark = pytest.mark.long

SENDERS = 4
HELD = "SELECT chat FROM chats JOIN deliveries ON chat_id = chats.id WHERE why = 'muted:1' AND state = 'scheduled'"
BETWEEN_TRIES = 0.05
"""Seconds, for a sender that was refused."""
PATIENCE = aiohttp.ClientTimeout(total=15)
"""With a relay that stands still; longer than one waits for a server that restarts."""


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresCluster]:
    """A server that the journeys may restart."""
    with postgres_cluster() as running:
        yield running


@dataclass(slots=True)
class Installation:
    """Far ends, a database, and relays that serve them."""

    mail: SmtpServer
    room: HttpServer
    cluster: PostgresCluster
    database: str
    relays: list[RelayProcess]

    def mailed(self) -> Counter[str]:
        return chats_in(one.data for one in self.mail.mails)

    def posted(self) -> Counter[str]:
        return chats_in(request.body for request in self.room.requests)

    async def until_told(self, chats: set[str]) -> None:
        # Each is told of at least once: so many must come before a look is worth it.
        least = len(chats)
        mails, posts = self.mail.mails, self.room.requests
        await self.mail.until(lambda: len(mails) >= least and chats <= self.mailed().keys())
        await self.room.until(lambda: len(posts) >= least and chats <= self.posted().keys())

    def copies(self) -> int:
        return sum(sum(told.values()) - len(told) for told in (self.mailed(), self.posted()))

    def states(self) -> dict[str, int]:
        question = "SELECT state, count(*) FROM deliveries GROUP BY state"
        return dict(self.cluster.rows(self.database, question))


@contextlib.asynccontextmanager
async def installation(
    folder: Path, cluster: PostgresCluster, relays: int, rules: str = RULES
) -> AsyncIterator[Installation]:
    database = cluster.new_database()
    async with SmtpServer() as mail, HttpServer() as room:
        variables = settings(
            folder,
            rules=rules,
            smtp=mail.port,
            http=room.port,
            RELAY_DATABASE=cluster.url(database),
        )
        with contextlib.ExitStack() as stack:
            logs = [folder / f"relay-{number}.log" for number in range(relays)]
            running = [
                stack.enter_context(relay_process(variables, log=log, is_forked=True))
                for log in logs
            ]
            yield Installation(mail, room, cluster, database, running)


class Load:
    """Senders that post missed chats, each until it is answered 2xx, to whichever relay answers."""

    def __init__(self, relays: list[RelayProcess]) -> None:
        self.relays = relays
        self.answered: set[str] = set()
        self._posted = 0
        self._ends = False
        self._moved = asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._ends = False
        self._senders = [asyncio.create_task(self._send(number)) for number in range(SENDERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ends = True
        await asyncio.gather(*self._senders)

    async def _send(self, number: int) -> None:
        async with aiohttp.ClientSession() as client:
            while not self._ends:
                self._posted += 1
                chat = self._posted
                name = f"chat-{chat:06d}"
                body = a_hook(chat, missed=True, visitor={"name": name})
                tries = number
                while not await self._is_taken(client, tries, body):
                    tries += 1
                    await asyncio.sleep(BETWEEN_TRIES)
                self.answered.add(name)
                self._moved.set()

    async def _is_taken(self, client: aiohttp.ClientSession, tries: int, body: bytes) -> bool:
        relay = self.relays[tries % len(self.relays)]
        try:
            async with client.post(relay.hook_url, data=body, timeout=PATIENCE) as answer:
                await answer.read()
                return answer.status in {200, 202}
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def until_answered(self, more: int) -> None:
        wanted = len(self.answered) + more
        while len(self.answered) < wanted:
            self._moved.clear()
            await asyncio.wait_for(self._moved.wait(), DEADLINE)


@pytest.mark.parametrize("relays", [2, pytest.param(4, marks=pytest.mark.proof), 8])
async def test_relays_on_one_database_deliver_each_once(
    tmp_path: Path, own: PostgresCluster, relays: int
) -> None:
    async with installation(tmp_path, own, relays) as here:
        async with Load(here.relays) as load:
            await load.until_answered(150)
        await here.until_told(load.answered)
        assert [await asyncio.to_thread(relay.stop) for relay in here.relays] == [0] * relays
        assert here.copies() == 0
        assert here.states() == {"delivered": 2 * len(load.answered)}


async def test_a_mute_is_in_force_at_every_relay(tmp_path: Path, own: PostgresCluster) -> None:
    database = own.new_database()
    async with SmtpServer() as mail, HttpServer() as room:
        url, chats = own.url(database), itertools.count(1)
        here = settings(tmp_path, smtp=mail.port, http=room.port, RELAY_DATABASE=url)
        with (
            relay_process(here, is_forked=True) as one,
            relay_process(here, is_forked=True) as other,
        ):
            made = await command(
                here, "mute", "Missed chats", "--for", "2h", "--because", "spam", "--by", "Anna"
            )
            assert made.status == 0, made.err
            for relay in (one, other):
                number = 0
                while (str(number),) not in own.rows(database, HELD):
                    number = next(chats)
                    assert (await relay.post(a_hook(number, missed=True))).status == 202


async def test_a_killed_relays_work_is_taken_up_by_the_other(
    tmp_path: Path, own: PostgresCluster
) -> None:
    async with installation(tmp_path, own, 2) as here:
        killed, other = here.relays
        async with Load(here.relays) as load:
            await load.until_answered(60)
            await asyncio.to_thread(killed.kill)
            load.relays = [other]
            await load.until_answered(60)
        # No start, no help: the other finds out by itself when the leases end.
        await here.until_told(load.answered)
        while "sending" in await asyncio.to_thread(here.states):
            pass  # what had arrived when its relay was killed, which nobody could write down
        assert await asyncio.to_thread(other.stop) == 0
        assert here.copies() <= 4 + 8  # those that were under way
        assert set(here.states()) <= {"delivered", "queued"}


async def test_a_lone_relay_that_is_killed_and_started_again_goes_on_at_once(
    tmp_path: Path, own: PostgresCluster
) -> None:
    """Its leases would end after half a minute, which nobody waits for here."""
    async with SmtpServer() as mail, HttpServer(HANG) as room:
        database = own.new_database()
        variables = settings(
            tmp_path, smtp=mail.port, http=room.port, RELAY_DATABASE=own.url(database)
        )
        with relay_process(variables, is_forked=True) as relay:
            assert (await relay.post(a_hook(1, missed=True))).status == 202
            await room.received(1)
            await asyncio.to_thread(relay.kill)
            await asyncio.to_thread(relay.start)
            assert ("lost",) in own.rows(database, "SELECT ending FROM attempts")
            await room.received(2)
            assert await asyncio.to_thread(relay.stop) == 0


@pytest.mark.proof
@pytest.mark.timeout(200)
async def test_a_relay_that_stands_still_past_its_leases_tells_nobody_twice_when_it_goes_on(
    tmp_path: Path, own: PostgresCluster
) -> None:
    async with installation(tmp_path, own, 2) as here:
        frozen, other = here.relays
        async with Load(here.relays) as load:
            await load.until_answered(60)
            frozen.process.send_signal(signal.SIGSTOP)
            load.relays = [other]
            await load.until_answered(60)
        await here.until_told(load.answered)
        frozen.process.send_signal(signal.SIGCONT)
        load.relays = [frozen, other]
        async with load:
            await load.until_answered(20)
        await here.until_told(load.answered)
        assert [await asyncio.to_thread(relay.stop) for relay in here.relays] == [0, 0]
        # Only what it was sending when it stood still: no chat a third time, none more than could be under way.
        assert here.copies() <= 4 + 8
        assert max((here.mailed() | here.posted()).values()) <= 2
        assert set(here.states()) == {"delivered"}


async def test_a_server_that_crashes_in_the_middle_loses_nothing(
    tmp_path: Path, own: PostgresCluster
) -> None:
    async with installation(tmp_path, own, 2) as here:
        async with Load(here.relays) as load:
            for _ in range(3):
                await load.until_answered(40)
                await asyncio.to_thread(own.stop)
                await asyncio.to_thread(own.start)
            await load.until_answered(40)
        await here.until_told(load.answered)
        assert [await asyncio.to_thread(relay.stop) for relay in here.relays] == [0, 0]
        assert here.copies() == 0
        assert here.states() == {"delivered": 2 * len(load.answered)}


async def test_connections_dropped_in_the_middle_lose_nothing(
    tmp_path: Path, own: PostgresCluster
) -> None:
    async with installation(tmp_path, own, 2) as here:
        async with Load(here.relays) as load:
            for _ in range(10):
                await load.until_answered(15)
                await asyncio.to_thread(own.drop_connections, here.database)
            await load.until_answered(15)
        await here.until_told(load.answered)
        assert [await asyncio.to_thread(relay.stop) for relay in here.relays] == [0, 0]
        assert here.copies() == 0
        assert here.states() == {"delivered": 2 * len(load.answered)}


async def test_while_the_server_is_away_hooks_are_refused_and_all_goes_on_when_it_is_back(
    tmp_path: Path, own: PostgresCluster
) -> None:
    url = own.url(own.new_database())
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, RELAY_DATABASE=url, **ends.settings) as relay,
    ):
        own.stop()
        try:
            refused = await relay.post(a_hook(1, missed=True))
            assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
            ready = await relay.ask("GET", "/readyz")
            assert ready.status == 503
            assert "the database can't be used" in ready.json["reasons"][0]
            assert (await relay.ask("GET", "/healthz")).status == 200
        finally:
            own.start()
        while (await relay.post(a_hook(1, missed=True))).status not in {200, 202}:
            pass
        await ends.mail.received(1)
        await ends.posted(ROOM, 1)
        assert (await relay.ask("GET", "/readyz")).status == 200


async def test_a_server_that_hangs_is_told_of_and_keeps_no_caller_waiting_for_ever(
    tmp_path: Path,
    own: PostgresCluster,
) -> None:
    """A disk that hangs looks the same: `fsfreeze` needs root and a file system of its own."""
    impatient = Deadlines(write=0.2)
    url = own.url(own.new_database())
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, deadlines=impatient, RELAY_DATABASE=url, **ends.settings) as relay,
    ):
        own.freeze()
        try:
            for _ in range(2):
                refused = await relay.post(a_hook(1, missed=True))
                assert refused.status == 503
                assert refused.json["error"] == "the database does not answer"
            ready = await relay.ask("GET", "/readyz")
            assert (ready.status, ready.json["reasons"]) == (503, ["the database does not answer"])
            async with relay.client.get(f"{relay.url}/metrics") as metrics:
                assert "relay_database_answers 0.0" in await metrics.text()
        finally:
            own.thaw()
        while (await relay.post(a_hook(1, missed=True))).status not in {200, 202}:
            pass
        await ends.mail.received(1)
        await ends.posted(ROOM, 1)
        answers = ""
        while "relay_database_answers 1.0" not in answers:
            async with relay.client.get(f"{relay.url}/metrics") as metrics:
                answers = await metrics.text()


PACED = """\
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: 2/s}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""


async def test_relays_on_one_database_keep_one_pace(tmp_path: Path, own: PostgresCluster) -> None:
    async with installation(tmp_path, own, 3, rules=PACED) as here:
        for chat in range(9):
            relay = here.relays[chat % 3]
            name = f"chat-{chat:06d}"
            assert (
                await relay.post(a_hook(chat, missed=True, visitor={"name": name}))
            ).status == 202
        await here.room.until(lambda: len(here.room.requests) >= 9)
        started = [
            at for (at,) in own.rows(here.database, "SELECT started_at FROM attempts ORDER BY 1")
        ]
        assert len(started) == 9
        # The ninth is four seconds after the first; three relays, each by itself, would need but one.
        assert started[-1] - started[0] > 3000


def test_without_a_token_to_share_a_relay_does_not_start(
    tmp_path: Path, own: PostgresCluster
) -> None:
    variables = settings(tmp_path, RELAY_DATABASE=own.url("nowhere"), RELAY_HOOK_TOKENS="")
    ended = subprocess.run(
        [sys.executable, "-m", "relay", "serve"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert ended.returncode == 2
    assert "RELAY_HOOK_TOKENS is not set: relays on a server share their tokens" in ended.stderr
    assert "Set it to the token in use: the end of the URL that Smartsupp posts to" in ended.stderr


async def test_a_far_end_that_is_broken_for_one_relay_is_let_alone_by_the_other(
    tmp_path: Path, own: PostgresCluster
) -> None:
    url = own.url(own.new_database())
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    async with (
        HttpServer(usual=HttpAnswer(status=410, body="no_service")) as room,
        running_relay(folders[0], http=room.port, RELAY_DATABASE=url) as one,
        running_relay(folders[1], http=room.port, RELAY_DATABASE=url) as other,
    ):
        await one.post(a_hook(1, missed=True))
        await room.until(lambda: len(room.requests) >= 1)

        for relay in (one, other):  # whichever of them took it
            broken: dict[str, str] = {}
            while "room" not in broken:
                broken = (await relay.ask("GET", "/readyz")).json["broken_destinations"]
        for chat in range(2, 12):
            await other.post(a_hook(chat, missed=True))
        assert len(room.requests) == 1
