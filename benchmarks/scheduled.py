"""What 100,000 deliveries that wait for their time cost: looking for what is due, and releasing 200 at once.

    python benchmarks/scheduled.py

In an SQLite file and on a PostgreSQL server of its own. To hold: a look takes less than 1 ms, a release of 200 in one
transaction less than 50 ms.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from msgspec.structs import replace  # noqa: E402 - the path is set just above

from relay.outbox import NewDelivery, NewHook, Outbox  # noqa: E402
from relay.outbox.scheduling import AT_ONCE, Done, Scheduling  # noqa: E402
from relay.outbox.writer import Cursor  # noqa: E402
from relay.settings.database import Database  # noqa: E402
from relay.smartsupp import read_chat  # noqa: E402
from relay.timing.plan import AT_ONCE as ANY_TIME  # noqa: E402
from relay.timing.plan import (  # noqa: E402
    Limit,
    Plan,
    Timing,
)
from tests.builders import a_hook  # noqa: E402
from tests.postgres import postgres_cluster, server  # noqa: E402

MANY = 100_000
ROUNDS = 20
NOW = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)


async def fill(outbox: Outbox) -> None:
    """Twenty destinations; a tenth of what waits is due at any moment of the rounds."""
    chat = read_chat(a_hook(1))
    accept = outbox.operations.accept

    def some(cursor: Cursor, first: int) -> None:
        for number in range(first, first + 1000):
            due = NOW if number % 10 == 0 else NOW + timedelta(days=number % 9 + 1)
            delivery = NewDelivery(
                rule="Missed chats",
                template="missed",
                destination=f"room-{number % 20}",
                recipient="desk@example.com",
                message_id=f"{number}@example.org",
                plan=Plan(state="scheduled", due=due, why="hours"),
            )
            named = replace(chat, id=str(number))
            at = NOW - timedelta(hours=12)
            body = b"%d" % number
            hook = NewHook(
                body=body, chat=named, received_at=at, rules_hash="", deliveries=(delivery,)
            )
            accept(cursor, hook)

    for first in range(0, MANY, 1000):
        await outbox.run(partial(some, first=first))


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    """In milliseconds, with the commit."""
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1000


LIMITED = Timing(limits=(Limit(10**6, timedelta(hours=1)),))


async def measure(name: str, database: Database) -> None:
    outbox = await Outbox.open(database, now=NOW)
    await fill(outbox)
    for kind, timing in (("", ANY_TIME), (", limited", LIMITED)):
        outbox.operations.waits.timings = {f"room-{number}": timing for number in range(20)}
        await releases(name + kind, outbox)
    await outbox.close()


async def releases(name: str, outbox: Outbox) -> None:
    acts, nothing_due = (
        Scheduling(outbox.operations.sql, outbox.operations.waits),
        NOW - timedelta(hours=1),
    )

    def release(cursor: Cursor, now: datetime) -> Done:
        return acts.release(cursor, now)

    looks = [await timed(lambda: outbox.run(acts.next_due)) for _ in range(5 * ROUNDS)]
    idle = [
        await timed(partial(outbox.run, partial(release, now=nothing_due))) for _ in range(ROUNDS)
    ]
    took = [await timed(partial(outbox.run, partial(release, now=NOW))) for _ in range(ROUNDS)]
    print(
        f"{name}: a look {statistics.median(looks):.2f} ms, nothing due {statistics.median(idle):.2f} ms, "
        f"a release of {AT_ONCE} {statistics.median(took):.1f} ms (slowest {max(took):.1f})"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("SQLite", Path(folder) / "relay.db"))
        with postgres_cluster() as cluster:
            asyncio.run(measure("PostgreSQL", server(cluster.url(cluster.new_database()))))


if __name__ == "__main__":
    main()
