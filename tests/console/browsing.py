"""The console in Chromium: tabs of people who have signed in, and what goes wrong in them."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Dialog, Error, Page, expect

from tests.chromium import chromium
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import DEADLINE, OFTEN, RelayProcess, RunningRelay, running_relay, settings
from tests.servers import HttpServer, SmtpServer

PROGRAM = chromium()
FLAGS = ["--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1"]
in_browser = [
    pytest.mark.long,
    pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]
"""Marks of a module whose tests share one browser."""
QUIET = ("Clear-Site-Data header", "htmx:afterRequest", "htmx:sendAbort")
"""Chromium tells that it did as it was told, and htmx of a request that another one, or another page, has ended."""
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - name: Missed chats
    when: {missed: true}
    send_to: [desk, room]
    template: missed
  - name: Bad ratings
    when: {rating: {at_most: 2}}
    send_to: room
    template: low_rating
  - name: Offline messages
    when: {offline: true}
    send_to: desk
    template: offline
"""

PATIENCE = round(1000 * DEADLINE)
"""Milliseconds for one step of a test: Chromium starts processes, and the relay's children give way to everything."""

expect.set_options(timeout=PATIENCE)


@dataclass(frozen=True, slots=True)
class Site:
    """A relay, the servers that its destinations lead to, and a browser."""

    relay: RunningRelay
    mail: SmtpServer
    slack: HttpServer
    program: Browser
    may_go_on: threading.Event
    """Set, unless a test holds up what sends many deliveries again, after each of its transactions."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment of commands on this relay's database, with the rules as they are in its file."""
        rules = (self.relay.folder / "rules.yaml").read_text("utf-8")
        return settings(self.relay.folder, rules=rules, RELAY_DATABASE=self.relay.database)

    @asynccontextmanager
    async def tab(
        self,
        role: str = "admin",
        *,
        visitor: Visitor | None = None,
        may_say: tuple[str, ...] = (),
        **options: Any,
    ) -> AsyncIterator[Page]:
        """A tab of somebody with this role, or of this visitor. Fails at its end if anything in it went wrong; `may_say`: which words of its console are none such."""
        visitor = visitor or await signed_in(self.relay, role)
        async with open_tab(self.program, self.relay, may_say, **options) as page:
            await keep_cookie(page, visitor)
            yield page


@asynccontextmanager
async def open_tab(
    program: Browser,
    relay: RunningRelay | RelayProcess,
    may_say: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Page]:
    """A tab of a stranger, with storage of its own."""
    context = await program.new_context(base_url=relay.url, **options)
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    wrong: list[str] = []

    def note(text: str) -> None:
        if not any(words in text for words in (*QUIET, *may_say)):
            wrong.append(text)

    async def dismiss(dialog: Dialog) -> None:
        note(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def check(url: str) -> None:
        if not is_here(relay, url):
            note(f"request: {url}")

    page.on("console", lambda message: note(f"console: {message.text}"))
    page.on("pageerror", lambda error: note(f"script: {error}"))
    page.on("request", lambda request: check(request.url))
    page.on("dialog", dismiss)
    try:
        yield page
    finally:
        await confirmed(context.close())
    assert not wrong, wrong


async def confirmed(call: Awaitable[None]) -> None:
    """Waits for a call that has no time limit of its own: Chromium does not confirm each key that leads to another page."""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            await call


async def press(page: Page, *keys: str) -> None:
    """Presses keys where they are listened to: a page that is seen may still wait for its script."""
    for key in keys:
        await page.wait_for_load_state()
        await confirmed(page.keyboard.press(key))


async def until_at(page: Page, pattern: str) -> None:
    """Waits for a page whose URL fits. `wait_for_url` fails where one navigation takes the place of another."""
    await expect(page).to_have_url(re.compile(pattern))
    await page.wait_for_load_state()


def is_here(relay: RunningRelay | RelayProcess, url: str) -> bool:
    """Whether a URL leads to the relay, or nowhere."""
    parts = urlsplit(url)
    return parts.scheme in {"data", "about", "blob"} or parts.port == urlsplit(relay.url).port


async def keep_cookie(page: Page, visitor: Visitor) -> None:
    """The tab is one of this visitor from now on."""
    cookie = {"name": "__Host-relay", "value": visitor.cookie, "url": "https://127.0.0.1/"}
    kept = {**cookie, "secure": True, "httpOnly": True, "sameSite": "Lax"}
    await page.context.add_cookies([kept])  # type: ignore[list-item]


async def is_too_wide(page: Page) -> int:
    """By how many pixels the page scrolls sideways."""
    measure = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(await page.evaluate(measure))


@asynccontextmanager
async def running_site(folder: Path, program: Browser, **more: Any) -> AsyncIterator[Site]:
    """A relay with a mail server and Slack. `more` as for `running_relay`."""
    may_go_on = threading.Event()
    may_go_on.set()

    def rest(_: float) -> None:
        assert may_go_on.wait(2 * DEADLINE)

    async with (
        SmtpServer() as mail,
        HttpServer() as slack,
        running_relay(
            folder,
            **{
                "rules": RULES,
                "smtp": mail.port,
                "http": slack.port,
                "RELAY_CONSOLE_PASSWORD": PASSWORD,
                "between_looks": OFTEN,
                "rest": rest,
                **more,
            },
        ) as relay,
    ):
        yield Site(relay, mail, slack, program, may_go_on)


async def look_for_news(page: Page) -> None:
    """As if somebody came back to the tab: it asks at once, and not after five seconds."""
    try:
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    except Error as error:  # it has asked by itself just then, and was led to another page
        if "Execution context was destroyed" not in error.message:
            raise


async def shows(page: Page, path: str, *words: str) -> None:
    """Opens a page once it says these words: the relay sees within moments what was written."""
    async with asyncio.timeout(DEADLINE):
        text = ""
        while not all(each in text for each in words):
            text = await (await page.request.get(path)).text()
        while True:
            await page.wait_for_load_state()
            try:
                await page.goto(path)
            except Error as error:  # a click before it leads to another page only now
                if "interrupted by another navigation" not in error.message:
                    raise
            else:
                return
