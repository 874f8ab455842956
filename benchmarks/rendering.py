"""What rendering in a process of its own costs: python benchmarks/rendering.py

For mails (text and HTML), for Slack posts and for both of one chat: milliseconds of processor time per chat in the
relay's process and in the worker's, against rendering in the relay's own process; then how long a first notification takes, and memory;
and a chat of 2,000 messages, rendered and packed for each medium.

To hold: that one takes less than 150 ms. Linux only: reads /proc.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import uvloop

from relay.files import shipped
from relay.mail_address import MailAddress
from relay.notification import Notification
from relay.rendering.isolation.protocol import Render
from relay.rendering.isolation.worker_pool import RENDERING, RenderPool
from relay.rendering.templates import Templates
from relay.smartsupp import read_chat
from relay.transports import Identity
from relay.transports.email import mime as email
from relay.transports.slack import pack as slack
from relay.transports.teams import pack as teams

COUNT = 1_000
FOLDERS = (shipped("templates"),)


def a_hook(number: int, *, messages: int = 6) -> bytes:
    said = [
        {
            "type": kind,
            "name": "Jana",
            "content": f"What was said, {n} of {messages}.",
            "sentAt": 1763800000000 + n * 20_000,
        }
        for n, kind in enumerate(("visitor", "agent") * (messages // 2))
    ]
    visitor = {
        "id": number,
        "name": f"Visitor {number}",
        "email": f"v{number}@example.com",
        "countryCode": "CZ",
    }
    state = {"id": number, "isMissed": True, "duration": 120, "messagesCount": messages}
    return json.dumps(
        {"accountId": 1, "channel": state, "visitor": visitor, "messages": said}
    ).encode()


def asked(number: int, *, bodies: bool) -> Render:
    return Render(
        limits=RENDERING,
        body=a_hook(number),
        template="missed",
        rule="Missed chats",
        language="en",
        zone="Europe/Prague",
        public_url="",
        bodies=bodies,
        transport="email",
    )


def computing(process: int) -> float:
    """Milliseconds so far."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e6


def memory(process: int) -> str:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return f"RSS {sizes['Rss:']:.0f} MiB, PSS {sizes['Pss:']:.0f} MiB"


def processes() -> list[int]:
    """Our foreman and its workers; other relays on this machine have their own."""
    found = [os.getpid()]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found[1:]


async def measured(pool: RenderPool, *, at_once: int, what: str) -> str:
    _, worker = processes()
    kinds = [one == "mail" for one in what.split(" and ")]
    asks = iter([asked(number, bodies=bodies) for number in range(COUNT) for bodies in kinds])

    async def ask() -> None:
        for one in asks:
            await pool.render(one)

    ours, its, began = computing(os.getpid()), computing(worker), time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(at_once)))
    took = time.perf_counter() - began
    ours, its = computing(os.getpid()) - ours, computing(worker) - its
    return f"relay {ours / COUNT:.3f} + worker {its / COUNT:.3f} ms of computing; {COUNT / took:,.0f}/s"


def in_process(*, bodies: bool) -> Callable[[int], object]:
    templates, zone = Templates(*FOLDERS), ZoneInfo("Europe/Prague")
    return lambda number: templates.render(
        "missed", read_chat(a_hook(number)), rule="r", language="en", zone=zone, bodies=bodies
    )


def a_long_chat() -> Iterator[str]:
    """Milliseconds from a hook's bytes to what is handed over, without the templates' first reading."""
    templates, zone, hook = Templates(*FOLDERS), ZoneInfo("UTC"), a_hook(7, messages=2_000)
    identity = Identity(
        message_id="7@example.org", thread_id="t7@example.org", date=datetime.now(UTC)
    )
    somebody = MailAddress("desk", "desk@example.org")
    packings: dict[str, Callable[[Notification], object]] = {
        "mail": lambda told: email.pack(told, email.Envelope(somebody, somebody), identity),
        "Slack post": slack.pack,
        "Slack thread": slack.pack_thread,
        "Teams card": teams.pack,
    }
    for what, pack in packings.items():
        took = []
        for _ in range(6):
            began = time.perf_counter()
            chat = read_chat(hook)
            told = templates.render(
                "missed", chat, rule="r", language="en", zone=zone, bodies=what == "mail"
            )
            pack(told)
            took.append((time.perf_counter() - began) * 1000)
        yield f"{what} of 2,000 messages, read, rendered and packed: {statistics.median(took[1:]):.0f} ms"


async def main() -> None:
    pool = RenderPool(FOLDERS)
    for what in ("first, with all processes to be started", "second"):
        began = time.perf_counter()
        await pool.render(asked(0, bodies=True))
        print(f"{what}: {(time.perf_counter() - began) * 1000:.1f} ms")
    for what in ("mail", "post", "post and mail"):
        for at_once in (1, 8):
            print(f"{what}, {at_once} at once: {await measured(pool, at_once=at_once, what=what)}")
    for process, name in zip(processes(), ("foreman", "worker"), strict=True):
        print(f"{name}: {memory(process)}")
    await pool.close()
    for bodies in (True, False):
        render = in_process(bodies=bodies)
        render(0)
        began = computing(os.getpid())
        for number in range(COUNT):
            render(number)
        print(
            f"{'mail' if bodies else 'post'}, in this process: {(computing(os.getpid()) - began) / COUNT:.3f} ms"
        )
    for told in a_long_chat():
        print(told)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
