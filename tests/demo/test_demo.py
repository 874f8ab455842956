"""`relay demo` as somebody runs it who has just installed the relay."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from relay.demo import with_mails
from relay.files import shipped

ANY_PORT = ("--listen", "127.0.0.1:0")


class RunningDemo:
    """The command as a process of its own, and what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Read on until it has printed `pattern`. Fails if it ends before."""
        assert self.process.stdout
        while not (match := re.search(pattern, self.printed)):
            line = await self.process.stdout.readline()
            assert line, f"ended without printing {pattern}:\n{self.printed}{await self.stderr()}"
            self.printed += line.decode()
        return match

    async def end(self) -> int:
        assert self.process.stdout
        self.printed += (await self.process.stdout.read()).decode()
        return await self.process.wait()

    async def stderr(self) -> str:
        assert self.process.stderr
        return (await self.process.stderr.read()).decode()


class Starter:
    """Starts demos, and ends those that a failing test leaves behind."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[RunningDemo] = []

    async def __call__(self, *arguments: str) -> RunningDemo:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "demo", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(self.home)},
        )
        self.running.append(RunningDemo(process))
        return self.running[-1]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starter]:
    starter = Starter(tmp_path / "tmp")
    starter.home.mkdir()
    yield starter
    for demo in starter.running:
        if demo.process.returncode is None:
            demo.process.kill()
        await demo.process.communicate()


async def test_the_samples_reach_mail_slack_and_teams(start: Starter) -> None:
    demo = await start("--once", *ANY_PORT)
    errors = await demo.stderr()
    assert await demo.end() == 0, demo.printed + errors
    counts = re.search(
        r"Arrived: (\d+) mails?, (\d+) Slack posts?, (\d+) Teams cards?", demo.printed
    )
    assert counts, demo.printed
    assert all(int(count) > 0 for count in counts.groups())
    queued = sum(int(number) for number in re.findall(r"  202  (\d+) deliver", demo.printed))
    assert queued == sum(int(count) for count in counts.groups())
    told = re.findall(r"^  (\w+)\.json +202  (\w+)", demo.printed, re.MULTILINE)
    assert [name for name, _ in told] == ["documented", "offline", "low_rating_vip", "missed"]
    assert [said for _, said in told].count("no") == 1
    assert "4 mails" in demo.printed
    assert "Traceback" not in errors


@pytest.mark.long
async def test_the_console_is_there_until_ctrl_c_and_nothing_stays_behind(start: Starter) -> None:
    demo = await start(*ANY_PORT)
    link = (await demo.until(r"Open (http://\S+/login/demo/\w+) in a browser"))[1]
    folder = Path((await demo.until(r"rules  (\S+)"))[1]).parent
    assert folder.is_dir()
    async with aiohttp.ClientSession() as browser, browser.get(link) as answer:
        assert "nothing leaves it" in await answer.text()
    await demo.until("Ctrl-C ends")
    demo.process.send_signal(signal.SIGINT)
    errors = await demo.stderr()
    assert await demo.end() == 0
    assert "Traceback" not in errors
    assert link.rpartition("/")[2] not in errors
    assert list(start.home.iterdir()) == []


@pytest.mark.long
async def test_a_chat_of_ones_own_is_delivered_too(start: Starter) -> None:
    demo = await start(*ANY_PORT)
    hook = (await demo.until(r"hook   (\S+)"))[1]
    await demo.until("Ctrl-C ends")
    folder = Path((await demo.until(r"rules  (\S+)"))[1]).parent
    missed = (folder / "samples" / "missed.json").read_bytes()
    async with aiohttp.ClientSession() as client:
        async with client.post(hook, data=missed.replace(b"910001", b"7654321")) as answer:
            assert answer.status == 202
            assert (await answer.json())["deliveries"] > 0
        async with client.post(hook, data=missed) as answer:
            assert (await answer.json())["deliveries"] == 0


@pytest.mark.long
async def test_a_named_folder_keeps_its_rules_and_takes_the_samples_afresh(
    start: Starter, tmp_path: Path
) -> None:
    folder = tmp_path / "my demo"
    first = await start("--once", "--dir", str(folder), *ANY_PORT)
    assert await first.end() == 0, await first.stderr()
    rules = folder / "rules.yaml"
    example = shipped("rules.example.yaml").read_text("utf-8")
    assert rules.read_text("utf-8") == with_mails(example) != example
    assert sorted(path.name for path in folder.iterdir()) == [
        "mytemplates",
        "rules.yaml",
        "samples",
    ]
    rules.write_text(
        "destinations:\n  me: {email: {to: me@example.com}}\n"
        "rules:\n  - {name: All, when: always, send_to: me}\n"
    )
    second = await start("--once", "--dir", str(folder), *ANY_PORT)
    assert await second.end() == 0, await second.stderr()
    assert "Arrived: 4 mails, 0 Slack posts, 0 Teams cards" in second.printed


async def test_rules_that_cannot_be_used_are_shown_and_nothing_starts(
    start: Starter, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{name: A, when: always, send_to: nowhere}]\n")
    demo = await start("--once", "--dir", str(tmp_path), *ANY_PORT)
    errors = await demo.stderr()
    assert await demo.end() == 2
    assert "rules.yaml:1:" in errors
    assert "nowhere" in errors
    assert "Traceback" not in errors


@pytest.mark.long
async def test_a_taken_port_makes_way_for_a_free_one_and_it_is_said(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        demo = await start("--once", "--listen", taken)
        assert await demo.end() == 0, await demo.stderr()
    assert f"{taken} is taken by another program" in demo.printed
    assert f"http://{taken}" not in demo.printed


async def test_a_folder_that_cannot_be_made_is_named(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    demo = await start("--once", "--dir", str(tmp_path / "file" / "below"), *ANY_PORT)
    errors = await demo.stderr()
    assert await demo.end() == 2
    assert str(tmp_path / "file") in errors
    assert "Traceback" not in errors


async def test_an_address_that_is_none_is_refused_in_words(start: Starter) -> None:
    demo = await start("--once", "--listen", "nowhere:80")
    errors = await demo.stderr()
    assert await demo.end() == 2
    assert "'nowhere' is not an IP address" in errors


def test_a_file_that_is_not_shipped_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-file is missing"):
        shipped("no-such-file")
