"""Disks that lack something: locks, second names, an answer to how much room there is. strace forges the kernel's answer."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.running import DEADLINE, relay_process, rows, running_relay, settings

pytestmark = [
    pytest.mark.skipif(
        shutil.which("strace") is None and os.environ.get("CI") != "true", reason="needs strace"
    ),
    pytest.mark.long,
]


def without(call: str, error: str) -> tuple[str, ...]:
    """The command that runs another one, for which a system call fails."""
    options = ("-D", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", f"trace={call}")
    return ("strace", *options, "-e", f"inject={call}:error={error}")


async def test_a_disk_without_locks_is_named_as_such(tmp_path: Path) -> None:
    """NFS without its lock service: no other relay is to be blamed."""
    started = await asyncio.to_thread(
        subprocess.run,
        [*without("flock", "ENOLCK"), sys.executable, "-m", "relay", "serve"],
        env={**os.environ, **settings(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert started.returncode == 2
    assert "relay.db.lock can't be locked: No locks available; the database needs" in started.stderr


async def test_a_disk_that_does_not_tell_its_room_keeps_hooks_all_the_same(tmp_path: Path) -> None:
    with relay_process(settings(tmp_path), *without("statfs", "EIO")) as relay:
        assert (await relay.post(a_hook(1))).status == 202
        assert await asyncio.to_thread(relay.stop) == 0


async def test_a_backup_to_a_stick_needs_no_second_name_for_a_file(tmp_path: Path) -> None:
    """FAT has none, nor have many network drives."""
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7))
    copy = tmp_path / "copy.db"
    done = await command(settings(tmp_path), "backup", copy, prefix=without("link", "EPERM"))
    assert (done.status, done.err) == (0, "")
    assert rows(copy, "SELECT chat FROM chats") == [("7",)]
    assert not list(tmp_path.glob("*.part"))
