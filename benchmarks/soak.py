"""A relay under a steady load for as long as you like, with slow and flaky servers: nothing may grow, or get lost.

    python -m benchmarks.soak --minutes 10 --per-second 5

Prints a line every ten seconds, and ends with status 1 where memory or descriptors grew, the log of the database grew
beyond its bound, or a message is missing or came twice. Everything listens on loopback.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.builders import a_hook
from tests.journeys.test_kill import chats_in
from tests.running import RelayProcess, relay_process, rows, settings
from tests.servers import (
    DROP,
    HttpAnswer,
    HttpRequest,
    HttpServer,
    HttpStep,
    Mail,
    Misdeed,
    SmtpServer,
)

BETWEEN_LOOKS = 10.0
PATIENCE = 1200.0
"""Seconds after the load for what the servers refused to be tried again: the schedule waits minutes by then."""
MOST_WAL = 64 * 2**20
MIB = 2**20
UNSURE = """
    SELECT chats.visitor FROM deliveries JOIN chats ON chats.id = chat_id
    WHERE state = 'maybe delivered' AND destination = 'room'
"""


class FlakyMail(SmtpServer):
    """Slow; refuses for a while, or takes the text and drops the line before its yes."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self.well = False

    def step(self, stage: str) -> str | Misdeed | None:
        bad: dict[str, tuple[str | Misdeed, float]]
        bad = {"rcpt": ("451 4.3.0 later", 0.03), "body": (DROP, 0.01), "greeting": (DROP, 0.01)}
        step, share = bad.get(stage, (None, 0.0))
        return step if not self.well and self._chance.random() < share else None

    async def record(self, mail: Mail) -> None:
        await asyncio.sleep(self._chance.random() * 0.1)
        await super().record(mail)


class FlakyRoom(HttpServer):
    """Slow; has bad moments, and finds at times that it is asked too often."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(usual=self._answer)
        self._chance = chance
        self.well = False
        self.taken: list[bytes] = []

    def _answer(self, request: HttpRequest) -> HttpStep:
        luck = 1.0 if self.well else self._chance.random()
        if luck < 0.02:
            return HttpAnswer(status=503, body="")
        if luck < 0.03:
            return HttpAnswer(status=429, body="", headers={"Retry-After": "1"})
        self.taken.append(request.body)
        return HttpAnswer()

    async def _write(self, writer: asyncio.StreamWriter, answer: HttpAnswer) -> None:
        await asyncio.sleep(self._chance.random() * 0.1)
        await super()._write(writer, answer)


@dataclass(frozen=True, slots=True)
class Look:
    """What the relay has at one moment."""

    at: float
    rss: int
    rss_of_children: int
    descriptors: int
    wal: int
    database: int
    queued: int

    def __str__(self) -> str:
        return (
            f"{self.at:6.0f} s  memory {self.rss / MIB:6.1f} MiB, rendering {self.rss_of_children / MIB:6.1f} MiB, "
            f"descriptors {self.descriptors:3d}, log {self.wal / MIB:5.1f} MiB, "
            f"database {self.database / MIB:6.1f} MiB, queued {self.queued}"
        )


def look(relay: RelayProcess, folder: Path, at: float) -> Look:
    pid = relay.process.pid
    database = folder / "relay.db"
    wal = folder / "relay.db-wal"
    (queued,) = rows(
        database, "SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')"
    )
    return Look(
        at=at,
        rss=rss(pid),
        rss_of_children=sum(rss(child) for child in descendants(pid)),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        wal=wal.stat().st_size if wal.exists() else 0,
        database=database.stat().st_size,
        queued=queued[0],
    )


def rss(pid: int) -> int:
    """Bytes; 0 for one that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    sizes = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(next(sizes, 0)) * 1024


def descendants(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(n) for task in tasks for n in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from descendants(child)


@dataclass(slots=True)
class Load:
    """Hooks at a steady pace: one in four is to be told, some come again, some are no chats."""

    relay: RelayProcess
    chance: random.Random
    posted: int = 0
    answered: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)

    async def run(self, client: aiohttp.ClientSession, per_second: float, seconds: float) -> None:
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            self.posted += 1
            await self._post(client, self.posted)
            await asyncio.sleep(max(0.0, self.posted / per_second - elapsed))

    async def _post(self, client: aiohttp.ClientSession, number: int) -> None:
        name = f"chat-{number:06d}"
        told = number % 4 == 0
        body = a_hook(number, missed=told, visitor={"name": name, "note": "x" * (number % 3000)})
        again = self.chance.random()
        if again < 0.02:
            await self._send(client, body[: len(body) // 2])
        if await self._send(client, body) == 202 and told:
            self.answered.add(name)
        if again > 0.95:
            await self._send(client, body)

    async def _send(self, client: aiohttp.ClientSession, body: bytes) -> int:
        async with client.post(self.relay.hook_url, data=body) as answer:
            await answer.read()
            self.answers[answer.status] += 1
            return answer.status


async def watch(relay: RelayProcess, folder: Path, looks: list[Look], began: float) -> None:
    while True:
        await asyncio.sleep(BETWEEN_LOOKS)
        looks.append(look(relay, folder, time.monotonic() - began))
        print(looks[-1], flush=True)


def grown(looks: list[Look]) -> Iterator[str]:
    """What grew from the second quarter, when all is warm, to the last."""
    quarter = max(1, len(looks) // 4)
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]
    if not early:
        return
    before, after = max(one.rss for one in early), max(one.rss for one in late)
    if after > before * 1.1 + 4 * MIB:
        yield f"memory grew from {before / MIB:.1f} to {after / MIB:.1f} MiB"
    before, after = max(one.descriptors for one in early), max(one.descriptors for one in late)
    if after > before + 8:
        yield f"descriptors grew from {before} to {after}"
    if max(one.wal for one in looks) > MOST_WAL:
        yield "the database's log grew beyond 64 MiB"


async def soak(minutes: float, per_second: float, seed: int) -> list[str]:
    """What was wrong."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="relay-soak-") as name:
        folder = Path(name)
        async with FlakyMail(chance) as mail, FlakyRoom(chance) as room:
            variables = settings(
                folder, smtp=mail.port, http=room.port, RELAY_MAIL_PER_HOUR="unlimited"
            )
            with relay_process(variables) as relay:
                load, looks = Load(relay, chance), list[Look]()
                watching = asyncio.create_task(watch(relay, folder, looks, time.monotonic()))
                async with aiohttp.ClientSession() as client:
                    await load.run(client, per_second, minutes * 60)
                while_loaded = list(looks)
                mail.well = room.well = True
                print("no more hooks; waiting for what is still queued", flush=True)
                await until_told(folder)
                watching.cancel()
                stopped = await asyncio.to_thread(relay.stop)
            mailed = chats_in(one.data for one in mail.mails)
            posted = chats_in(room.taken)
            states = rows(folder / "relay.db", "SELECT state, count(*) FROM deliveries GROUP BY 1")
            unsure = rows(folder / "relay.db", UNSURE)
    print(
        f"answers {dict(load.answers)}, chats to be told {len(load.answered)}, states {dict(states)}"
    )
    print(f"mails {sum(mailed.values())}, posts {sum(posted.values())}")
    left = {name for (name,) in unsure}
    print(f"left to a person, for the room has failed in the middle of a post twice: {len(left)}")
    return [
        *grown(while_loaded),
        *missing(load.answered - left, mailed, posted),
        *["it did not stop"] * bool(stopped),
    ]


async def until_told(folder: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        live = "SELECT 1 FROM deliveries WHERE state IN ('queued', 'sending') LIMIT 1"
        while rows(folder / "relay.db", live):  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(1)


def missing(answered: set[str], mailed: Counter[str], posted: Counter[str]) -> Iterator[str]:
    for what, told in (("mail", mailed), ("post", posted)):
        lost = answered - told.keys()
        copies = sum(told.values()) - len(told)
        print(f"{what}s lost: {len(lost)}, copies: {copies}")
        if lost:
            yield f"{len(lost)} chats were told of by no {what}"
        if copies:
            yield f"{copies} {what}s came twice"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--per-second", type=float, default=5)
    parser.add_argument("--seed", type=int, default=20261125)
    given = parser.parse_args()
    wrong = asyncio.run(soak(given.minutes, given.per_second, given.seed))
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("sound" if not wrong else "not sound")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
