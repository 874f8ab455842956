"""The console in Chromium, as people use it: no message in its console, and nothing that keeps anybody out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.builders import a_hook
from tests.chromium import chromium
from tests.console.visiting import PASSWORD
from tests.running import RunningRelay, running_relay

PROGRAM = chromium()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed"),
]
QUIET = "Clear-Site-Data header"
"""Chromium tells that it did as it was told."""
PAGES = (
    "/login",
    "/chats",
    "/chats/1",
    "/deliveries",
    "/deliveries/1",
    "/destinations",
    "/mutes",
    "/health",
    "/nothing",
    "/me",
    "/people",
    "/tokens",
    "/acts",
)
"""Each is looked at by axe, in light and dark, at 1280 and 375 pixels."""


@asynccontextmanager
async def browser(relay: RunningRelay, **options: object) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of a new browser, and what its console says."""
    said: list[str] = []

    def note(text: str) -> None:
        if not text.startswith(QUIET):
            said.append(text)

    async with async_playwright() as playwright:
        program = await playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        context: BrowserContext = await program.new_context(base_url=relay.url, **options)  # type: ignore[arg-type]
        page = await context.new_page()
        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        try:
            yield page, said
        finally:
            await program.close()


async def sign_in(page: Page) -> None:
    await page.goto("/")
    await page.fill("#name", "admin")
    await page.fill("#password", PASSWORD)
    await page.click("button")


async def test_somebody_signs_in_looks_around_and_signs_out(tmp_path: Path) -> None:
    async with (
        running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay,
        browser(relay) as (page, said),
    ):
        await sign_in(page)
        assert (await relay.post(a_hook(1, missed=True, visitor={"name": "Ana"}))).status == 202
        await page.wait_for_selector("#news a")
        await page.click("#news a")
        await page.click("text=Ana")
        await page.wait_for_selector("iframe.mail, .slack-post")
        assert "because the rule Missed chats holds" in (await page.text_content("main") or "")
        await page.click("nav >> text=Health")
        await page.wait_for_selector("text=Rules in force")
        await page.click("text=Sign out")
        await page.wait_for_selector("#password")
        await page.go_back()
        await page.wait_for_selector("#password")
        assert said == []


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(tmp_path: Path, look: str) -> None:
    async with (
        running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay,
        browser(relay, color_scheme=look, bypass_csp=True) as (page, _),
    ):
        found = []
        assert (await relay.post(a_hook(1, missed=True))).status == 202
        await page.goto("/login")
        for path in PAGES:
            if path == PAGES[1]:
                await sign_in(page)
            for width in (1280, 375):
                await page.set_viewport_size({"width": width, "height": 800})
                await page.goto(path)
                results = (await Axe().run(page)).response
                found += [
                    (path, width, one["id"], [n["html"] for n in one["nodes"]])
                    for one in results["violations"]
                ]
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert found == []
