"""The console's speed with 100,000 chats and a million deliveries, and whether those who look at it make hooks wait.

    .venv/bin/python -m benchmarks.console [--deliveries 1000000] [--seconds 15]

Prints start, memory, the time of pages, and the hook's answers alone and while ten people turn pages and one tries rules on the past.
"""

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import aiohttp

from benchmarks.growth import fill
from benchmarks.soak import descendants, rss
from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Visitor
from tests.running import RULES, RelayProcess, relay_process, settings

READERS = 10
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


async def timed(act: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1000


async def visitor_of(relay: RelayProcess, client: aiohttp.ClientSession) -> Visitor:
    visitor = Visitor(SimpleNamespace(url=relay.url, client=client))  # type: ignore[arg-type]
    assert (await visitor.sign_in()).status == 303
    return visitor


async def pages(visitor: Visitor) -> None:
    for name, path in PAGES.items():
        answers = [await timed(lambda path=path: visitor.get(path)) for _ in range(5)]  # type: ignore[misc]
        print(f"  {name:<24} {median(answers):7.0f} ms   (the slowest of five {max(answers):.0f})")
    path, took = "/chats", 0.0
    for _ in range(TURNED):
        began = time.perf_counter()
        text = (await visitor.get(path)).text
        took = (time.perf_counter() - began) * 1000
        older = re.findall(r'href="(/chats\?before=\d+)"', text)
        if not older:
            break
        path = older[0]
    print(f"  {'page ' + str(TURNED) + ' of chats':<24} {took:7.0f} ms")


async def hooks(relay: RelayProcess, client: aiohttp.ClientSession, seconds: float) -> list[float]:
    """At a steady pace; how long each took to be answered, in milliseconds."""
    began, taken, under_way = time.perf_counter(), [], set[asyncio.Task[None]]()

    async def post(chat: int) -> None:
        sent = time.perf_counter()
        body = a_hook(chat)
        async with client.post(relay.hook_url, data=body) as answer:
            assert answer.status == 202, answer.status
        taken.append((time.perf_counter() - sent) * 1000)

    first = int(time.time() * 1000)
    for number in range(int(seconds * PER_SECOND)):
        await asyncio.sleep(max(0, began + number / PER_SECOND - time.perf_counter()))
        task = asyncio.create_task(post(first + number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return taken


async def read_on(visitor: Visitor, stop: asyncio.Event) -> int:
    """Turns pages as a person does, one after the other with a moment between them."""
    seen = 0
    while not stop.is_set():
        for path in PAGES.values():
            await visitor.get(path)
            seen += 1
            await asyncio.sleep(0.5)
    return seen


def tell(name: str, taken: list[float]) -> None:
    parts = quantiles(taken, n=100)
    print(f"  hooks {name:<30} p50 {parts[49]:5.1f} ms   p99 {parts[98]:5.1f} ms")


async def measure(relay: RelayProcess, seconds: float) -> None:
    async with aiohttp.ClientSession() as client:
        visitor = await visitor_of(relay, client)
        await pages(visitor)
        tell("alone", await hooks(relay, client, seconds))
        people = [await visitor_of(relay, client) for _ in range(READERS)]
        stop = asyncio.Event()
        reading = [asyncio.create_task(read_on(each, stop)) for each in people]
        tell(f"while {READERS} people read", await hooks(relay, client, seconds))
        tried = await visitor.submit("/rules/try/past", text=RULES, period="all")
        tell(f"and one tries rules ({tried.status})", await hooks(relay, client, seconds))
        stop.set()
        print(f"  pages read meanwhile: {sum(await asyncio.gather(*reading))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asyncio.run(fill(folder / "relay.db", given.deliveries))
        variables = settings(folder, RELAY_CONSOLE_PASSWORD=PASSWORD)
        began = time.perf_counter()
        with relay_process(variables) as relay:
            print(f"  start {time.perf_counter() - began:.2f} s")
            pids = [relay.process.pid, *descendants(relay.process.pid)]
            print(f"  memory, before anybody signs in: {sum(map(rss, pids)) / 2**20:.0f} MiB")
            asyncio.run(measure(relay, given.seconds))
            pids = [relay.process.pid, *descendants(relay.process.pid)]
            print(f"  memory, after it all: {sum(map(rss, pids)) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
