"""A yes is said only after the disk has it: seen in the system calls, since no test can cut the power."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.running import DEADLINE, RelayProcess, rows, settings

HOOKS = 5
AT_THE_START = "SELECT (SELECT count(*) FROM rules_versions), (SELECT count(*) FROM marks)"
CALLS = "pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("strace") is None and os.environ.get("CI") != "true", reason="needs strace"
    ),
    pytest.mark.long,
]

WAL_WRITTEN = re.compile(r"pwrite64\(\d+<[^>]*relay\.db-wal>")
SYNC_ENDED = re.compile(r"f(?:data)?sync\(\d+<[^>]*relay\.db-wal>\) += 0")
SYNC_BEGUN = re.compile(r"(\d+) .*f(?:data)?sync\(\d+<[^>]*relay\.db-wal> <unfinished")
SYNC_RESUMED = re.compile(r"(\d+) .*<\.\.\. f(?:data)?sync resumed>.* = 0")
ANSWERED = re.compile(r'(?:write|writev|sendto|sendmsg)\(.*"HTTP/1\.1 202')


def happenings(trace: str) -> Iterator[str]:
    """The trace as `written`, `synced` (when it has ended) and `yes`, in the order of the kernel."""
    syncing: set[str] = set()
    for line in trace.splitlines():
        if WAL_WRITTEN.search(line):
            yield "written"
        elif begun := SYNC_BEGUN.match(line):
            syncing.add(begun[1])
        elif SYNC_ENDED.search(line):
            yield "synced"
        elif (ended := SYNC_RESUMED.match(line)) and ended[1] in syncing:
            syncing.remove(ended[1])
            yield "synced"
        elif ANSWERED.search(line):
            yield "yes"


def yes_without_sync(found: list[str]) -> int:
    """How often a hook got its yes before what was written for it was synced."""
    wrong, synced = 0, False
    for happening in found:
        if happening == "yes":
            wrong += not synced
        synced = happening == "synced"
    return wrong


def stop_under_strace(relay: RelayProcess, trace: Path) -> int:
    """A signal to strace would end strace only; the relay is the first that is traced."""
    child = int(trace.read_text().split(maxsplit=1)[0])
    os.kill(child, signal.SIGTERM)
    status = relay.process.wait(DEADLINE)
    assert relay.process.stdout is not None
    relay.process.stdout.close()
    return status


async def test_each_yes_is_said_after_its_hook_is_on_disk(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-s", "40", "-o", str(trace), "-e", f"trace={CALLS}"]
    relay = RelayProcess(settings(tmp_path), *command).start()
    try:
        # What it notes at its start is no hook's, and may come between a commit and its yes.
        while rows(tmp_path / "relay.db", AT_THE_START) != [(1, 3)]:
            pass
        before = trace.stat().st_size
        for chat in range(HOOKS):
            # No rule asks for it: no commit but its own can be what is seen.
            assert (await relay.post(a_hook(chat))).status == 202
        assert stop_under_strace(relay, trace) == 0
    finally:
        if relay.process.poll() is None:
            relay.kill()
    with trace.open() as file:
        file.seek(before)
        found = list(happenings(file.read()))
    assert found.count("yes") == HOOKS
    assert found.count("written") >= HOOKS
    assert yes_without_sync(found) == 0
    assert rows(tmp_path / "relay.db", "SELECT count(*) FROM hooks") == [(HOOKS,)]


def test_a_yes_that_came_too_early_would_be_seen() -> None:
    line = '7 sendto(9<TCP:[1]>, "HTTP/1.1 202 Accepted", 40) = 40'
    written = "8 pwrite64(5</x/relay.db-wal>, ..., 24, 0) = 24"
    synced = "8 fdatasync(5</x/relay.db-wal>) = 0"
    begun, ended = (
        "8 fdatasync(5</x/relay.db-wal> <unfinished ...>",
        "8 <... fdatasync resumed>) = 0",
    )
    in_order = [written, synced, line, written, begun, ended, line]
    too_early = [written, begun, line, ended, written, line, synced, line, line]
    assert yes_without_sync(list(happenings("\n".join(in_order)))) == 0
    assert yes_without_sync(list(happenings("\n".join(too_early)))) == 3
