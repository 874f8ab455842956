"""The console's speed with 100,000 chats and a million deliveries, and whether those who look at it make hooks wait.

    .venv/bin/python -m benchmarks.console [--deliveries 1000000] [--rounds 4] [--seconds 10]

Prints start, memory, the time of pages, and the hook's answers: alone, and while ten people turn pages and one of them
tries rules on the past; of another relay on this computer, which shows what the computer itself costs, and of this one.
"""

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace

import aiohttp

from benchmarks.growth import fill, processor_time
from benchmarks.soak import descendants, rss
from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Visitor
from tests.running import RULES, RelayProcess, relay_process, settings

READERS = 10
TIMES = 9
PER_SECOND = 20
PAGES = {
    "first page of chats": "/chats",
    "only what failed": "/chats?told=failed",
    "only what nobody got": "/chats?told=nobody",
    "search of a name": "/chats?q=Nowak",
    "search without a hit": "/chats?q=nobodyhasthisname",
    "deliveries": "/deliveries",
    "destinations": "/destinations",
    "rules": "/rules",
    "health": "/health",
}
TURNED = 200
"""Pages of the list that are turned over, to see whether the last is slower than the first."""


async def visitor_of(relay: RelayProcess, client: aiohttp.ClientSession) -> Visitor:
    visitor = Visitor(SimpleNamespace(url=relay.url, client=client))  # type: ignore[arg-type]
    assert (await visitor.sign_in()).status == 303
    return visitor


async def pages(visitor: Visitor, pid: int) -> None:
    for name, path in PAGES.items():
        await visitor.get(path)
        took, used = [], processor_time(pid)
        for _ in range(TIMES):
            began = time.perf_counter()
            await visitor.get(path)
            took.append((time.perf_counter() - began) * 1000)
        used = (processor_time(pid) - used) * 1000 / TIMES
        print(
            f"  {name:<24} {median(took):7.0f} ms   (the slowest {max(took):.0f}; computing {used:.0f})"
        )
    path = "/chats"
    for _ in range(TURNED):
        began = time.perf_counter()
        text = (await visitor.get(path)).text
        last = (time.perf_counter() - began) * 1000
        older = re.findall(r'href="(/chats\?before=\d+)"', text)
        if not older:
            break
        path = older[0]
    print(f"  {f'page {TURNED} of chats':<24} {last:7.0f} ms")


def hooks(url: str, seconds: float) -> list[float]:
    """At a steady pace, from a process of its own; how long each took to be answered, in milliseconds."""
    return asyncio.run(_hooks(url, seconds))


async def _hooks(url: str, seconds: float) -> list[float]:
    taken = list[float]()
    first = int(time.time() * 1000)

    async def post(client: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(number / PER_SECOND)
        sent = time.perf_counter()
        async with client.post(url, data=a_hook(first + number)) as answer:
            assert answer.status == 202, answer.status
        taken.append((time.perf_counter() - sent) * 1000)

    async with aiohttp.ClientSession() as client:
        await asyncio.gather(*(post(client, each) for each in range(int(seconds * PER_SECOND))))
    return taken


async def read_on(visitor: Visitor, seen: list[str]) -> None:
    """Turns pages as a person does, one after the other with a moment between them, until it is cancelled."""
    while True:
        for path in PAGES.values():
            await visitor.get(path)
            seen.append(path)
            await asyncio.sleep(0.5)


@asynccontextmanager
async def readers(people: Sequence[Visitor]) -> AsyncIterator[list[str]]:
    """All of them read; gives the paths that they have read by now."""
    seen = list[str]()
    reading = [asyncio.create_task(read_on(each, seen)) for each in people]
    try:
        yield seen
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


@asynccontextmanager
async def trial_on_past(visitor: Visitor) -> AsyncIterator[float]:
    """A trial on all that is kept, stopped at the end; gives the seconds until there were numbers."""
    began = time.perf_counter()
    job = await visitor.submit("/rules/try/past", text=RULES, period="all")
    while "<table" not in (await visitor.get(job.place)).text:  # noqa: ASYNC110 - as a browser asks
        await asyncio.sleep(0.1)
    yield time.perf_counter() - began
    await visitor.submit(f"{job.place}/stop")


async def measure(relay: RelayProcess, other: RelayProcess, rounds: int, seconds: float) -> None:
    """Turn by turn, so that whatever else the computer does falls on all of them alike."""
    taken: dict[str, list[float]] = {"alone": []}
    tries, many = list[float](), list[int]()
    with ProcessPoolExecutor(1) as apart:
        async with aiohttp.ClientSession() as client, aiohttp.ClientSession() as another:
            await pages(await visitor_of(relay, client), relay.process.pid)
            here = [await visitor_of(relay, client) for _ in range(READERS)]
            elsewhere = [await visitor_of(other, another) for _ in range(READERS)]

            async def post(while_: str) -> None:
                running = asyncio.get_running_loop().run_in_executor
                taken.setdefault(while_, []).extend(
                    await running(apart, hooks, relay.hook_url, seconds)
                )

            for _ in range(rounds):
                await post("alone")
                for where, people in (("of another relay", elsewhere), ("of this one", here)):
                    async with readers(people) as seen:
                        await post(f"ten read pages {where}")
                        async with trial_on_past(people[0]) as took:
                            tries.append(took)
                            await post(f"and one tries rules {where}")
                many.append(len(seen))
    for name, each in taken.items():
        parts = quantiles(each, n=100)
        print(f"  hooks, {name:<36} p50 {parts[49]:5.1f} ms   p99 {parts[98]:5.1f} ms")
    print(f"  pages read in a round: {median(many):.0f}")
    print(
        f"  seconds to the first numbers of a trial: {', '.join(f'{each:.1f}' for each in tries)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10, help="of each part of a round")
    parser.add_argument("--database", type=Path, help="that an earlier run has filled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as beside:
        folder = Path(scratch)
        if given.database:
            shutil.copy(given.database, folder / "relay.db")
        else:
            asyncio.run(fill(folder / "relay.db", given.deliveries))
        variables = settings(folder, RELAY_CONSOLE_PASSWORD=PASSWORD)
        shutil.copy(folder / "relay.db", Path(beside, "relay.db"))
        elsewhere = settings(Path(beside), RELAY_CONSOLE_PASSWORD=PASSWORD)
        began = time.perf_counter()
        with relay_process(variables) as relay:
            print(f"  start {time.perf_counter() - began:.2f} s")
            pids = [relay.process.pid, *descendants(relay.process.pid)]
            print(f"  memory, before anybody signs in: {sum(map(rss, pids)) / 2**20:.0f} MiB")
            with relay_process(elsewhere) as other:
                asyncio.run(measure(relay, other, given.rounds, given.seconds))
            pids = [relay.process.pid, *descendants(relay.process.pid)]
            print(f"  memory, after it all: {sum(map(rss, pids)) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
