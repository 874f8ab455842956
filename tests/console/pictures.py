"""Photographs the console's pages for `make pictures`: by light on a desktop, by dark on a phone, some in each language."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from relay import demo
from relay.languages import LANGUAGES, SOURCE
from tests.builders import a_hook
from tests.console.browsing import FLAGS, PROGRAM, Site, is_too_wide, keep_cookie, running_site
from tests.console.crawling import pages_of
from tests.console.visiting import Visitor, invited, signed_in
from tests.servers import HttpAnswer

LOOKS = (("light", 1280), ("dark", 375))
IN_EVERY_LANGUAGE = ("/chats", "/deliveries", "/destinations", "/rules", "/health", "/me")
TALLEST = 2_600
"""Pixels of a page that a picture shows."""
SAMPLES = Path(demo.__file__).parent / "samples"


def take(folder: Path) -> tuple[list[str], list[str]]:
    """Writes pictures into the folder; their names, and what is wrong with pages."""
    return asyncio.run(_take(folder))


async def _take(folder: Path) -> tuple[list[str], list[str]]:
    with tempfile.TemporaryDirectory() as scratch:
        async with async_playwright() as playwright:
            program = await playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
            async with running_site(Path(scratch), program) as site:
                return await _of_all(site, await _filled(site), program, folder)


async def _filled(site: Site) -> Visitor:
    """A day with something of everything; the admin."""
    relay, under_way = (
        site.relay,
        "SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')",
    )
    site.mail.at("rcpt", "550 5.1.1 user unknown")
    for path in sorted(SAMPLES.glob("*.json")):
        assert (await relay.post(path.read_bytes())).status in {200, 202}
    await relay.until(under_way, (0,))
    admin = await signed_in(relay)
    await admin.submit("/tokens", name="Reports", role="viewer", days="30")
    await invited(admin, "anna@example.com", "editor")
    mute = {"rule": "Offline messages", "until": "4h", "because": "stocktaking"}
    await admin.submit("/mutes", key="m", then="digest", **mute)
    pause = {"destination": "desk", "until": "morning", "because": "the mail server moves"}
    await admin.submit("/destinations/pause", key="p", **pause)
    site.slack.usual = HttpAnswer(status=404, body="no_service")
    assert (
        await relay.post(a_hook(9001, missed=True, visitor={"name": "Jana Malá"}))
    ).status == 202
    await relay.until("SELECT count(*) FROM gates WHERE destination = 'room'", (1,))
    return admin


async def _of_all(
    site: Site, admin: Visitor, program: Browser, folder: Path
) -> tuple[list[str], list[str]]:
    names, wrong = [], []
    paths = ["/login", *await pages_of(admin)]
    wanted = [(path, SOURCE, look, width) for path in paths for look, width in LOOKS]
    wanted += [
        (path, language, "light", 375)
        for path in (*IN_EVERY_LANGUAGE, _first(paths, "/chats/"))
        for language in LANGUAGES
        if language != SOURCE
    ]
    tabs: dict[tuple[str, str, int], Page] = {}
    for path, language, look, width in wanted:
        if (language, look, width) not in tabs:
            context = await program.new_context(
                base_url=site.relay.url,
                locale=language,
                color_scheme=look,  # type: ignore[arg-type]
                viewport={"width": width, "height": 800},
                reduced_motion="reduce",
            )
            tabs[language, look, width] = await context.new_page()
        page = tabs[language, look, width]
        if path != "/login":
            await keep_cookie(page, admin)
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(path)
        await expect(page.locator("[hx-trigger=load]:empty")).to_have_count(0)
        for frame in page.frames:
            await frame.wait_for_load_state()
        height = int(await page.evaluate("document.documentElement.scrollHeight"))
        # A bar at the bottom of the screen would stand in the middle of a longer picture.
        await page.set_viewport_size({"width": width, "height": min(max(height, 800), TALLEST)})
        of = path.partition("?")[0].strip("/").replace("/", "-")[:40]
        names.append(f"console-{of}-{language}-{width}-{look}")
        await page.screenshot(path=folder / f"{names[-1]}.png")
        if by := await is_too_wide(page):
            wrong.append(f"{names[-1]}: {by} pixels too wide")
    return names, wrong


def _first(paths: list[str], prefix: str) -> str:
    return next(path for path in paths if path.startswith(prefix))
