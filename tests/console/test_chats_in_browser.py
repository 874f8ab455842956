"""The console in Chromium, as a support lead uses it on a day: what came, who was told, and why."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.console.browsing import (
    Site,
    in_browser,
    is_too_wide,
    look_for_news,
    open_tab,
    press,
    running_site,
    shows,
)
from tests.console.visiting import PASSWORD, acts, signed_in

pytestmark = in_browser


async def sign_in(page: Page) -> None:
    await page.goto("/")
    await page.fill("#name", "admin")
    await page.fill("#password", PASSWORD)
    await press(page, "Enter")


async def number_of(site: Site, chat: int) -> int:
    """The number of a chat in the database."""
    ((number,),) = site.relay.rows(f"SELECT id FROM chats WHERE chat = '{chat}'")  # noqa: S608 - a number
    return int(number)


async def post(site: Site, chat: int, **changes: Any) -> int:
    assert (await site.relay.post(a_hook(chat, **changes))).status == 202
    return await number_of(site, chat)


async def until_delivered(site: Site, number: int) -> None:
    """What a missed chat has led to has arrived: its pages change no more."""
    query = f"SELECT state FROM deliveries WHERE chat_id = {number}"  # noqa: S608 - a number
    await site.relay.until(query, ("delivered",), ("delivered",))


@pytest.mark.usefixtures("each_store")
async def test_the_first_start(tmp_path: Path, program: Browser) -> None:
    """Scenario 1: an empty console says what is missing, and shows an admin the hook's URL."""
    # 401: what a page asks for while its user signs out.
    async with (
        running_site(tmp_path, program) as site,
        open_tab(program, site.relay, ("401",)) as page,
    ):
        await sign_in(page)
        await expect(page.locator("h2")).to_have_text("No chat has come in yet")
        assert site.relay.hook_url not in await page.content()
        await page.click("text=Show the hook's URL")
        await expect(page.locator("code")).to_have_text(site.relay.hook_url)
        assert ("admin", "console", "show hook url", "", "") in acts(site.relay)
        async with page.expect_navigation():  # or the chat would be on the page, and no news
            await page.click("nav >> text=Chats")
        await post(site, 1, missed=True, visitor={"name": "Ana"})
        await look_for_news(page)
        await page.click("#news a")
        await page.click("text=Ana")
        await page.wait_for_selector("iframe.mail, .slack-post")
        assert "because the rule “Missed chats” matched" in (await page.text_content("main") or "")
        await page.click("text=Sign out")
        await page.wait_for_selector("#password")
        await page.go_back()
        await page.wait_for_selector("#password")


async def test_today(site: Site) -> None:
    """Scenario 2: new chats are counted and announced; what one reads does not move."""
    noon = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # a zone in which no day ends meanwhile
    admin = await signed_in(site.relay)
    await admin.submit("/me/choices", language="", zone=noon, theme="", keys="on")
    async with site.tab(visitor=admin) as page:
        await post(site, 200, visitor={"name": "Already there"})
        await page.goto("/chats")
        counts = await counted_today(page)
        row = page.locator("article", has_text="Already there")
        before = await row.bounding_box()
        await post(site, 201, missed=True)
        await post(site, 202, offline=True)
        await post(site, 203, rating=1)
        await post(site, 204)
        await look_for_news(page)
        await page.wait_for_selector("#news a:has-text('4 new chats')")
        assert await row.bounding_box() == before
        await page.click("#news a")
        await expect(page.locator("article.row")).to_have_count(await count(site))
        assert await counted_today(page) == [one + 1 for one in counts]
        await page.select_option("#kind", "missed")
        await page.click("button:has-text('Show')")
        await expect(page.locator("article.row")).to_have_count(counts[0] + 1)
        await expect(page.locator(".chip")).to_contain_text("Missed")
        await page.click(".chip")
        await expect(page.locator(".chip")).to_have_count(0)
    await admin.submit("/me/choices", language="", zone="", theme="", keys="on")


async def looked(page: Page) -> None:
    """Once the page has looked for news, and shows what it wants to show of them."""
    script = """() => new Promise((done) => {
      document.addEventListener("htmx:afterRequest", ({ detail }) => detail.elt.id === "news" && done());
      document.dispatchEvent(new Event("visibilitychange")); })"""
    await page.evaluate(script)


async def test_what_is_held_is_not_replaced_by_news(site: Site) -> None:
    """A click takes time, and so does copying of words: news that come meanwhile are shown afterwards."""
    async with site.tab() as page:
        await page.goto("/chats")
        await post(site, 220)
        await looked(page)
        link = page.locator("#news a")
        await expect(link).to_have_text("1 new chat – show")
        await link.focus()
        await post(site, 221)
        await looked(page)
        await expect(link).to_have_text("2 new chats – show")
        await expect(link).to_be_focused()
        await link.evaluate("(link) => getSelection().selectAllChildren(link)")
        await post(site, 222)
        await looked(page)
        assert await page.evaluate("`${getSelection()}`") == "2 new chats – show"
        await page.evaluate("getSelection().removeAllRanges()")
        await looked(page)
        await expect(link).to_have_text("3 new chats – show")
        await link.evaluate("(link) => { window.link = link }")
        await looked(page)
        assert await page.evaluate("window.link.isConnected"), "the same words are read aloud again"
        await link.hover()
        await page.mouse.down()
        await post(site, 223)
        await looked(page)
        async with page.expect_navigation():
            await page.mouse.up()
        await expect(page.locator("article.row").first).to_be_visible()
        await expect(link).to_have_count(0)


async def test_a_page_says_that_the_relay_does_not_answer(site: Site) -> None:
    """Whoever leaves a page open sees that it is out of date, until the relay answers again."""
    async with site.tab(may_say=("ERR_INTERNET_DISCONNECTED", "htmx:sendError")) as page:
        await page.goto("/chats")
        await looked(page)
        band = page.locator("#unreachable")
        await expect(band).to_be_hidden()
        await page.context.set_offline(True)
        await look_for_news(page)
        await expect(band).to_contain_text("The relay can't be reached.")
        await page.context.set_offline(False)
        await look_for_news(page)
        await expect(band).to_be_hidden()


async def counted_today(page: Page) -> list[int]:
    """Chats of today that were missed, came while all were offline, and were rated badly: others of this module count too."""
    head = " ".join((await page.text_content(".head") or "").split())
    kinds = ("missed", "offline messages?", "rated 2 or lower")
    found = [re.search(rf"(\d+) {words}", head) for words in kinds]
    return [int(each[1]) if each else 0 for each in found]


async def count(site: Site) -> int:
    ((chats,),) = site.relay.rows("SELECT count(*) FROM chats")
    return int(chats)


async def test_why_somebody_was_told(site: Site) -> None:
    """Scenario 3: each finding is as `relay explain` prints it, and the post as Slack got it."""
    number = await post(site, 301, missed=True, visitor={"name": "Cecilia"})
    await until_delivered(site, number)
    (posted,) = [one.json() for one in site.slack.requests if b"Cecilia" in one.body]
    explained = (await command(site.variables, "explain", "--chat", "208/301", "--json")).json
    findings = [one for rule in explained[0]["rules"] for one in rule["findings"]]
    assert len(findings) >= 3
    async with site.tab() as page:
        await page.goto(f"/chats/{number}")
        await page.click("summary:has-text('rules evaluated')")
        shown = await page.locator(".verdicts .findings li").all_inner_texts()
        words = [re.sub(r"^\W+", "", " ".join(one.split())) for one in shown]
        assert words == [f"{one['condition']}: {answer(one)}" for one in findings]
        await expect(page.locator("#sent")).to_have_text("What was sent")
        await page.click("section[aria-labelledby=sent] >> text=room")
        look = " ".join((await page.inner_text(".slack-post")).split())
        for text in said_in(posted["blocks"]):
            assert text in look


def answer(finding: Any) -> str:
    """Whether a condition holds, and what it saw."""
    return ", ".join(filter(None, ("yes" if finding["holds"] else "no", finding["saw"])))


def said_in(blocks: Any) -> list[str]:
    """The words of a Slack post without links and marks."""
    if isinstance(blocks, list):
        return [text for block in blocks for text in said_in(block)]
    if not isinstance(blocks, dict):
        return []
    if blocks.get("type") in {"text", "plain_text"}:
        return [
            line for line in (" ".join(one.split()) for one in blocks["text"].split("\n")) if line
        ]
    return [text for value in blocks.values() for text in said_in(value)]


async def test_why_nobody_was_told(site: Site) -> None:
    """Scenario 4: it is calm, and the nearest rule is named."""
    number = await post(site, 401, rating=4)
    async with site.tab() as page:
        await page.goto(f"/chats/{number}")
        why = page.locator("section[aria-labelledby=why]")
        await expect(why).to_contain_text("No rule matched.")
        await expect(why).to_contain_text("came nearest")
        await expect(why).to_have_attribute("class", re.compile(r"^card ?$"))


async def test_the_same_without_scripts(site: Site) -> None:
    """Scenario 28: sign in, filter, read a chat, send again and pause, with scripts turned off."""
    number = await post(site, 2801, missed=True, visitor={"name": "Scriptless"})
    await until_delivered(site, number)  # without scripts, a page goes on saying what was so
    async with open_tab(site.program, site.relay, java_script_enabled=False) as page:
        await sign_in(page)
        await page.select_option("#kind", "missed")
        await page.click("button:has-text('Show')")
        await page.click("text=Scriptless")
        await page.click("section[aria-labelledby=sent] >> text=desk")
        await expect(page.locator("h1 .tag")).to_have_text("delivered")
        sent = len(site.mail.mails)
        async with page.expect_navigation():
            await page.click("text=Send again")
        await site.mail.received(sent + 1)
        await page.click("nav >> text=Destinations")
        card = page.locator("article", has_text="room")
        await card.locator("summary:has-text('Pause')").click()
        await card.locator("input[name=because]").fill("tests")
        async with page.expect_navigation():
            await card.locator("button:has-text('Pause')").click()
        await shows(page, "/destinations", "admin: tests")
        async with page.expect_navigation():
            await page.click("button:has-text('Resume')")
        await site.relay.until("SELECT paused_by FROM gates WHERE paused_by <> ''")
        await page.click("text=Sign out")


async def test_long_words_widen_no_page(site: Site) -> None:
    """Scenario 6, its end: a word of 64,000 characters stays in its column on each screen."""
    word = "w" * 64_000
    said = {"type": "visitor", "name": word[:60], "content": word, "sentAt": 1763800000000}
    number = await post(site, 601, missed=True, messages=[said], visitor={"name": word[:200]})
    for width in (1280, 375):
        async with site.tab(viewport={"width": width, "height": 800}) as page:
            for path in ("/chats", f"/chats/{number}", "/deliveries"):
                await page.goto(path)
                assert await is_too_wide(page) == 0, (path, width)


async def test_a_chat_and_a_version_of_the_rules_are_printed_whole(site: Site) -> None:
    """Without what leads elsewhere, with what is folded, nothing cut off, and on white whatever look somebody has chosen."""
    number = await post(site, 5701, missed=True, visitor={"name": "Printed"})
    said = [
        {"type": "visitor", "content": f"Question {one}", "sentAt": 1763800000000 + one}
        for one in range(200)
    ]
    longer = await post(site, 5702, missed=True, messages=said)
    for one in (number, longer):
        await until_delivered(site, one)
    admin = await signed_in(site.relay)
    await admin.submit("/me/choices", language="", zone="", theme="dark", keys="on")
    async with site.tab(visitor=admin, viewport={"width": 480, "height": 800}) as page:
        for path, folded in ((f"/chats/{number}", ".verdicts .findings"), ("/rules/versions", "")):
            await page.goto(path)
            if not folded:
                async with page.expect_navigation():
                    await page.click(".entry a")
                await expect(page.locator("h1")).to_contain_text(re.compile("^Version "))
            await page.emulate_media(media="print")
            for left_out in ("header", ".tabs", ".acts", "main form"):
                for each in await page.locator(left_out).all():
                    await expect(each).to_be_hidden()
            if folded:
                seen = "(e) => e.checkVisibility({contentVisibilityAuto: true})"
                assert await page.locator(folded).first.evaluate(seen)
            assert await page.evaluate(CUT_OFF) == []
            white = "rgb(255, 255, 255)"
            await expect(page.locator(".card").first).to_have_css("background-color", white)
            await page.emulate_media(media="screen")
        for chat, is_long in ((number, False), (longer, True)):
            await page.goto(f"/chats/{chat}")
            frame = page.locator("iframe.mail").first
            await page.emulate_media(media="print")
            await expect(frame).to_be_visible(visible=not is_long)
            text = page.locator("iframe.mail + details pre").first
            await expect(text).to_be_visible()
            assert await text.evaluate("(e) => e.scrollHeight <= e.clientHeight + 1")
            assert not is_long or "Question 199" in await text.inner_text()
            await page.emulate_media(media="screen")
    await admin.submit("/me/choices", language="", zone="", theme="", keys="on")


CUT_OFF = """[...document.querySelectorAll("main *:not(.hidden-words, iframe)")].filter((e) =>
  getComputedStyle(e).overflowX !== "visible" && !e.closest(".hidden-words") && e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.outerHTML.slice(0, 90))"""
