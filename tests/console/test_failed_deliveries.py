"""Deliveries that failed sent again all at once, and posts that could not be read."""

import asyncio
import re
import zlib
from pathlib import Path

import pytest

from relay.console.delivery_pages import MOST_ARRIVED
from relay.services.resend import RESENT_AT_ONCE
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.corpora import MARKUP
from tests.running import RunningRelay, running_relay
from tests.servers import SmtpServer

COUNT = 2 * RESENT_AT_ONCE + 5
REST = COUNT - 1
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - {name: Missed, when: {missed: true}, send_to: desk}
"""
FAILED = "SELECT count(*) FROM deliveries WHERE state = 'failed'"
HOSTILE = MARKUP["html"][0]
ACTS = "SELECT by, act, subject, detail FROM acts WHERE act NOT LIKE 'sign%' ORDER BY id"


async def fail(relay: RunningRelay, count: int) -> str:
    """So many chats whose mail is refused; returns the path of their group."""
    for chat in range(count):
        assert (await relay.post(a_hook(chat, missed=True))).status == 202
    await relay.until(FAILED, (count,))
    page = (await (await signed_in(relay)).get("/deliveries")).text
    (path,) = re.findall(r"/deliveries/failed/\w{16}", page)
    return str(path)


async def until_over(visitor: Visitor, path: str) -> str:
    """The page of a job that has ended."""
    while "every 1s" in (page := (await visitor.get(path)).text):
        await visitor.get("/healthz")
    return page


@pytest.mark.usefixtures("each_store")
async def test_all_that_failed_for_one_cause_is_sent_again_once(tmp_path: Path) -> None:
    async with (
        SmtpServer().at("rcpt", f"550 5.1.1 user unknown {HOSTILE}", times=COUNT) as mail,
        running_relay(
            tmp_path, rules=RULES, smtp=mail.port, RELAY_CONSOLE_PASSWORD=PASSWORD
        ) as relay,
    ):
        path, visitor = await fail(relay, COUNT), await signed_in(relay, "editor")
        page = Read((await visitor.get(path)).text)
        assert page.wrong == []
        assert f"To confirm, type how many: {COUNT}" in page.text
        for count in ("", "1", f"{COUNT}0", "all"):
            got = await visitor.submit(path, key="k", count=count)
            assert (got.status, "The number did not fit." in got.text) == (422, True)
        # Somebody sends one of them again while the page is open.
        assert (await visitor.submit("/deliveries/1/resend")).status == 303
        got = await visitor.submit(path, key="k", count=str(COUNT))
        assert (got.status, "The number did not fit." in got.text) == (422, True)
        assert f"To confirm, type how many: {REST}" in Read(got.text).text
        await mail.until(lambda: len(mail.mails) == 1)
        both = await asyncio.gather(
            *(visitor.submit(path, key="k", count=str(REST)) for _ in range(2))
        )
        (job,) = {got.place for got in both} - {"/deliveries"}
        page = Read(await until_over(visitor, job))
        assert f"Sent again {REST} Not touched 0" in page.text
        await mail.until(lambda: len(mail.mails) == COUNT)
        await relay.until("SELECT DISTINCT state, generation FROM deliveries", ("delivered", 2))
        assert len({str(each.message["Message-ID"]) for each in mail.mails}) == COUNT
        assert relay.rows(ACTS) == [
            ("admin", "send again", "1", "desk"),
            ("admin", "send all again", "desk", str(REST)),
        ]
        assert (await visitor.get(path)).status == 404
        assert (await visitor.submit(path, key="k", count=str(REST))).place == job
        assert await arrived(visitor, "/deliveries?to=desk") == list(range(COUNT, 0, -1))
        assert await arrived(visitor, "/deliveries?to=room") == []
        assert (await visitor.get("/deliveries?before=x")).status == 400


async def arrived(visitor: Visitor, path: str) -> list[int]:
    """The numbers of the deliveries that arrived, as the page lists them, with all that is older."""
    page = Read((await visitor.get(path)).text)
    assert page.wrong == []
    links = [link.removeprefix("/deliveries/") for link in page.links]
    found = [int(link) for link in links if link.isdigit()]
    for older in [link for link in page.links if "before=" in link]:
        assert len(found) == MOST_ARRIVED
        found += await arrived(visitor, older.partition("#")[0])
    return found


@pytest.mark.usefixtures("each_store")
async def test_an_unreadable_post_is_shown_as_text_and_taken_in(tmp_path: Path) -> None:
    async with running_relay(tmp_path, rules=RULES, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        assert (await relay.post(f"{HOSTILE} {{".encode() + b"\xff")).status == 400
        visitor = await signed_in(relay)
        ((number,),) = relay.rows("SELECT id FROM set_aside")
        path = f"/set-aside/{number}"
        assert path in (await visitor.get("/deliveries")).text
        page = await visitor.get(path)
        assert Read(page.text).wrong == []
        assert HOSTILE not in page.text
        assert "&lt;script" in page.text or "&lt;" in page.text
        got = await visitor.submit(path, key="a")
        assert (got.status, "It still can&#39;t be read." in got.text) == (422, True)
        # As after an update of the relay that can read it.
        body = zlib.compress(a_hook(1, missed=True))
        relay.change("UPDATE set_aside SET body = ?", body)
        got = await visitor.submit(path, key="b")
        ((chat,),) = relay.rows("SELECT id FROM chats")
        assert (got.status, got.place) == (303, f"/chats/{chat}")
        assert relay.rows("SELECT count(*) FROM set_aside") == [(0,)]
        assert relay.rows("SELECT destination FROM deliveries") == [("desk",)]
        assert (await visitor.get(path)).status == 404
        assert relay.rows(ACTS) == [("admin", "take in", str(number), "")] * 2
