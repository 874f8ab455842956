"""How long rules take: to load, to be asked about a chat, and to be tried on a history.

    python benchmarks/rules.py                        10, 100, 1,000 and 5,000 rules
    python benchmarks/rules.py --backtest 100000      and edited rules against so many stored chats

To hold: 1,000 rules load in under 1 s and are asked in under 2 ms per chat; 100,000 chats in under 30 s.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from relay.chat import Chat  # noqa: E402 - the path is set just above
from relay.outbox import NewHook, Outbox  # noqa: E402
from relay.rules import judge, read_rules  # noqa: E402
from relay.smartsupp import read_chat  # noqa: E402
from relay.transports.registry import TRANSPORTS  # noqa: E402

TEMPLATES = ("chat", "low_rating", "missed", "offline", "vip")
SAMPLES = sorted((ROOT / "relay" / "demo" / "samples").glob("*.json"))
_HEAD = """\
timezone: Europe/Prague
schedules: {office: {days: mon-fri, hours: 08:00-17:00, except: [2026-12-24]}}
destinations: {desk: {email: {to: desk@example.com}}, room: {slack: {webhook: $ROOM}}}
rules:
"""
# What teams ask for, in turn; {n} keeps each rule different.
_CONDITIONS = (
    "{{missed: true, visitor.country_code: [CZ, SK], visitor.variables.plan: p{n}}}",
    "{{rating: {{at_most: 2}}, agent: Agent {n}}}",
    "{{visitor.note: {{contains: VIP {n}}}, any: [{{missed: true}}, {{rating: {{at_most: 3}}}}]}}",
    "{{page.url: {{contains: /products/{n}}}, began: {{outside: office}}}}",
    "{{said: {{contains_word: [refund{n}, return{n}]}}, not: {{offline: true}}}}",
    "{{said: {{matches: 'order\\s+{n}\\d{{2,6}}'}}}}",
    "{{first_response: {{more_than: 3m}}, message_count: {{at_least: {n}}}}}",
    "{{visitor.email: {{ends_with: '@customer{n}.example'}}}}",
)


def a_file(rules: int) -> bytes:
    """So many rules of all kinds."""
    lines = [
        f"- {{name: r{n}, send_to: desk, when: {_CONDITIONS[n % len(_CONDITIONS)].format(n=n)}}}\n"
        for n in range(rules)
    ]
    return (_HEAD + "".join(lines)).encode()


def seconds(work: Callable[[], object], least: float = 0.5) -> float:
    """The median of as many runs as fit into `least` seconds, three at least."""
    runs: list[float] = []
    while len(runs) < 3 or sum(runs) < least:
        begin = time.perf_counter()
        work()
        runs.append(time.perf_counter() - begin)
    return statistics.median(runs)


def measure(rules: int, chats: list[Chat]) -> tuple[str, ...]:
    source = a_file(rules)

    def load() -> object:
        return read_rules(source, "rules.yaml", transports=TRANSPORTS, templates=TEMPLATES)

    book = read_rules(source, "rules.yaml", transports=TRANSPORTS, templates=TEMPLATES)
    asked = max(seconds(lambda chat=chat: book.matches(chat), 0.2) for chat in chats)  # type: ignore[misc]
    judged = max(seconds(lambda chat=chat: judge(book, chat), 0.2) for chat in chats)  # type: ignore[misc]
    record = max(len(judge(book, chat).record) for chat in chats)
    return (
        f"{rules:,}",
        f"{len(source) / 1000:.0f} kB",
        f"{seconds(load):.3f} s",
        f"{asked * 1000:.3f} ms",
        f"{judged * 1000:.3f} ms",
        f"{record:,} B",
    )


def show(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


# -- a history to try edited rules on ----------------------------------------------------------------------


def hooks(count: int) -> Iterator[bytes]:
    """The samples in turn, each with an id of its own."""
    samples = [json.loads(path.read_bytes()) for path in SAMPLES]
    choose = random.Random(1)
    for number in range(count):
        wire = samples[number % len(samples)]
        channel = {**wire["channel"], "id": number, "rating": choose.choice([None, 1, 2, 3, 5])}
        yield json.dumps({**wire, "channel": channel}).encode()


async def fill(database: Path, count: int) -> None:
    """Through the outbox's own door, a thousand at a time."""
    now = datetime.now(UTC) - timedelta(days=1)
    outbox = await Outbox.open(database, now=now)
    batch: list[NewHook] = []
    for body in hooks(count):
        batch.append(NewHook(body=body, chat=read_chat(body), received_at=now, rules_hash=""))
        if len(batch) == 1000:
            await asyncio.gather(*(outbox.accept(hook) for hook in batch))
            batch = []
    await asyncio.gather(*(outbox.accept(hook) for hook in batch))
    await outbox.close()


def backtest(count: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        example = (ROOT / "rules.example.yaml").read_text("utf-8")
        (folder / "rules.yaml").write_text(example, "utf-8")
        (folder / "new.yaml").write_text(example.replace("at_most: 2", "at_most: 3"), "utf-8")
        asyncio.run(fill(folder / "relay.db", count))
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "relay", "backtest", "new.yaml"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        print(f"\n{count:,} chats, two files of 5 rules: {time.perf_counter() - begin:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backtest", type=int, metavar="CHATS", default=0)
    options = parser.parse_args()
    chats = [read_chat(path.read_bytes()) for path in SAMPLES]
    head = ("rules", "file", "load", "ask, slowest chat", "ask and record", "record")
    show([head, *(measure(rules, chats) for rules in (10, 100, 1_000, 5_000))])
    if options.backtest:
        backtest(options.backtest)


if __name__ == "__main__":
    main()
