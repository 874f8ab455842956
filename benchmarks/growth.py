"""Whether a long history slows the relay down: an outbox with 1,000,000 deliveries beside one with few, turn by turn.

    python benchmarks/growth.py sqlite
    python benchmarks/growth.py postgresql              a server of its own, filled by what `relay move` does

To hold: hooks are taken, and deliveries claimed and settled, at most a fifth slower. Processor time is that of this process
and, with a server, of the process there that serves it. Linux only: reads /proc.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402 - the path is set just above
from sqlalchemy.engine import Dialect  # noqa: E402

from relay.outbox import NewDelivery, NewHook, Outbox, Settlement, State, database_copy  # noqa: E402
from relay.outbox.database_session import CommandSessions  # noqa: E402
from relay.outbox.delivery_types import (  # noqa: E402
    from_ms,
    keys_of,
    to_ms,
)
from relay.outbox.history import Wanted, find, stored_hooks  # noqa: E402
from relay.outbox.leases import Leases  # noqa: E402
from relay.outbox.past_chats import count_hooks, find_chats  # noqa: E402
from relay.outbox.retention import Retention  # noqa: E402
from relay.outbox.schema import attempts, chats, deliveries, hook_bodies, hooks  # noqa: E402
from relay.outbox.statements import Statement  # noqa: E402
from relay.outbox.writer import Cursor  # noqa: E402
from relay.settings.database import Database  # noqa: E402
from relay.smartsupp import read_chat  # noqa: E402
from relay.transports import Ending  # noqa: E402
from tests.postgres import postgres_cluster, server  # noqa: E402

NOW = datetime.now(UTC)
SPAN = timedelta(days=300)
"""The history reaches back so far; it is kept for a year."""
PER_HOOK = 2
FEW = 2_000
OLD = 500
AT_ONCE = 32
LEASE = timedelta(minutes=20)
ACCOUNTS = 20
DESTINATIONS = ("desk", "room")
ENDED = (
    *[State.DELIVERED] * 960,
    *[State.ACCEPTED] * 20,
    *[State.FAILED] * 12,
    *[State.MAYBE_DELIVERED] * 7,
    State.QUARANTINED,
)
"""How a thousand deliveries have ended."""


def a_hook(account: int, chat: int) -> bytes:
    """About 4 kB, as finished chats have."""
    chance = random.Random(chat)
    words = [
        "order",
        "parcel",
        "invoice",
        "broken",
        "size",
        "colour",
        "return",
        "please",
        "thanks",
        "tomorrow",
        "address",
        "money",
    ]
    said = [
        {
            "type": ("visitor", "agent")[n % 2],
            "name": "Jana",
            "content": " ".join(chance.choices(words, k=12)),
            "sentAt": 1763800000000 + n * 20_000,
            "from": "agent:3",
            "triggeredBy": None,
        }
        for n in range(16)
    ]
    visitor = {"id": chat, "name": f"Visitor {chat}", "email": f"v{chat}@example.com"}
    state = {"id": chat, "isMissed": True, "isChat": True, "duration": 120, "messagesCount": 16}
    paths = [
        {"url": f"https://shop.example.com/{chance.random()}", "title": "Shop"} for _ in range(5)
    ]
    return json.dumps(
        {
            "accountId": account,
            "channel": state,
            "visitor": visitor,
            "paths": paths,
            "messages": said,
        }
    ).encode()


# -- a long history ---------------------------------------------------------------------------------------


class History:
    """Rows as the relay would have written them, made in bulk."""

    def __init__(self, many: int) -> None:
        self._many = many
        bodies = [a_hook(1, n) for n in range(200)]
        self._bodies = [zlib.compress(body, 1) for body in bodies]
        self._keys = [keys_of(read_chat(body).visitor) for body in bodies]
        self._chance = random.Random(1)

    def fill(self, cursor: Cursor, dialect: Dialect, ids: range) -> None:
        rows = [self._rows(n) for n in ids]
        for index, table in enumerate((chats, hooks, hook_bodies, deliveries, attempts)):
            columns: dict[str, Any] = {c.name: sa.bindparam(c.name) for c in table.columns}
            Statement(sa.insert(table).values(columns), dialect).run_many(
                cursor, [row for one in rows for row in one[index]]
            )

    def _rows(self, n: int) -> tuple[list[dict[str, Any]], ...]:
        at = to_ms(NOW - SPAN + SPAN * (n / self._many))
        chat = {
            "id": n, "account": str(n % ACCOUNTS), "chat": str(n // ACCOUNTS), "first_seen": at, "last_seen": at,
            "visitor": f"Visitor {n}", "began": at, "missed": True, "offline": False, "rating": None,
        }  # fmt: skip
        digest = hashlib.sha256(b"%d" % n).digest()
        hook = {
            "id": n,
            "chat_id": n,
            "body_hash": digest,
            "received_at": at,
            "rules_hash": "abc",
            "trouble": "",
            **self._keys[n % 200],
        }
        body = {"hook_id": n, "body": self._bodies[n % 200], "verdicts": zlib.compress(b"[]", 1)}
        told = [self._delivery(n, PER_HOOK * n + which, at) for which in range(PER_HOOK)]
        tried = [
            {"delivery_id": one["id"], "number": 1, "started_at": at, "ended_at": at + 90, "ending": "delivered",
             "detail": one["detail"]}
            for one in told
        ]  # fmt: skip
        return [chat], [hook], [body], told, tried

    def _delivery(self, hook: int, number: int, at: int) -> dict[str, Any]:
        state = self._chance.choice(ENDED)
        destination = (
            DESTINATIONS[number % 2] if self._chance.random() < 0.5 else f"room-{hook % 18}"
        )
        return {
            "id": number, "chat_id": hook, "hook_id": hook, "rule": f"Rule {hook % 10}-{number % 2}",
            "template": "missed", "destination": destination, "recipient": f"{destination}@example.com",
            "message_id": f"{hashlib.sha256(b'%d' % number).hexdigest()[:24]}@example.org", "generation": 1,
            "state": state.value, "created_at": at, "due_at": at, "lease_until": None, "settled_at": at + 100,
            "attempts": 1, "failures": 0, "unsure": 0, "suspect": False, "lost": 0, "short": False,
            "detail": "250 2.0.0 Ok: queued as 4XyZ1234", "receipt": "", "instead_of": "",
            "released_at": None, "why": "", "in_digest": False, "digest_id": None, "step": 0, "visitor": "", "quiet": False,
        }  # fmt: skip


async def fill(path: Path, many: int) -> None:
    """`many` deliveries, all of them settled."""
    outbox = await Outbox.open(path, now=NOW)
    last, history = many // PER_HOOK, History(many // PER_HOOK)
    for first in range(1, last + 1, 5_000):
        ids = range(first, min(first + 5_000, last + 1))
        await outbox.run(partial(history.fill, dialect=outbox.dialect, ids=ids))
        print(f"\r{path.name}: {ids[-1] * PER_HOOK} deliveries ", end="", file=sys.stderr)
    print(file=sys.stderr)
    await outbox.close()


# -- what is measured -------------------------------------------------------------------------------------


@dataclass
class Place:
    """An open outbox, and what it has been seen to take."""

    name: str
    database: Database
    outbox: Outbox
    backend: int = 0
    """The number of the server's process that serves it."""
    posted: int = 0
    taken: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Per phase: seconds by the clock and of processors, for each hook or delivery."""

    def processors(self) -> float:
        return time.process_time() + (processor_time(self.backend) if self.backend else 0.0)

    async def take(self, phase: str, count: int, act: Callable[[], Awaitable[object]]) -> None:
        began, used = time.perf_counter(), self.processors()
        await act()
        seen = (time.perf_counter() - began) / count, (self.processors() - used) / count
        self.taken.setdefault(phase, []).append(seen)

    def new_hooks(self, count: int) -> list[NewHook]:
        made = []
        for _ in range(count):
            self.posted += 1
            account, chat = self.posted % ACCOUNTS, 10_000_000 + self.posted
            body = a_hook(account, chat)
            queued = tuple(
                NewDelivery(
                    rule="Missed chats",
                    template="missed",
                    destination=name,
                    recipient=f"{name}@example.com",
                    message_id=f"{account}.{chat}.{name}@example.org",
                )
                for name in DESTINATIONS
            )
            made.append(
                NewHook(
                    body=body,
                    chat=read_chat(body),
                    received_at=NOW,
                    rules_hash="abc",
                    deliveries=queued,
                )
            )
        return made


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def accept(place: Place, new: list[NewHook]) -> None:
    waiting = iter(new)

    async def sender() -> None:
        for hook in waiting:
            await place.outbox.accept(hook)

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))


async def empty(place: Place) -> None:
    """As the dispatcher does: eight at a time of each destination."""
    done = Settlement(
        ending=Ending.DELIVERED, detail="250 2.0.0 Ok: queued", state=State.DELIVERED, ended_at=NOW
    )

    async def lane(name: str) -> None:
        while (claim := await place.outbox.claim(name, now=NOW, lease=LEASE, limit=8)).deliveries:
            await asyncio.gather(*(place.outbox.settle(one, done) for one in claim.deliveries))

    await asyncio.gather(*map(lane, DESTINATIONS))


async def one_round(place: Place, count: int) -> None:
    new = place.new_hooks(count)
    await place.take("accept", count, lambda: accept(place, new))
    await place.take("claim and settle", count * PER_HOOK, lambda: empty(place))
    new = place.new_hooks(count // 10)
    for hook in new:
        await place.take("accept, alone", 1, partial(place.outbox.accept, hook))
    await empty(place)


def questions(place: Place) -> dict[str, Callable[[], object]]:
    """What commands ask, each in a session of its own."""

    def listed(**wanted: object) -> Callable[[], object]:
        def ask() -> object:
            with CommandSessions(place.database).reading() as session:
                return find(session, Wanted(**wanted), limit=20)  # type: ignore[arg-type]

        return ask

    def hooks_of_a_chat() -> object:
        with CommandSessions(place.database).reading() as session:
            return stored_hooks(session, names=[("7", "77")])

    hour_ago = NOW - timedelta(hours=1)
    return {
        "relay deliveries": listed(),
        "... --failed": listed(states=[State.FAILED, State.MAYBE_DELIVERED, State.QUARANTINED]),
        "... --state queued": listed(states=[State.QUEUED]),
        "... --state sending": listed(states=[State.SENDING]),
        "... --state delivered": listed(states=[State.DELIVERED]),
        "... --destination (one that has few)": listed(destination="nobody"),
        "... --rule (one that has few)": listed(rule="nobody"),
        "... --failed --destination": listed(states=[State.FAILED], destination="room"),
        "... --chat": listed(chats=[("7", "77")]),
        "... --since 1h": listed(since=hour_ago),
        "... --since 1h --destination": listed(since=hour_ago, destination="nobody"),
        "... of three ids": listed(ids=[11, 222, 333]),
        "relay replay --chat": hooks_of_a_chat,
        "relay backtest --since 1h (count)": lambda: count_hooks(
            CommandSessions(place.database), hour_ago
        ),
        "relay export --email --visitor": lambda: find_chats(
            CommandSessions(place.database), emails=["nobody@example.net"], visitors=["7"]
        ),
    }


async def asked(place: Place) -> dict[str, float]:
    """Milliseconds, the median of five."""
    seen = {}
    for what, ask in questions(place).items():
        seen[what] = await _median(partial(asyncio.to_thread, ask))
    seen["/readyz, /metrics"] = await _median(place.outbox.summary)
    seen["retention, nothing old"] = await _median(
        lambda: _forget(place.outbox, timedelta(days=365))
    )
    if place.backend:
        # What neighbours ask every five seconds.
        operations, leases = place.outbox.operations, Leases(place.outbox.operations.sql)
        seen["a look, every 5 s"] = await _median(
            lambda: place.outbox.run(
                lambda cursor: (
                    leases.expire(cursor, ended_by=NOW, now=NOW, why=""),
                    operations.due_destinations(cursor, NOW),
                    operations.gates(cursor),
                )
            )
        )
    return seen


async def _median(act: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        await act()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def _nobody() -> None:
    """Nobody waits to be woken here."""


async def _forget(outbox: Outbox, keep_for: timedelta) -> None:
    done = asyncio.Event()
    upkeep = Retention(
        outbox,
        keep_for=keep_for,
        clock=lambda: NOW,
        look_again=_nobody,
        erased=lambda _: done.set(),
    )
    upkeep.start()
    await done.wait()
    await upkeep.stop()


# -- the run ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def databases(kind: str, folder: Path, many: int) -> Iterator[dict[str, Database]]:
    sizes = {"few": FEW, "many": many}
    paths = {name: folder / f"{name}.db" for name in sizes}
    for name, path in paths.items():
        asyncio.run(fill(path, sizes[name]))
    if kind == "sqlite":
        yield dict(paths)
        return
    with postgres_cluster(fsync="on", shared_buffers="128MB") as cluster:
        places: dict[str, Database] = {}
        for name, path in paths.items():
            target = server(cluster.url(cluster.new_database()))
            began = time.perf_counter()
            moved = database_copy.move(path, target, now=NOW, progress=lambda _: None)
            rows = sum(contents.rows for contents in moved.tables.values())
            print(f"{name}: {rows} rows moved in {time.perf_counter() - began:.0f} s", flush=True)
            path.unlink()
            places[name] = target
        yield places


@contextlib.asynccontextmanager
async def opened(name: str, database: Database) -> AsyncIterator[Place]:
    began = time.perf_counter()
    outbox = await Outbox.open(database, now=NOW)
    print(f"{name}: opened in {(time.perf_counter() - began) * 1000:.0f} ms", flush=True)
    place = Place(name, database, outbox)
    if not isinstance(database, Path):
        place.backend = await outbox.run(
            lambda cursor: cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
        )
    try:
        yield place
    finally:
        await outbox.close()


async def measure(found: dict[str, Database], rounds: int, count: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        few, many = [await stack.enter_async_context(opened(*item)) for item in found.items()]
        for place in (few, many):  # not counted: caches fill, statements are prepared
            await one_round(place, count)
            place.taken.clear()
        for number in range(rounds):
            for place in (few, many) if number % 2 else (many, few):
                await one_round(place, count)
        tell(few, many)
        few_asked, many_asked = await asked(few), await asked(many)
        print(f"\n{'milliseconds':38} {few.name:>9} {many.name:>9}")
        for what, took in few_asked.items():
            print(f"{what:38} {took:9.2f} {many_asked[what]:9.2f}")
        of_few, of_many = await erased(few), await erased(many)
        print(f"{'retention, each chat erased':38} {of_few:9.2f} {of_many:9.2f}")


async def erased(place: Place) -> float:
    """Milliseconds for each of the oldest 500 chats."""
    (there,) = await place.outbox.run(
        lambda cursor: cursor.execute(f"SELECT count(*) FROM chats WHERE id <= {OLD}").fetchone()
    )
    (at,) = await place.outbox.run(
        lambda cursor: cursor.execute(f"SELECT first_seen FROM chats WHERE id = {OLD}").fetchone()
    )
    began = time.perf_counter()
    await _forget(place.outbox, NOW - from_ms(at + 1))
    return (time.perf_counter() - began) * 1000 / int(there)


def tell(few: Place, many: Place) -> None:
    print(f"\n{'microseconds each (medians)':38} {few.name:>9} {many.name:>9} {'ratio':>7}")
    for phase in few.taken:
        for index, what in enumerate(("clock", "processors")):
            if phase.endswith("alone") and what == "processors":
                continue
            before, after = ([seen[index] for seen in place.taken[phase]] for place in (few, many))
            low, high = statistics.median(before) * 1e6, statistics.median(after) * 1e6
            print(f"{f'{phase}: {what}':38} {low:9.0f} {high:9.0f} {high / low:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["sqlite", "postgresql"])
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--hooks", type=int, default=500, help="in each round")
    asked_for = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="relay-growth-") as name,
        databases(asked_for.kind, Path(name), asked_for.deliveries) as found,
    ):
        asyncio.run(measure(found, asked_for.rounds, asked_for.hooks))


if __name__ == "__main__":
    main()
