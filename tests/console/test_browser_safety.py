"""Hostile words, hostile templates, other sites, and sessions that end, in Chromium."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.builders import a_hook
from tests.console.browsing import (
    Site,
    in_browser,
    keep_cookie,
    look_for_news,
    open_tab,
    running_site,
    until_at,
)
from tests.console.test_hostile_words import hostile_hook
from tests.console.visiting import NEW, PASSWORD, Visitor, invited, signed_in
from tests.corpora import MARKUP, NAUGHTY
from tests.servers import HttpAnswer, HttpServer

pytestmark = in_browser
OBEYED = tuple(
    dict.fromkeys(
        (*MARKUP["html"], *(text for text in NAUGHTY if "<" in text or "javascript:" in text))
    )
)
HOSTILE_RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - name: '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    when: {missed: true}
    send_to: [desk, room]
    template: missed
"""
SAID = '550 5.1.1 <script>alert(3)</script><img src="https://far.test/x" onerror=alert(4)>'


async def test_hostile_words_do_nothing_in_a_browser(tmp_path: Path, program: Browser) -> None:
    """Scenario 6: as name, note, message, page title, agent, comment, rule, and as a server's answer."""
    async with running_site(tmp_path, program, rules=HOSTILE_RULES) as site:
        site.mail.at("rcpt", SAID, times=None)
        site.slack.usual = HttpAnswer(status=400, body=SAID)
        some = [*MARKUP["html"], *OBEYED[:: len(OBEYED) // 12]]
        said = [
            {"type": "visitor", "name": text[:80], "content": text, "sentAt": 1763800000000}
            for text in OBEYED
        ]
        assert (await site.relay.post(a_hook(1, missed=True, messages=said))).status == 202
        for chat, words in enumerate(some, 2):
            assert (await site.relay.post(hostile_hook(chat, words))).status == 202
        await site.relay.until(
            "SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')", (0,)
        )
        async with site.tab() as page:
            query = "SELECT min(id) FROM deliveries WHERE destination = 'desk'"
            ((number,),) = site.relay.rows(query)
            looks = (f"/deliveries/{number}", f"/deliveries/{number}/mail")
            chats = [f"/chats/{number}" for (number,) in site.relay.rows("SELECT id FROM chats")]
            for path in (
                *chats,
                "/chats",
                "/deliveries",
                *looks,
                "/destinations",
                "/mutes",
                "/health",
                "/acts",
            ):
                await page.goto(path)
            await page.goto("/chats")
            row = page.locator("article.row", has_text="1")
            assert await row.count() > 10


async def test_turned_words_turn_nothing_around_them(site: Site) -> None:
    """Scenario 6, its end: marks that turn text around stay within the name that has them."""
    name = "Ana \u202egnp.exe"
    assert (await site.relay.post(a_hook(62, missed=True, visitor={"name": name}))).status == 202
    ((number,),) = site.relay.rows("SELECT id FROM chats WHERE chat = '62'")
    async with site.tab() as page:
        await page.goto(f"/chats#chat-{number}")
        row = page.locator(f"#chat-{number}")
        named = await row.locator("h3 a").bounding_box()
        tag = await row.locator("h3 .tag").first.bounding_box()
        assert named is not None
        assert tag is not None
        assert tag["x"] >= named["x"] + named["width"] - 1


@pytest.mark.usefixtures("each_store")
async def test_a_mail_in_a_frame_can_do_nothing(tmp_path: Path, program: Browser) -> None:
    """Scenario 7: scripts, forms, links and pictures of a template stay still; its own styles are seen."""
    async with HttpServer() as far:
        evil = f"""<style>#styled {{ color: rgb(1, 2, 3) }} @import url({far.url("/import")});</style>
<base href="{far.url("/base/")}"><meta http-equiv="refresh" content="0;url={far.url("/refresh")}">
<link rel="stylesheet" href="{far.url("/sheet")}"><link rel="prefetch" href="{far.url("/prefetch")}">
<p id="styled" style="font-size: 33px; background: url({far.url("/css")})">styled</p>
<script>top.location = "{far.url("/script")}"</script><img src="{far.url("/image")}" onerror="top.location='{far.url("/onerror")}'">
<form action="{far.url("/form")}" target="_top"><input name="x" autofocus onfocus="this.form.submit()"></form>
<iframe src="{far.url("/frame")}"></iframe><object data="{far.url("/object")}"></object><svg onload="top.x=1"></svg>
<a href="{far.url("/link")}" target="_top" ping="{far.url("/ping")}">a link</a>"""
        templates = tmp_path / "templates"
        (templates / "missed").mkdir(parents=True)
        (templates / "missed" / "body.html").write_text(evil, "utf-8")
        async with running_site(tmp_path, program, RELAY_TEMPLATES=str(templates)) as site:
            assert (await site.relay.post(a_hook(1, missed=True))).status == 202
            await site.mail.received(1)
            ((number,),) = site.relay.rows("SELECT id FROM deliveries WHERE destination = 'desk'")
            blocked = (
                "Blocked script execution",
                "violates the following",
                "Blocked form",
                "Refused to",
                far.url("/"),
                "sandbox",
            )
            async with site.tab(may_say=blocked) as page:
                # Not until all is loaded: a frame may wait for where it is not let go.
                await page.goto(f"/deliveries/{number}", wait_until="domcontentloaded")
                frame = page.frame_locator("iframe.mail")
                styled = frame.locator("#styled")
                await expect(styled).to_have_css("font-size", "33px")
                await expect(styled).to_have_css("color", "rgb(1, 2, 3)")
                async with page.expect_console_message(lambda said: "navigat" in said.text):
                    await frame.locator("a").click()
                assert page.url.endswith(f"/deliveries/{number}")
                assert await page.evaluate("window.x === undefined")
        assert far.requests == []


async def test_a_session_that_has_ended_leads_to_the_sign_in(site: Site) -> None:
    """Scenario 22: never a form to sign in within a part; another password ends other sessions; back shows nothing."""
    assert (await site.relay.post(a_hook(2201, visitor={"name": "Left Behind"}))).status == 202
    anna = await invited(await signed_in(site.relay), "anna", "editor")
    said = ("401",)  # what a page asks for while its user signs out, or is signed out
    async with (
        site.tab(visitor=anna, may_say=said) as page,
        site.tab(visitor=anna, may_say=said) as other,
    ):
        await other.goto("/chats")
        await other.wait_for_function("window.htmx")
        await page.goto("/me")
        await page.fill("#old", "another good password")
        await page.fill("#new", "a third good password")
        await page.click("button:has-text('Change password')")
        await expect(page.locator("[role=status]")).to_contain_text("all other sessions have ended")
        await look_for_news(other)
        await until_at(other, "/login")
        await expect(other.locator("#password")).to_have_count(1)
        await page.goto("/chats")
        await page.click("text=Sign out")
        await page.wait_for_selector("#password")
        await page.go_back()
        await page.wait_for_selector("#password")
        assert "Left Behind" not in await page.content()
        kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert kept == "[{},{}]"


async def test_who_guesses_waits_and_a_planted_cookie_is_worth_nothing(site: Site) -> None:
    """Scenario 23: after some wrong passwords also the right one has to wait, for this name alone; each sign-in has a cookie of its own."""
    await invited(await signed_in(site.relay), "guessed", "viewer")
    async with open_tab(site.program, site.relay, may_say=("422", "429")) as page:
        planted = Visitor(site.relay, "planted-by-somebody-else-0123456789012345")
        await keep_cookie(page, planted)
        await page.goto("/chats")
        for status, password, words in (
            (422, "wrong", "Name or password is wrong."),
            (429, "wrong", "Too many attempts. Wait"),
            (429, NEW, "Too many attempts. Wait"),
        ):
            # Not in the browser: the first would be forgiven before it has shown the last.
            tried = 422
            while tried != status:
                tried = (await Visitor(site.relay).sign_in("guessed", "wrong")).status
            await page.fill("#name", "guessed")
            await page.fill("#password", password)
            async with page.expect_navigation():
                await page.click("button:has-text('Sign in')")
            await expect(page.locator("[role=alert]")).to_contain_text(words)
        await page.fill("#name", "admin")
        await page.fill("#password", PASSWORD)
        await page.click("button:has-text('Sign in')")
        await until_at(page, "/chats$")
        (cookie,) = await page.context.cookies()
        assert cookie["value"] != planted.cookie
        assert (await planted.get("/chats")).status == 303


OTHER_SITE = """<!doctype html><title>other</title><iframe src="{relay}/chats"></iframe>
<form id="f" method="post" action="{relay}/mutes" target="sent"><input name="rule" value="Missed chats"><input name="until" value="1h"><input name="because" value="x"></form>
<iframe name="sent"></iframe>
<script>
const tell = (promise) => promise.then((a) => a.text()).catch(() => "blocked");
const form = new URLSearchParams({{rule: "Missed chats", until: "1h", because: "x"}});
window.done = Promise.all([
  tell(fetch("{relay}/chats", {{credentials: "include"}})),
  tell(fetch("{relay}/chats", {{credentials: "include", mode: "no-cors"}})),
  tell(fetch("{relay}/mutes", {{method: "POST", body: form, credentials: "include", mode: "no-cors"}})),
  new Promise((resolve) => {{ const s = document.createElement("script"); s.src = "{relay}/chats"; s.onload = () => resolve("loaded"); s.onerror = () => resolve("blocked"); document.head.append(s); }}),
  new Promise((resolve) => {{ document.getElementsByName("sent")[0].onload = () => resolve("sent"); document.getElementById("f").submit(); }}),
]);
</script>"""


async def test_another_site_reads_and_changes_nothing(site: Site) -> None:
    """Scenario 25: from another port of this computer, which is the same site to a browser, and from another name."""
    page_of_other = HttpAnswer(
        body=OTHER_SITE.format(relay=site.relay.url), headers={"Content-Type": "text/html"}
    )
    visitor = await signed_in(site.relay)
    assert (await site.relay.post(a_hook(2501, visitor={"name": "Only For Us"}))).status == 202
    async with HttpServer(usual=page_of_other) as other:
        for origin in (f"http://127.0.0.1:{other.port}", f"http://evil.test:{other.port}"):
            may: tuple[str, ...] = (
                "request: http",
                "blocked by CORS",
                "403",
                "Refused to",
                "violates",
                "net::ERR",
                "frame",
            )
            async with site.tab(visitor=visitor, may_say=may) as page:
                await page.goto(origin)
                got: list[Any] = await page.evaluate("window.done")
                assert got[:4] == ["blocked", "", "", "blocked"] or got[:4] == [
                    "blocked",
                    "blocked",
                    "blocked",
                    "blocked",
                ]
                for frame in page.frames[1:]:
                    assert "Only For Us" not in await frame.content()
                async with page.context.expect_page() as opened:
                    await page.evaluate(f"window.opened = window.open('{site.relay.url}/chats'), 1")
                window = await opened.value
                await window.wait_for_selector(
                    "text=Only For Us"
                )  # a link leads there, and that is all
                seen = await page.evaluate(
                    "(() => { try { return opened.document.body.innerText } catch { return '' } })()"
                )
                assert seen == ""
    assert site.relay.rows("SELECT count(*) FROM mutes") == [(0,)]
