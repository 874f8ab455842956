"""The demo's console: opened by a link, it shows what arrived, and posts more."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from relay.console import console_of_demo
from relay.demo import DemoOptions, run_demo
from relay.files import copy_samples
from relay.smartsupp.hook_json import as_of_now
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import Got, Visitor, took
from tests.running import DEADLINE, RunningRelay, new_client

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = "</title></textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"' {{ 7 * 7 }}"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class RunningDemo:
    """A demo in this process, and what it printed."""

    folder: Path
    said: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, line: str) -> None:
        self.said.append(line)
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, pattern: str) -> str:
        """What it printed last that fits."""
        async with asyncio.timeout(DEADLINE):
            while not (found := re.findall(pattern, "\n".join(self.said))):
                await self.news.wait()
        return str(found[-1])

    def newest_link(self) -> str:
        return str(re.findall(r"http://\S+(/login/demo/\w+)", "\n".join(self.said))[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningDemo]:
    folder, stopping = tmp_path_factory.mktemp("demo"), asyncio.Event()
    running = RunningDemo(folder)
    options = DemoOptions(listen="127.0.0.1:0", folder=folder, page_patience=DEADLINE)
    task = asyncio.create_task(
        run_demo(options, pages=console_of_demo, echo=running.say, stopping=stopping)
    )
    yield running
    stopping.set()
    await asyncio.wait_for(task, DEADLINE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_client() as session:
        yield session


async def stranger(demo: RunningDemo, client: aiohttp.ClientSession) -> Visitor:
    url = await demo.until(r"Open (http://[^/\s]+)/login/demo/\w+ in a browser")
    return Visitor(RunningRelay(url, demo.folder, client, ""))


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(demo: RunningDemo, client: aiohttp.ClientSession) -> Visitor:
    """Somebody who came in by the link."""
    came = await stranger(demo, client)
    took(came, await came.post(demo.newest_link()))
    return came


async def page(visitor: Visitor, path: str) -> Read:
    got = await visitor.get(path)
    assert got.status == 200, (path, got.status)
    read = Read(got.text)
    assert read.wrong == []
    return read


async def send(visitor: Visitor, sample: str) -> Got:
    return await visitor.submit("/received/send", sample=sample)


async def test_the_link_lets_one_browser_in_once(
    demo: RunningDemo, client: aiohttp.ClientSession
) -> None:
    first, second = await stranger(demo, client), await stranger(demo, client)
    link = demo.newest_link()
    for _ in range(2):  # programs that look at links don't use it up
        assert "Open the demo" in (await first.get(link)).text
    assert (await first.get("/received")).place.startswith("/login")
    assert "password" not in (await first.get("/login")).text
    assert "terminal" in (await first.get("/login")).text
    came = took(first, await first.post(link))
    assert (came.status, came.place) == (303, "/chats")
    assert (await second.post(link)).status == 404
    assert (await second.get(link)).status == 404
    assert (await first.get(link)).place == "/chats"
    another = demo.newest_link()
    assert another != link
    assert took(second, await second.post(another)).status == 303


@pytest.mark.parametrize("secret", ["x", "%00", "..%2f..%2fchats", "a" * 5000])
async def test_no_other_link_lets_anybody_in(
    demo: RunningDemo, client: aiohttp.ClientSession, secret: str
) -> None:
    somebody = await stranger(demo, client)
    for got in (
        await somebody.get(f"/login/demo/{secret}"),
        await somebody.post(f"/login/demo/{secret}"),
    ):
        assert got.status in {303, 404}
        assert "set-cookie" not in got.headers


async def test_another_sites_form_does_not_use_the_link(
    demo: RunningDemo, client: aiohttp.ClientSession
) -> None:
    somebody = await stranger(demo, client)
    link = demo.newest_link()
    assert (await somebody.post(link, {"sec-fetch-site": "cross-site"})).status == 403
    assert (await somebody.get(link, host="evil.example")).status == 421
    assert took(somebody, await somebody.post(link)).status == 303


async def test_the_page_shows_what_each_stand_in_received(visitor: Visitor) -> None:
    shown = await page(visitor, "/received")
    for words in ["Missed chat: Marta Nowak", "Buenos días", "Rated 1 of 5", "Mail 4", "Teams 1"]:
        assert words in shown.text
    assert 'sandbox=""' in shown.html
    mails = [
        await visitor.get(url) for url in re.findall(r'src="(/received/mails/\d+)"', shown.html)
    ]
    assert any("Transcript" in got.text for got in mails)
    assert all("sandbox" in got.headers["content-security-policy"] for got in mails)
    for path in ("/received/mails/9999", "/received/mails/x", "/received/mails/../../chats"):
        assert (await visitor.get(path)).status in {303, 404} or path.endswith("chats")


async def test_a_sample_that_is_sent_arrives_and_is_among_the_chats(visitor: Visitor) -> None:
    before = (await page(visitor, "/received")).html.count("/received/mails/")
    assert (await send(visitor, "missed.json")).place == "/received"
    shown = await page(visitor, "/received")
    assert shown.html.count("/received/mails/") == before + 1
    (chat, *_) = re.findall(r'href="(/chats\?q=208[^"]+)"', shown.html)
    found = await visitor.get((await visitor.get(chat)).place)
    assert "because the rule “Missed chats” matched" in Read(found.text).text
    assert (await send(visitor, "nothing.json")).status == 404
    assert (await send(visitor, "../rules.yaml")).status == 404


async def test_news_are_announced_until_they_were_seen(visitor: Visitor) -> None:
    (after, *_) = re.findall(r"/received/new\?after=(\d+)", (await visitor.get("/received")).text)
    assert (await visitor.get(f"/received/new?after={after}")).status == 204
    await send(visitor, "offline.json")
    assert "2 more have arrived" in (await visitor.get(f"/received/new?after={after}")).text
    assert (await visitor.get("/received/new?after=%C2%B2")).status == 200


async def test_the_guide_is_on_the_first_page_until_it_is_closed(visitor: Visitor) -> None:
    assert "in two minutes" in (await page(visitor, "/chats")).text
    assert "in two minutes" not in (await page(visitor, "/chats?kind=missed")).text
    await visitor.submit("/received/guide")
    assert "in two minutes" not in (await page(visitor, "/chats")).text
    assert "Show the guide" in (await page(visitor, "/received")).text
    await visitor.submit("/received/guide", show="yes")
    assert "in two minutes" in (await page(visitor, "/chats")).text


async def test_hostile_words_stay_words_wherever_they_arrive(
    demo: RunningDemo, visitor: Visitor
) -> None:
    hook = await demo.until(r"hook   (\S+)")
    body = a_hook(77, missed=True, visitor={"name": HOSTILE, "note": HOSTILE, "group": HOSTILE})
    async with visitor.relay.client.post(hook, data=body) as answer:
        queued = (await answer.json())["deliveries"]
    assert queued
    (demo.folder / "samples" / f"{HOSTILE[:8].replace('/', '')}.json").write_bytes(b"{")
    async with asyncio.timeout(DEADLINE):
        while (
            "<script>alert(1)" not in (shown := await page(visitor, "/received")).texts["look"][0]
        ):
            await visitor.get("/health")
    assert "7 * 7" in shown.texts["look"][0]
    await page(visitor, "/chats")


async def test_a_sample_is_moved_to_now_and_keeps_all_else(tmp_path: Path) -> None:
    copy_samples(tmp_path / "samples")
    for path in (tmp_path / "samples").iterdir():
        sample = json.loads(path.read_text("utf-8"))
        moved = json.loads(as_of_now(path.read_bytes(), NOW, chat=7))
        shift = int(NOW.timestamp() * 1000) - sample["endAt"]
        assert moved["beginAt"] == sample["beginAt"] + shift
        assert moved["channel"] == {**sample["channel"], "id": 7}
        assert moved["visitor"] == sample["visitor"]
        assert [each["content"] for each in moved["messages"]] == [
            each["content"] for each in sample["messages"]
        ]


@pytest.mark.parametrize("hook", [b"", b"{", b"[]", b"7", b"{}", b'{"endAt": "x"}', b"\xff"])
async def test_what_is_no_hook_is_posted_as_it_is(hook: bytes) -> None:
    assert as_of_now(hook, NOW, chat=7) == hook


@pytest.mark.long  # a saved text is used after a second
async def test_a_sentence_in_words_of_ones_own_arrives(visitor: Visitor) -> None:
    listed = (await visitor.get("/wordings?language=en&q=waited")).text
    path = re.findall(r'href="(/wordings/en/\w+)"><bdi[^>]*>Missed chat: {who} waited', listed)[0]
    (base,) = re.findall(r'name="base" value="(\w*)"', (await visitor.get(path)).text)
    words = {"said-0": "Nobody answered {who} for {duration}"}
    got = await visitor.submit(path, act="save", base=base, **words)
    assert got.place == f"{path}?done=save"
    async with asyncio.timeout(DEADLINE):
        while "Nobody answered" not in (await page(visitor, "/received")).text:
            await send(visitor, "missed.json")
