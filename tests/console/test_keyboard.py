"""The console by keys alone, in Chromium."""

from playwright.async_api import Page, expect

from tests.builders import a_hook
from tests.console.browsing import Site, in_browser, press, until_at
from tests.console.visiting import PASSWORD

pytestmark = in_browser


async def focused(page: Page) -> str:
    """The text of what has the focus, which must be seen."""
    script = """() => { const e = document.activeElement, s = getComputedStyle(e), r = e.closest(".row");
      const outlined = (x) => x && getComputedStyle(x).outlineStyle !== "none";
      return outlined(e) || outlined(r) ? e.innerText || e.value || e.name : ""; }"""
    return str(await page.evaluate(script))


async def test_a_chat_is_found_read_and_sent_again_by_keys(site: Site) -> None:
    """Scenario 26: from the sign-in on, no mouse; the focus is always seen."""
    site.mail.at("rcpt", "550 5.1.1 user unknown")
    for chat, name in ((2601, "Keyboard One"), (2602, "Keyboard Two")):
        await site.relay.post(a_hook(chat, missed=True, visitor={"name": name}))
    await site.relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (1,))
    async with site.tab() as page:
        await page.context.clear_cookies()
        await page.goto("/login")
        await expect(page.locator("#name")).to_be_focused()
        await page.keyboard.type("admin")
        await press(page, "Tab")
        await page.keyboard.type(PASSWORD)
        await press(page, "Enter")
        await until_at(page, "/chats$")
        await press(page, "/")
        await page.keyboard.type("keyboard")
        await press(page, "Enter")
        await until_at(page, r"/chats\?q=keyboard")
        await press(page, "j")
        assert await focused(page) == "Keyboard Two"
        await press(page, "j")
        assert await focused(page) == "Keyboard One"
        await press(page, "j")
        assert await focused(page) == "Keyboard One"  # the last
        await press(page, "k", "Enter")
        await page.wait_for_selector("text=because the rule “Missed chats”")
        await press(page, "u")
        await until_at(page, "/chats$")
        await press(page, "g", "d")
        await until_at(page, "/deliveries$")
        await press(page, "?")
        await until_at(page, "/help/keys$")
        await expect(page.locator("kbd").first).to_have_text("g")
        ((number,),) = site.relay.rows("SELECT id FROM deliveries WHERE state = 'failed'")
        await page.goto(f"/deliveries/{number}")
        await page.wait_for_function("window.htmx")
        while await focused(page) != "Send again":
            await press(page, "Tab")
        await press(page, "Enter")
        query = f"SELECT state FROM deliveries WHERE id = {number}"  # noqa: S608 - a number
        await site.relay.until(query, ("delivered",))


async def test_keys_are_left_alone_in_fields_and_where_they_are_turned_off(site: Site) -> None:
    async with site.tab("viewer") as page:
        await page.goto("/chats?kind=missed")
        await press(page, "/")
        await page.keyboard.type("gd?jk")
        assert await page.input_value("#q") == "gd?jk"
        await press(page, "Escape", "Escape")
        await until_at(page, "/chats$")
        await page.goto("/me")
        await page.uncheck("input[name=keys]")
        await page.click("button:has-text('Save')")
        await until_at(page, r"/me\?chosen=1$")
        await press(page, "g", "d", "?")
        await press(page, "Tab")
        assert page.url.endswith("/me?chosen=1")
        await page.check("input[name=keys]")
        await page.click("button:has-text('Save')")
        await page.wait_for_selector("html:not([data-keys])")
