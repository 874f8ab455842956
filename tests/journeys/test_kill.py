"""Whatever was answered 2xx arrives, though the relay is killed again and again in the middle of its work."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import aiohttp
import pytest

from tests.builders import a_hook
from tests.running import RelayProcess, relay_process, rows, settings
from tests.servers import HttpServer, SmtpServer

pytestmark = pytest.mark.long

KILLS, MANY_KILLS = 30, 200
"""In the suite that runs often, and in `make proof`."""
SENDERS = 4
MOST_POSTED = 50
"""Between two kills: or a fast sender would pile up what takes minutes to be told."""
PATIENCE = 90.0
"""Seconds for the next delivery to arrive. Thousands may wait at the end, which a busy computer sends in minutes."""
MOST_IN_FLIGHT = 4 + 8
"""Mails and posts that can be on their way at once: each may be said twice for one kill."""

TRIES = """
    SELECT destination, chats.visitor, attempts FROM deliveries JOIN chats ON chats.id = chat_id
"""


class Load:
    """Senders that post missed chats, each once, and note which were answered 2xx."""

    def __init__(self, relay: RelayProcess) -> None:
        self.relay = relay
        self.answered: set[str] = set()
        self.posted = 0
        self._moved = asyncio.Event()

    async def post(self, client: aiohttp.ClientSession) -> None:
        end = self.posted + MOST_POSTED
        while self.posted < end:
            self.posted += 1
            name = f"chat-{self.posted:06d}"
            body = a_hook(self.posted, missed=True, visitor={"name": name})
            try:
                async with client.post(self.relay.hook_url, data=body) as answer:
                    await answer.read()
                    if answer.status == 202:
                        self.answered.add(name)
            except aiohttp.ClientError:
                return
            finally:
                self._moved.set()

    async def until(self, moment: Awaitable[object]) -> None:
        """Posts until then, and kills the relay while the senders go on."""
        async with aiohttp.ClientSession() as client:
            senders = [asyncio.create_task(self.post(client)) for _ in range(SENDERS)]
            await moment
            await asyncio.to_thread(self.relay.kill)
            await asyncio.gather(*senders)

    async def answers(self, more: int) -> None:
        """So many more."""
        wanted = len(self.answered) + more
        while len(self.answered) < wanted:
            self._moved.clear()
            await self._moved.wait()


def chats_in(texts: Iterable[bytes]) -> Counter[str]:
    """How often each chat was told of."""
    names = (re.search(rb"chat-\d{6}", text) for text in texts)
    return Counter(name.group().decode() for name in names if name)


@pytest.mark.timeout(1800)
async def test_kills_under_load_lose_nothing_that_was_answered(
    tmp_path: Path, is_long: bool, record_property: Callable[[str, object], None]
) -> None:
    kills = MANY_KILLS if is_long else KILLS
    chance = random.Random(20261122)  # noqa: S311 - the same moments at every run
    async with SmtpServer() as mail, HttpServer() as room:
        variables = settings(
            tmp_path, smtp=mail.port, http=room.port, RELAY_MAIL_PER_HOUR="unlimited"
        )
        with relay_process(variables, is_forked=True) as relay:
            load = Load(relay)
            for kill in range(kills):
                if kill:
                    await asyncio.to_thread(relay.start)
                # While hooks are taken; and by turns while messages are sent, which a fresh relay does a little later.
                more = chance.randrange(1, 40)
                match kill % 3:
                    case 0:
                        await load.until(load.answers(more))
                    case 1:
                        await load.until(mail.received(len(mail.mails) + more, PATIENCE))
                    case 2:
                        await load.until(room.received(len(room.requests) + more, PATIENCE))
            await asyncio.to_thread(relay.start)

            def mailed() -> Counter[str]:
                return chats_in(one.data for one in mail.mails)

            def posted() -> Counter[str]:
                return chats_in(request.body for request in room.requests)

            # Every chat is told of at least once: so many must come before a look is worth it. What was under
            # way at two kills waits a while before it is tried again (WAITS_WHEN_BLAMED).
            least = len(load.answered)
            while len(mail.mails) < least or not load.answered <= mailed().keys():
                await mail.received(len(mail.mails) + 1, PATIENCE)
            while len(room.requests) < least or not load.answered <= posted().keys():
                await room.received(len(room.requests) + 1, PATIENCE)
            assert await asyncio.to_thread(relay.stop) == 0

        assert len(load.answered) > kills
        copies = sum(mailed().values()) - len(mailed()) + sum(posted().values()) - len(posted())
        record_property("kills", kills)
        record_property("chats answered 2xx", len(load.answered))
        record_property("of these lost", len(load.answered - (mailed().keys() & posted().keys())))
        record_property("messages", sum(mailed().values()) + sum(posted().values()))
        record_property("copies among them", copies)
        assert copies <= kills * MOST_IN_FLIGHT
        # Never more of a message than attempts that were written down before they were made.
        tries = {(place, name): n for place, name, n in rows(tmp_path / "relay.db", TRIES)}
        assert all(count <= tries["desk", name] for name, count in mailed().items())
        assert all(count <= tries["room", name] for name, count in posted().items())
        # A copy is told from a new mail by its Message-ID.
        assert len({one.message["Message-ID"] for one in mail.mails}) == len(mailed())
        # Queued are only some that arrived, whose answers were lost with a process.
        states = rows(tmp_path / "relay.db", "SELECT DISTINCT state FROM deliveries")
        assert {state for (state,) in states} <= {"delivered", "queued"}
        assert rows(tmp_path / "relay.db", "PRAGMA integrity_check") == [("ok",)]
