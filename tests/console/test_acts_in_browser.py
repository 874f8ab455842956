"""What people do in the console, clicked in Chromium: what the servers get of it, and what the pages then say."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import expect

from relay.console.jobs import Jobs
from relay.services.resend import RESENT_AT_ONCE
from tests.builders import a_hook
from tests.console.browsing import Site, in_browser, shows
from tests.console.visiting import PASSWORD, acts
from tests.servers import HttpAnswer

pytestmark = in_browser


def of_chats(what: str, *chats: int, to: str, state: str = "") -> str:
    """The question for something of the deliveries of these chats; only those in a state."""
    names = ", ".join(f"'{chat}'" for chat in chats)
    some = f"SELECT id FROM chats WHERE chat IN ({names})"  # noqa: S608 - of these tests
    question = f"SELECT {what} FROM deliveries WHERE destination = '{to}' AND chat_id IN ({some})"  # noqa: S608
    return question + (f" AND state = '{state}'" if state else " ORDER BY id")


async def failed_delivery(site: Site, chat: int) -> int:
    """A mail that was refused; its number."""
    site.mail.at("rcpt", "550 5.1.1 user unknown")
    assert (await site.relay.post(a_hook(chat, missed=True))).status == 202
    for name, state in (("desk", "failed"), ("room", "delivered")):
        await site.relay.until(of_chats("state", chat, to=name), (state,))
    ((number,),) = site.relay.rows(of_chats("id", chat, to="desk"))
    return int(number)


async def test_a_mail_is_sent_again_by_two_clicks_once(site: Site) -> None:
    """Scenario 17."""
    number = await failed_delivery(site, 1701)
    before = len(site.mail.mails)
    async with site.tab("editor") as page:
        await page.goto(f"/deliveries/{number}")
        await expect(page.locator("h1 .tag")).to_have_text("failed")
        first = await page.inner_text("dd code")
        await page.dblclick("text=Send again")
        await site.relay.until(of_chats("state", 1701, to="desk"), ("delivered",))
        await shows(page, f"/deliveries/{number}", "delivered</span></h1>")
        assert await page.inner_text("dd code") != first
        assert len(site.mail.mails) == before + 1
        assert site.mail.mails[-1].message["Message-ID"] == f"<{await page.inner_text('dd code')}>"
        await expect(page.locator(".timeline li")).to_have_count(2)
    sent = [act for act in acts(site.relay) if act[2:4] == ("send again", str(number))]
    assert sent == [("admin", "console", "send again", str(number), "desk")]


def is_job(task: asyncio.Task[Any]) -> bool:
    """Whether it is that of a job: others are cancelled all the time, when their work is done."""
    return getattr(task.get_coro(), "__qualname__", "") == Jobs._run.__qualname__


async def test_of_many_that_failed_what_is_stopped_in_the_middle_is_left(site: Site) -> None:
    """Scenario 18: counted, confirmed by the count, watched and stopped; what is sent and what is left make the whole."""
    count, chats = 200, range(18_000, 18_200)
    mailed = len(site.mail.mails)
    site.may_go_on.clear()
    site.mail.at("rcpt", "550 5.1.1 user unknown", times=count)
    for chat in chats:
        assert (await site.relay.post(a_hook(chat, offline=True))).status == 202
    await site.relay.until(of_chats("count(*)", *chats, to="desk", state="failed"), (count,))
    async with site.tab("editor", may_say=("422",)) as page:
        await page.goto("/deliveries")
        group = page.locator(".card", has_text=f"{count} to desk")
        await expect(group).to_contain_text("550 5.1.1 user unknown")
        await group.locator("text=Send all again").click()
        await page.fill("#count", f"{count - 1}")
        await page.click("button:has-text('Send all again')")
        await expect(page.locator("[role=alert]")).to_contain_text("Nothing was sent.")
        await page.fill("#count", f"{count}")
        await page.click("button:has-text('Send all again')")
        await expect(page.locator("dl.facts dd").first).to_have_text(f"{RESENT_AT_ONCE}")
        # Before scripts listen, the answer is a page, and Playwright waits for it.
        pressing = asyncio.create_task(page.locator("text=Stop").click())
        while not any(is_job(task) and task.cancelling() for task in asyncio.all_tasks()):
            await site.relay.ask("GET", "/healthz")
        await site.relay.ask("GET", "/healthz")  # answered behind what cancelling has scheduled
        site.may_go_on.set()
        await pressing
        state = page.locator(".job-state")
        await expect(state).to_have_text(f"Stopped after {RESENT_AT_ONCE} of {count}.")
        await expect(page.locator("dl.facts dd").nth(1)).to_have_text(f"{count - RESENT_AT_ONCE}")
        await site.mail.received(mailed + RESENT_AT_ONCE)
        left = of_chats("count(*)", *chats, to="desk", state="failed")
        assert site.relay.rows(left) == [(count - RESENT_AT_ONCE,)]
        await page.click("main >> text=Deliveries")
        await expect(page.locator("main")).to_contain_text(f"{count - RESENT_AT_ONCE} to desk")
    assert ("admin", "console", "send all again", "desk", f"{count}") in acts(site.relay)


async def test_a_broken_destination_is_seen_and_tried_again(site: Site) -> None:
    """Scenario 19: the server's words, a sign of trouble on each page; mended, all that waited arrives once."""
    site.slack.usual = HttpAnswer(status=404, body="no_service")
    for chat in (1901, 1902, 1903):
        await site.relay.post(a_hook(chat, missed=True, visitor={"name": f"Broken {chat}"}))
    async with site.tab() as page:
        card = page.locator("article", has_text="room")
        await shows(page, "/destinations", "broken</span>")
        await expect(card.locator("h2")).to_contain_text(re.compile(r"broken since \d"))
        await expect(card).to_contain_text("no_service")
        await expect(card).to_contain_text("Then send a test to room, under “Destinations”.")
        await expect(page).to_have_title(re.compile(r"^\(\d+!\) "))
        icon = await page.get_attribute("link[rel=icon]", "href") or ""
        assert "trouble" in icon
        await shows(page, "/deliveries", "broken</span>")
        waiting = page.locator(".card", has=page.locator("h3", has_text="room"))
        await expect(waiting.locator("h3")).to_contain_text(re.compile(r"broken since \d"))
        ((number,),) = site.relay.rows(of_chats("id", 1901, to="room"))
        await page.goto(f"/deliveries/{number}")
        await expect(page.locator("#facts-card")).to_contain_text("as soon as room takes it")
        await page.click("nav >> text=Health")
        await expect(page.locator("main")).to_contain_text("room")
        site.slack.usual = HttpAnswer()
        before = len(site.slack.requests)
        await page.click("nav >> text=Destinations")
        async with page.expect_navigation():
            await card.locator("button:has-text('Try now')").click()
        for chat in (1901, 1902, 1903):
            await site.relay.until(of_chats("state", chat, to="room"), ("delivered",))
        arrived = [one.body.decode() for one in site.slack.requests[before:]]
        assert [
            sum(f"Broken {chat}" in body for body in arrived) for chat in (1901, 1902, 1903)
        ] == [1, 1, 1]
        await shows(page, "/destinations", 'room</bdi> <span class="tag good">')


async def test_a_pause_holds_what_comes(site: Site) -> None:
    """Scenario 20."""
    before = len(site.slack.requests)
    async with site.tab() as page:
        await page.goto("/destinations")
        card = page.locator("article", has_text="room")
        await card.locator("summary:has-text('Pause')").click()
        await card.locator("select[name=until]").select_option("morning")
        await card.locator("input[name=because]").fill("smtp move")
        async with page.expect_navigation():
            await card.locator("button:has-text('Pause')").click()
        await shows(page, "/destinations", "admin: smtp move")
        for chat in (2001, 2002):
            await site.relay.post(a_hook(chat, missed=True, visitor={"name": f"Paused {chat}"}))
        await site.relay.until(
            of_chats("state", 2001, 2002, to="desk"), ("delivered",), ("delivered",)
        )
        assert site.relay.rows(of_chats("state", 2001, 2002, to="room")) == [
            ("queued",),
            ("queued",),
        ]
        await shows(page, "/destinations", "2 deliveries wait")
        assert len(site.slack.requests) == before
        async with page.expect_navigation():
            await card.locator("button:has-text('Resume')").click()
        await site.relay.until(
            of_chats("state", 2001, 2002, to="room"), ("delivered",), ("delivered",)
        )
        bodies = [one.body.decode() for one in site.slack.requests[before:]]
        assert [sum(f"Paused {chat}" in one for one in bodies) for chat in (2001, 2002)] == [1, 1]


async def test_a_mute_says_who_and_why_and_ends_by_itself(site: Site) -> None:
    """Scenario 21: what it would have held back, whom it holds, and a band on each page until its end."""
    assert (await site.relay.post(a_hook(2100, missed=True))).status == 202
    await site.relay.until(of_chats("state", 2100, to="desk"), ("delivered",))
    async with site.tab("editor") as page:
        await page.goto("/mutes")
        await page.select_option("#rule", "Missed chats")
        await page.select_option("#until", "4h")
        await page.click("text=What would it have held back?")
        would_hold = page.locator("#would-hold")
        await expect(would_hold).to_contain_text("In the last 7 days it would have held back")
        await page.fill("#because", "stocktaking")
        async with page.expect_navigation():
            await page.click("button:has-text('Mute')")
        await expect(page.locator("h1")).to_have_text("1 mute holds notifications back")
        await shows(page, "/mutes", "is muted by admin until")  # and is in force
        await site.relay.post(a_hook(2101, missed=True, visitor={"name": "Muted 2101"}))
        await site.relay.until(of_chats("state", 2101, to="desk"), ("scheduled",))
        await page.click("nav >> text=Chats")
        await expect(page.locator(".band.held")).to_contain_text("is muted by admin until")
        await page.click("text=Muted 2101")
        await expect(page.locator("main")).to_contain_text("muted by admin until")
        await expect(page.locator("#why ~ p").first).to_contain_text("stocktaking")
        # In place of four hours: a server's clock is its own.
        site.relay.change("UPDATE mutes SET until_at = 1")
        site.relay.change("UPDATE deliveries SET due_at = 1 WHERE state = 'scheduled'")
        for name in ("desk", "room"):
            await site.relay.until(of_chats("state", 2101, to=name), ("delivered",))
        await page.goto("/mutes")
        await expect(page.locator("h1")).to_have_text("Nothing is muted.")
        await expect(page.locator(".band")).to_have_count(0)


async def test_an_erased_visitor_is_gone_from_every_page(site: Site) -> None:
    """Scenario 30: an export has what the page shows; after a typed word and the password nothing shows it again."""
    who = {"name": "Canary Bird", "email": "canary@example.com", "note": "Canary of the mine"}
    said = [{"type": "visitor", "content": "My canary sings", "sentAt": 1763800000000}]
    hook = a_hook(3001, missed=True, visitor=who, messages=said)
    assert (await site.relay.post(hook)).status == 202
    for name in ("desk", "room"):
        await site.relay.until(of_chats("state", 3001, to=name), ("delivered",))
    ((number,),) = site.relay.rows("SELECT id FROM chats WHERE chat = '3001'")
    async with site.tab(may_say=("404", "422")) as page:
        other = await page.context.new_page()
        await other.goto("/rules/edit?chat=208/3001")
        await expect(other.locator("#problems-state")).to_have_text("No problems")
        await other.click("text=Try this chat")
        preview = other.frame_locator("#try-result iframe.mail").locator("body")
        await expect(preview).to_contain_text("My canary sings")
        mail = await other.get_attribute("#try-result iframe.mail", "src") or ""
        await page.goto(f"/chats/{number}")
        texts = await page.locator(
            "h1 bdi, .bubble, #told strong, #visitor ~ .facts dd"
        ).all_inner_texts()
        assert {"My canary sings", "Canary Bird", "Canary of the mine"} <= {*texts}
        await page.click("summary:has-text('Export')")
        async with page.expect_download() as saving:
            await page.click("button:has-text('JSON')")
        kept = strings_in(json.loads(Path(await (await saving.value).path()).read_text("utf-8")))
        assert {text for text in texts if "anary" in text} | {"desk", "room"} <= kept
        site.relay.change("UPDATE sessions SET created_at = created_at - 700000")
        await page.click("text=Erase …")
        await page.fill("#typed", "208/3002")
        await page.fill("#password", PASSWORD)
        await page.click("button.danger")
        await expect(page.locator("[role=alert]")).to_contain_text("Nothing was erased.")
        await page.check("input[value=visitor]")
        await page.fill("#typed", "Canary@example.com")
        await page.fill("#password", PASSWORD)
        await page.click("button.danger")
        await expect(page.locator("h1")).to_have_text("It was erased.")
        await other.click("text=Try this chat")
        await expect(other.locator("#try-result")).to_contain_text("There is no chat")
        assert (await page.request.get(mail)).status == 404
        for path in ("/chats", "/chats?q=canary", "/deliveries", f"/chats/{number}", "/acts"):
            await page.goto(path)
            shown = await page.content()
            assert not [words for words in ("Canary", "canary@", "sings") if words in shown], path
        left = """(async () => JSON.stringify([{...localStorage}, {...sessionStorage}, await caches.keys(),
          (await indexedDB.databases()).map((each) => each.name)]))()"""
        assert await page.evaluate(left) == '[{},{"htmx-current-path-for-history":"/acts"},[],[]]'
    assert ("admin", "console", "erase", "208/3001", "visitor") in acts(site.relay)
    assert "anary" not in str(site.relay.rows("SELECT * FROM acts"))


def strings_in(value: object) -> set[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return {value}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for part in parts for text in strings_in(part)}
