"""The editor of the rules in Chromium: what is typed is checked, completed, kept and tried."""

import hashlib
import re
from urllib.parse import parse_qs

from playwright.async_api import Page, Response, expect

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.console.browsing import RULES, Site, in_browser, is_too_wide, press, until_at

pytestmark = in_browser
BROKEN = RULES.replace("at_most", "at_mots")
HASH = hashlib.sha256(RULES.encode()).hexdigest()


async def opened(site: Site, page: Page, path: str = "/rules/edit") -> None:
    """The editor, with no draft."""
    site.relay.change("DELETE FROM drafts")
    await page.goto(path)
    await expect(page.locator("#problems-state")).to_have_text("No problems")


async def write(page: Page, text: str) -> None:
    """In place of the whole text, as if it was pasted."""
    await page.locator(".cm-content").focus()
    await press(page, "Control+a")
    await page.keyboard.insert_text(text)


async def put_back(page: Page, text: str) -> None:
    """Takes the last change back. Returns when this text, which it leads to, was checked: what is told before is of another."""

    def is_of_it(answer: Response) -> bool:
        sent = parse_qs(answer.request.post_data or "")
        return answer.url.endswith("/rules/check") and sent["text"] == [text]

    async with page.expect_response(is_of_it):
        await press(page, "Control+z")
    await expect(page.locator("#problems-state")).to_have_text("No problems")


def file_of(site: Site) -> str:
    return (site.relay.folder / "rules.yaml").read_text("utf-8")


async def test_a_mistake_is_marked_told_and_put_right(site: Site) -> None:
    """Scenario 9: the words of `relay check` on line and column, and nothing is published meanwhile."""
    path = site.relay.folder / "broken.yaml"
    path.write_text(BROKEN, "utf-8")
    checked = await command(site.variables, "check", path, "--json")
    (problem,) = checked.json["problems"]
    async with site.tab("editor") as page:
        await opened(site, page)
        await write(page, BROKEN)
        line = page.locator("#problem-list .problem")
        words = f"line {problem['line']}, column {problem['column']} {problem['what']}; {problem['hint']}"
        await expect(line).to_contain_text(words)
        await expect(page.locator(".cm-lintRange-error")).to_have_text("at_mots")
        publish = page.locator("button[value=publish]")
        await expect(publish).to_be_disabled()
        await expect(page.locator("#publish-state")).to_have_text(
            "It can be published when the problem is fixed."
        )
        await line.locator("a").click()
        await expect(page.locator(".cm-content")).to_be_focused()
        await page.locator("#problem-list button").click()
        await expect(page.locator("#problems-state")).to_have_text("No problems")
        await expect(publish).to_be_enabled()
        assert await page.input_value("#rules-text") == RULES
        assert file_of(site) == RULES


async def test_by_keyboard_rules_are_completed_published_and_left(site: Site) -> None:
    """Scenario 26: no mouse from the text to the rules in force."""
    async with site.tab("editor") as page:
        await opened(site, page)
        await page.locator(".cm-content").focus()
        await press(page, "Control+End")
        await page.keyboard.type("  - name: Long waits\n")
        await press(page, "Control+Space")  # nothing is begun: all that may stand there
        await expect(page.locator(".cm-completionLabel").first).to_be_visible()
        await press(page, "Escape")
        await expect(page.locator(".cm-completionLabel")).to_have_count(0)
        for begun, chosen in (("wh", "when"), ("first_r", "first_response")):
            await page.keyboard.type(begun if chosen == "when" else "{" + begun)
            await expect(page.locator(".cm-completionLabel").first).to_have_text(chosen)
            await press(page, "Enter")
        await page.keyboard.type("{more_t")
        await expect(page.locator(".cm-completionLabel").first).to_have_text("more_than")
        await press(page, "Enter")
        await page.keyboard.type("2m")
        await press(page, "End")
        await page.keyboard.type("\nsend_to: de")
        await expect(page.locator(".cm-completionLabel").first).to_have_text("desk")
        await press(page, "Enter")
        await expect(page.locator("#problems-state")).to_have_text("No problems")
        added = (
            "  - name: Long waits\n    when: {first_response: {more_than: 2m}}\n    send_to: desk"
        )
        assert await page.input_value("#rules-text") == RULES + added
        await press(page, "Tab")
        await expect(page.locator(".cm-content")).to_be_focused()
        await put_back(page, RULES + added)
        await press(page, "Escape")
        await press(page, "Tab")
        await expect(page.locator("button[value=check]")).to_be_focused()
        await expect(page.locator("button[value=publish]")).to_be_enabled()
        await page.locator("#message").focus()
        await press(page, "Tab")
        await expect(page.locator("button[value=publish]")).to_be_focused()
        await press(page, "Enter")
        await until_at(page, r"/rules\?done=publish")
        assert file_of(site) == RULES + added
        (site.relay.folder / "rules.yaml").write_text(RULES, "utf-8")
        await site.relay.until("SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1", (HASH,))


async def test_a_draft_is_kept_and_outlives_the_session(site: Site) -> None:
    """Scenario 22: who is signed out while they type goes on where they were."""
    async with site.tab("editor", may_say=("401 (Unauthorized)",)) as page:
        await opened(site, page)
        await write(page, RULES.replace("at_most: 2", "at_most: 1"))
        await press(page, "Control+s")
        await expect(page.locator("#draft-state")).to_contain_text("Draft kept at")
        await page.reload()
        assert "at_most: 1" in await page.input_value("#rules-text")
        await page.locator(".cm-line", has_text="Missed chats").click()
        await press(page, "End")
        # At once, and before the session ends: else the page might leave in the middle of the words.
        await page.keyboard.insert_text(" of all")
        site.relay.change("DELETE FROM sessions")
        await until_at(page, r"/login\?next=/rules/edit$")
        site.relay.change("UPDATE users SET role = 'editor' WHERE name = 'admin'")
        await page.fill("#name", "admin")
        await page.fill("#password", "a password for tests")
        await press(page, "Enter")
        await expect(page.locator(".cm-activeLine")).to_have_text("  - name: Missed chats of all")
        await expect(page.locator("#problems-state")).to_have_text("No problems")
        assert await page.evaluate("sessionStorage.getItem('relay.unsaved')") is None


async def test_rules_are_tried_on_the_past(site: Site) -> None:
    """Scenario 15: the numbers of `relay backtest`."""
    for number in range(1, 40):
        await site.relay.post(a_hook(number, rating=number % 5 + 1))
    draft = RULES.replace("at_most: 2", "at_most: 3")
    (site.relay.folder / "new.yaml").write_text(draft, "utf-8")
    new = site.relay.folder / "new.yaml"
    expected = (await command(site.variables, "backtest", new, "--json")).json
    async with site.tab("editor") as page:
        await opened(site, page)
        await write(page, draft)
        await page.click("#try summary")
        await page.select_option("#try-period", "all")
        await page.click("text=Try on the past")
        result = page.locator("#try-result")
        await expect(result.locator(".job-state")).to_have_text("Done.")
        await expect(result).to_contain_text(
            f"{expected['chats']} chats. Rules in force: {expected['told_before']} sent to somebody. "
            f"These rules: {expected['told_after']}."
        )
        rows = [
            [await cell.inner_text() for cell in await row.locator("td").all()]
            for row in await result.locator("tbody tr").all()
        ]
        assert rows == [
            [
                str(rule["before"]),
                str(rule["after"]),
                *(str(len(rule[kind])) for kind in ("added", "dropped", "redirected")),
            ]
            for rule in expected["rules"]
        ]


async def test_a_preview_follows_what_is_typed(site: Site) -> None:
    """Scenario 16, for rules: what would be sent, side by side, and again with each change."""
    await site.relay.post(a_hook(900, missed=True, visitor={"name": "Marta Nowak"}))
    async with site.tab("editor") as page:
        await opened(site, page, "/rules/edit?chat=208/900")
        await page.click("text=Try this chat")
        result = page.locator("#try-result")
        await expect(result.locator(".look.slack")).to_have_count(1)
        await expect(page.frame_locator("#try-result iframe.mail").locator("body")).to_contain_text(
            "Marta Nowak"
        )
        await write(page, RULES.replace("send_to: [desk, room]", "send_to: room"))
        await expect(result.locator("iframe.mail")).to_have_count(0)
        await expect(result.locator("tr.changed")).to_contain_text("sends to desk, room")
        await write(page, BROKEN)
        await expect(result).to_contain_text("Fix them first")


async def test_a_phone_keeps_the_text_area(site: Site) -> None:
    """Scenario 27: checked all the same, and put right by touch."""
    async with site.tab("editor", viewport={"width": 375, "height": 800}, has_touch=True) as page:
        await opened(site, page)
        await expect(page.locator(".editor")).to_have_count(0)
        await page.fill("#rules-text", BROKEN)
        await page.tap("#problem-list button")
        await expect(page.locator("#problems-state")).to_have_text("No problems")
        assert await page.input_value("#rules-text") == RULES
        assert await is_too_wide(page) <= 0


async def test_the_editor_follows_the_look_of_the_page(site: Site) -> None:
    """Its styles are taken by the policy, in light and dark: it has colours of its own."""
    grounds = set()
    for look in ("light", "dark"):
        async with site.tab("editor", color_scheme=look) as page:
            await opened(site, page)
            ground = "getComputedStyle(document.querySelector('.editor').shadowRoot.querySelector('.cm-editor')).backgroundColor"
            grounds.add(await page.evaluate(ground))
    assert len(grounds) == 2
    assert not any(re.search(r", 0\)$", each) for each in grounds)


async def test_a_preview_of_wording_follows_what_is_typed(site: Site) -> None:
    """Scenario 16, for wording: a Czech sentence as it would arrive in a mail, in Slack and in Teams."""
    async with site.tab("editor") as page:
        await page.goto("/wordings?language=cs&q=bez%20odpov")
        await page.click(".sentences a:has-text('Zmeškaný chat: {who}')")
        shown = page.locator("#preview .preview")
        await expect(shown).to_have_count(3)
        await page.wait_for_load_state()  # and its scripts listen
        words = await page.input_value("#said-0")
        await page.fill("#said-0", words.replace("Zmeškaný", "Propásnutý"))
        for name in ("Mail", "Slack", "Teams"):
            arrives = shown.filter(has=page.locator(f"h3:has-text('{name}')"))
            await expect(arrives).to_contain_text("Propásnutý")
