"""Every page of the console that a link leads to: what a machine can tell of it, in each role, look and size."""

import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page

from relay.console.request_checks import HEADERS
from relay.outbox.schema import metadata
from relay.outbox.user_accounts import Role
from relay.settings.table import LATER_SETTINGS
from relay.settings.table import TABLE as SETTINGS
from tests.builders import a_hook
from tests.console.browsing import Site, in_browser, is_too_wide, keep_cookie, open_tab
from tests.console.crawling import crawl, pages_of, template_of
from tests.console.reading import Read
from tests.console.test_roles import TABLE
from tests.console.visiting import Got, Visitor, invited, link_in
from tests.running import OFTEN, RULES, TOKEN, running_relay
from tests.servers import HttpServer, SmtpServer

pytestmark = in_browser
CANARY = "canary-never-to-be-seen"
SECRETS = {
    "RELAY_HOOK_TOKENS": f"{TOKEN},{CANARY}-hook-token",
    "RELAY_HOOK_SECRETS": f"{CANARY}-hook-secret",
    "RELAY_SLACK_TOKEN": f"xoxb-1-{CANARY}",
    "RELAY_CONSOLE_PASSWORD": f"{CANARY}-console",
    "RELAY_SMTP_URL": "smtp://me:" + CANARY + "@127.0.0.1:{mail}?insecure=yes",
    "ROOM_WEBHOOK": "http://127.0.0.1:{slack}/" + CANARY,
}
NOT_SET = {
    "RELAY_DATABASE",  # of a server
    "RELAY_SMTP_OAUTH_CLIENT_SECRET",
    "RELAY_SMTP_OAUTH_REFRESH_TOKEN",  # in place of a password
    "RELAY_HTTPS_PROXY",
    "RELAY_CONSOLE_OIDC_CLIENT_SECRET",  # only with a provider; tests of sign-in there have one
}
BY_ACTS = {"/jobs/{id_:str}", "/rules/schema.json", "/rules/edit/patch"}
"""Where no link leads: made by an act or a script of a page, and looked at where that is tested."""
MAIL = re.compile("^/previews/|/mail$")
"""What is shown in a frame, by a policy of its own."""
NOT_FOUND = "404 (Not Found)"
AXE_ASKS_FRAMES = "Failed to execute 'postMessage' on 'DOMWindow'"
"""Said by Chromium where axe calls a frame that has no scripts."""
BY_ITSELF = {"relays", "marks", "sessions"}
"""Tables that the relay writes whatever anybody does."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(
    database: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, program: Browser
) -> AsyncIterator[Site]:
    """A relay with something of everything, whose every secret is a canary; on each store."""
    kinds = {each.name for each in SETTINGS if each.is_secret}
    assert kinds - NOT_SET == SECRETS.keys() - {"ROOM_WEBHOOK", *LATER_SETTINGS}, (
        "each secret needs a canary"
    )
    async with SmtpServer(users={"me": CANARY}) as mail, HttpServer() as slack:
        ports = {"mail": mail.port, "slack": slack.port}
        secrets: dict[str, Any] = {name: value.format(**ports) for name, value in SECRETS.items()}
        folder = tmp_path_factory.mktemp("full")
        more = {"between_looks": OFTEN, "rules": RULES, **secrets, **database}
        async with running_relay(folder, **more) as relay:
            site = Site(relay, mail, slack, program, threading.Event())
            await _fill(site)
            yield site


async def _fill(site: Site) -> None:
    relay = site.relay
    site.mail.at("rcpt", "550 5.1.1 user unknown")
    some: list[dict[str, Any]] = [
        {"missed": True},
        {"missed": True},
        {"rating": 1},
        {"offline": True},
    ]
    for chat, changes in enumerate(some, 1):
        assert (await relay.post(a_hook(chat, **changes))).status == 202
        await relay.until(
            "SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')", (0,)
        )
    await relay.post(b"[1")
    admin = await admin_of(site)
    ((base,),) = relay.rows("SELECT hash FROM rules_versions")
    await admin.submit("/rules/edit", act="keep", text=f"{RULES}# mine\n", base=base)
    await admin.submit("/tokens", name="a script", role="viewer", days="30")
    await invited(admin, "anna", "editor")
    form = {"rule": "Missed chats", "until": "4h", "because": "stocktaking"}
    await admin.submit("/mutes", key="m", then="digest", **form)
    await admin.submit(
        "/destinations/pause", key="p", destination="desk", until="open", because="we move"
    )


async def admin_of(site: Site, role: str = "admin") -> Visitor:
    visitor = Visitor(site.relay)
    assert (await visitor.sign_in(password=SECRETS["RELAY_CONSOLE_PASSWORD"])).status == 303
    site.relay.change("UPDATE users SET role = ? WHERE name = 'admin'", role)
    return visitor


@pytest.mark.parametrize("role", Role)
async def test_a_crawl_finds_every_page_and_nothing_wrong(full: Site, role: Role) -> None:
    visitor = await admin_of(full, role)
    before = contents(full)
    answers = await crawl(visitor)
    assert contents(full) == before
    missing = (
        {
            template
            for (template, method), needed in TABLE.items()
            if method == "GET" and needed and role.may(needed) and not template.startswith("/api/")
        }
        - {template_of(path) for path in answers}
        - BY_ACTS
    )
    assert missing == set()
    for path, got in answers.items():
        assert got.status in {200, 204, 303}, path
        assert_kept(path, got)


async def test_strangers_pages_are_as_good(full: Site) -> None:
    admin = await admin_of(full)
    link = link_in((await admin.submit("/people", name="petr", role="viewer")).text)
    stranger = Visitor(full.relay)
    for path in ("/login", "/login?next=/health", link, "/login/" + 43 * "x", "/nothing"):
        assert_kept(path, await stranger.get(path))
    assert_kept("/nothing", await admin.get("/nothing"))
    assert_kept("/people", await (await admin_of(full, "viewer")).get("/people"))


def assert_kept(path: str, got: Got) -> None:
    """No answer holds a secret or lacks a header; a page is good HTML that the policy does not touch."""
    own = {"content-security-policy", "x-frame-options"} if MAIL.search(path) else set()
    for name, value in HEADERS.items():
        assert name in own or got.headers.get(name) == value, (path, name)
    assert "script" not in got.headers["content-security-policy"].replace("script-src 'self'", "")
    assert CANARY not in got.text, path
    assert CANARY not in str(got.headers), path
    is_html = got.headers.get("content-type", "").startswith("text/html") and got.text
    if not is_html or MAIL.search(path):
        return
    page = Read(got.text)
    assert page.wrong == [], path
    if got.text.startswith("<!doctype"):
        assert page.headings == 1, path
        assert page.language, path


def contents(site: Site) -> dict[str, list[str]]:
    """All that the database holds, as text."""
    tables = [name for name in metadata.tables if name not in BY_ITSELF]
    return {name: sorted(map(str, site.relay.rows(f"SELECT * FROM {name}"))) for name in tables}  # noqa: S608 - our tables


@pytest.mark.parametrize("width", [1280, 375])
async def test_axe_finds_nothing_on_any_page(full: Site, width: int) -> None:
    found = []
    pages = await pages_of(await admin_of(full))
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": 800},
        "reduced_motion": "reduce",
    }
    may_say = (NOT_FOUND, AXE_ASKS_FRAMES)
    async with open_tab(full.program, full.relay, may_say, bypass_csp=True, **options) as page:
        await page.context.add_init_script(AXE_SCRIPT)
        for path in ("/login", "/nothing", *pages):
            if path == pages[0]:
                await keep_cookie(page, await admin_of(full))
            await page.goto(path)
            for look in ("light", "dark"):
                await page.emulate_media(color_scheme=look)
                found += [(path, width, look, *one) for one in await axe(page)]
            assert await is_too_wide(page) == 0, path
    assert not found, found


async def axe(page: Page) -> list[tuple[str, list[str]]]:
    results = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(one["id"], [n["html"] for n in one["nodes"]]) for one in results["violations"]]


LONGER = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode())
    if (text.data.trim() && !text.parentElement.closest("script, style, textarea, pre, code"))
      text.data = `[${text.data} ${"ě".repeat(text.data.trim().length * 2 / 5)}]`;
}"""
"""Puts each text of a page in brackets, and makes it 40 % longer."""


async def test_longer_words_and_larger_letters_widen_no_page(full: Site) -> None:
    """Scenario 27: on a phone, and on a small one with letters of twice the size."""
    too_wide = []
    pages = await pages_of(await admin_of(full))
    options: dict[str, Any] = {
        "bypass_csp": True,
        "viewport": {"width": 375, "height": 700},
    }
    async with open_tab(full.program, full.relay, **options) as page:
        await keep_cookie(page, await admin_of(full))
        for path in pages:
            await page.set_viewport_size({"width": 375, "height": 700})
            await page.goto(path)
            await page.evaluate(LONGER)
            assert "ěě" in await page.inner_text("body"), path
            assert await small_targets(page) == [], path
            if await is_too_wide(page):
                too_wide.append((path, 375, await widest(page)))
            await page.add_style_tag(content="html { font-size: 200% }")
            await page.set_viewport_size({"width": 320, "height": 700})
            if await is_too_wide(page):
                too_wide.append((path, 320, await widest(page)))
    assert not too_wide, too_wide


async def widest(page: Page) -> list[str]:
    """What sticks out."""
    script = """() => [...document.querySelectorAll("body *")].filter((e) =>
      e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 90)).slice(-5)"""
    return list(await page.evaluate(script))


async def small_targets(page: Page) -> list[str]:
    """What fingers miss: lower than 44 pixels, and not within a text."""
    script = """() => [...document.querySelectorAll("button, select, input, textarea, summary, a.button, nav a, .tabs a")]
      .filter((e) => e.checkVisibility() && !["hidden", "checkbox", "radio"].includes(e.type))
      .filter((e) => { const box = e.getBoundingClientRect(); return box.width > 1 && box.height < 43.5; })
      .map((e) => e.getBoundingClientRect().height + " " + e.outerHTML.slice(0, 120))"""
    return list(await page.evaluate(script))
