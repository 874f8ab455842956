"""`relay serve` whose output nobody takes: closed, on a full disk, or a pipe that is not read."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.builders import a_hook
from tests.journeys.receiving_servers import ReceivingServers
from tests.running import DEADLINE, TOKEN, settings
from tests.tcp import free_port

pytestmark = pytest.mark.long


class Silent:
    """A relay of which nothing is heard but its answers."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"

    async def post(self, chat: int) -> int:
        """Once it takes hooks."""
        body = a_hook(chat, missed=True)
        async with aiohttp.ClientSession() as client:
            while self.process.poll() is None:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    async with client.post(
                        f"{self._url}/hooks/smartsupp/{TOKEN}", data=body
                    ) as answer:
                        return answer.status
        raise AssertionError(f"it ended with {self.process.returncode}")

    async def stop(self) -> int:
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, DEADLINE)


@contextlib.contextmanager
def silent_relay(
    folder: Path,
    ends: ReceivingServers,
    *,
    redirection: str = "",
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> Iterator[Silent]:
    """`redirection`: as a shell has it; the streams: as Popen has them."""
    port = free_port()
    variables = settings(folder, RELAY_LISTEN=f"127.0.0.1:{port}", **ends.settings)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "relay", "serve"],
        env={**os.environ, **variables},
        stdout=stdout,
        stderr=stderr,
    )
    try:
        yield Silent(process, port)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&- 2>&- <&-"])
async def test_output_that_can_not_be_written_keeps_no_hook_away(
    tmp_path: Path, redirection: str
) -> None:
    async with ReceivingServers() as ends:
        with silent_relay(tmp_path, ends, redirection=redirection) as relay:
            assert await relay.post(1) == 202
            await ends.mail.received(1)
            assert await relay.stop() == 0


async def test_a_reader_of_its_first_lines_that_has_gone_keeps_no_hook_away(tmp_path: Path) -> None:
    """As in `relay serve | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    async with ReceivingServers() as ends:
        with silent_relay(tmp_path, ends, stdout=writing, stderr=writing) as relay:
            os.close(writing)
            assert await relay.post(1) == 202
            await ends.mail.received(1)
            assert await relay.stop() == 0


async def test_a_log_that_nobody_reads_holds_up_neither_hooks_nor_the_end(tmp_path: Path) -> None:
    """A pipe holds 64 kB, the lines of some 200 hooks."""
    reading, writing = os.pipe()
    fill(writing)
    async with ReceivingServers() as ends:
        with silent_relay(tmp_path, ends, stderr=writing) as relay:
            for chat in range(1, 6):
                assert await relay.post(chat) == 202
            await ends.mail.received(5)
            assert await relay.stop() == 0
    os.close(writing)
    os.close(reading)


async def test_a_log_that_is_read_again_has_every_line_in_its_order(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fill(writing)
    async with ReceivingServers() as ends:
        with silent_relay(tmp_path, ends, stderr=writing) as relay:
            os.close(writing)
            for chat in range(1, 6):
                assert await relay.post(chat) == 202
            reader = asyncio.create_task(asyncio.to_thread(read_all, reading))
            await ends.mail.received(5)
            assert await relay.stop() == 0
            words = await reader
    answered = [line.split(" 202 ")[1].split()[0] for line in words if " 202 208/" in line]
    assert answered == [f"208/{chat}" for chat in range(1, 6)]


def fill(pipe: int) -> None:
    """To the last byte."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"\n" * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"\n")
    os.set_blocking(pipe, True)


def read_all(pipe: int) -> list[str]:
    with open(pipe, encoding="utf-8") as file:
        return file.read().splitlines()
