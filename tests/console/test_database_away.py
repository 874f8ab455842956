"""Trouble below: pages answer with the reason and what is known, and all is well again by itself."""

import asyncio
import contextlib
import resource
import sqlite3
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from relay import __version__
from tests.builders import a_hook
from tests.console.browsing import in_browser, open_tab, press, running_site, shows, until_at
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Got, Visitor, a_program, signed_in
from tests.postgres import postgres_cluster
from tests.running import let_files_grow_to, relay_process, running_relay, settings
from tests.servers import SmtpServer

pytestmark = in_browser
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - {name: Missed, when: {missed: true}, send_to: desk}
"""


def told(got: Got, status: int, *words: str) -> None:
    page = Read(got.text)
    assert (got.status, page.wrong) == (status, [])
    for each in words:
        assert each in page.text, page.text


async def until_well(visitor: Visitor, path: str) -> Got:
    while (got := await visitor.get(path)).status != 200:
        await visitor.get("/healthz")
    return got


async def test_a_database_that_was_moved_away_is_told_of_with_what_is_known(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path, rules=RULES, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor = await signed_in(relay)
        form = {"token": await visitor.token(), "rule": "Missed", "until": "1h", "because": "x"}
        file, away = tmp_path / "relay.db", tmp_path / "away.db"
        file.rename(away)
        why = "the database file was moved, deleted or replaced"
        for path in ("/chats", "/deliveries", "/destinations", "/mutes", "/chats/1", "/me"):
            told(await visitor.get(path), 503, why, "What is known without it")
        told(await visitor.get("/health"), 200, why, "desk works", "Rules file")
        told(await visitor.post("/mutes", None, **form), 503, why, "Nothing that you sent")
        edited = {"token": form["token"], "act": "publish", "text": "an hour of work"}
        told(await visitor.post("/rules/edit", None, **edited), 503, why, "an hour of work")
        stranger = await Visitor(relay, cookie="x" * 43).get("/health")
        assert stranger.status == 503
        assert "moved" not in stranger.text
        away.rename(file)
        await until_well(visitor, "/chats")
        told(await until_well(visitor, "/health"), 200)


async def test_a_locked_database_is_read_and_says_that_it_is_locked(
    tmp_path: Path, program: Browser
) -> None:
    """Scenario 29: who changes something hears in a few seconds that nothing was done, and why."""
    async with (
        running_site(tmp_path, program, rules=RULES) as site,
        site.tab(may_say=("503",)) as page,
    ):
        assert (await site.relay.post(a_hook(1, missed=True))).status == 202
        robot = await a_program(site.relay, "viewer")
        assert (await robot.get("/health")).json["readiness"]["ready"] is True
        with contextlib.closing(sqlite3.connect(tmp_path / "relay.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            asked = asyncio.create_task(robot.get("/health"))
            for path in ("/chats", "/chats/1", "/deliveries", "/destinations", "/health", "/mutes"):
                answer = await page.goto(path)
                assert answer is not None
                assert answer.status == 200
            health = await asked
            assert (health.status, health.json["readiness"]["ready"]) == (200, False)
            assert health.json["version"] == __version__
            await mute(page)
            main = page.locator("main")
            await expect(main).to_contain_text("Nothing that you sent with a form was done.")
            await expect(main).to_contain_text("locked")
            other.rollback()
        await page.click("text=Load again")
        await mute(page)
        await expect(page.locator("h1")).to_have_text("1 mute holds notifications back")


async def test_a_full_disk_is_told_of_and_pages_are_read(tmp_path: Path, program: Browser) -> None:
    """Scenario 29: what is shown stays readable; nothing is half done, and all is well once there is room."""
    async with SmtpServer() as mail:
        more: dict[str, Any] = {"smtp": mail.port, "RELAY_CONSOLE_PASSWORD": PASSWORD}
        with relay_process(settings(tmp_path, rules=RULES, **more), is_forked=True) as relay:
            async with open_tab(program, relay, ("503",)) as page:
                await page.goto("/login")
                await page.fill("#name", "admin")
                await page.fill("#password", PASSWORD)
                await press(page, "Enter")
                await until_at(page, "/chats$")
                assert (await relay.post(a_hook(1, missed=True))).status == 202
                let_files_grow_to(relay, (tmp_path / "relay.db-wal").stat().st_size)
                main = page.locator("main")
                for path in (
                    "/chats",
                    "/chats/1",
                    "/deliveries",
                    "/destinations",
                    "/health",
                    "/mutes",
                ):
                    answer = await page.goto(path)
                    assert answer is not None
                    assert answer.status == 200, path
                await mute(page)
                await expect(main).to_contain_text("Nothing that you sent with a form was done.")
                await expect(main).to_contain_text("disk")
                await shows(page, "/health", "Hooks are refused.")
                let_files_grow_to(relay, resource.RLIM_INFINITY)
                await shows(page, "/health", "All is well.")
                await page.goto("/mutes")
                await expect(page.locator("h1")).to_have_text("Nothing is muted.")
                await mute(page)
                await expect(page.locator("h1")).to_have_text("1 mute holds notifications back")


async def mute(page: Page) -> None:
    await page.select_option("#rule", "Missed")
    await page.fill("#because", "stocktaking")
    await page.click("button:has-text('Mute')")


async def test_a_stopped_server_is_told_of_until_it_is_back(
    tmp_path: Path, program: Browser
) -> None:
    """Scenario 29: an open page shows the trouble; what is known without the database is on the page of the health."""
    with postgres_cluster() as server:
        url = server.url(server.new_database(with_tables=True))
        async with (
            running_site(tmp_path, program, rules=RULES, RELAY_DATABASE=url) as site,
            site.tab(may_say=("503",)) as page,
        ):
            await page.goto("/chats")
            server.stop()
            await page.click("nav >> text=Deliveries")
            await expect(page.locator("main")).to_contain_text("connection failed")
            await page.click("text=What is known without it")
            await expect(page.locator("h1")).to_have_text("Hooks are refused.")
            desk = page.locator("dd", has=page.locator("xpath=preceding-sibling::dt[1][.='desk']"))
            await expect(desk).to_have_text("works")
            server.start()
            await shows(page, "/deliveries", "Nothing has failed.")
            await shows(page, "/health", "All is well.")
            await expect(page).to_have_title("Health · Relay")
