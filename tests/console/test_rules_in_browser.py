"""The rules in Chromium: then and now, a switch, two editors, and a file that others save or that nobody may change."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from threading import Timer

import pytest_asyncio
from playwright.async_api import Page, expect

from tests.builders import a_hook
from tests.console.browsing import Site, in_browser, look_for_news, shows, until_at
from tests.console.test_rules_pages import FILE, hash_of, is_seen
from tests.console.visiting import invited, signed_in
from tests.test_publish_rules import save

pytestmark = in_browser
NEWEST = "SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1"


def path_of(site: Site) -> Path:
    return site.relay.folder / "rules.yaml"


async def saved(site: Site, text: str) -> None:
    """A text saved by other means, once the relay has seen it. Before, it has seen the one that was there."""
    await is_seen(site.relay)
    path_of(site).write_text(text, "utf-8")
    await site.relay.until(NEWEST, (hash_of(text),))
    await is_seen(site.relay)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def own_rules(site: Site) -> AsyncIterator[None]:
    """Rules that are FILE, and no drafts."""
    site.relay.change("DELETE FROM drafts")
    await saved(site, FILE)
    yield
    path_of(site).chmod(0o644)


async def edits(page: Page, old: str, new: str) -> None:
    """The editor, with `new` in the place of `old`, when it was checked."""
    await page.goto("/rules/edit")
    await expect(page.locator("#problems-state")).to_have_text("No problems")
    text = await page.input_value("#rules-text")
    assert old in text
    await page.locator(".cm-content").focus()
    await page.keyboard.press("Control+a")
    await page.keyboard.insert_text(text.replace(old, new))
    await expect(page.locator("#rules-text")).to_have_value(text.replace(old, new))


async def test_the_rules_of_that_day_are_shown_beside_those_in_force(site: Site) -> None:
    """Scenario 5: the verdicts of then, what differs today, and the version of then."""
    assert (await site.relay.post(a_hook(501, rating=2, visitor={"name": "Vera"}))).status == 202
    await saved(site, FILE.replace("at_most: 2", "at_most: 1"))
    async with site.tab("viewer") as page:
        await page.goto("/chats")
        await page.click("text=Vera")
        await expect(page.locator("#told")).to_contain_text("because the rule “Bad ratings”")
        await page.click("summary:has-text('rules evaluated')")
        then = page.locator(".verdicts > li", has_text="Bad ratings")
        await expect(then).to_contain_text("rated 2 or lower: yes, it was 2")
        await page.click("text=Compare with today's rules")
        row = page.locator("tr", has_text="Bad ratings")
        await expect(row).to_contain_text("differs")
        await expect(row.locator("td").nth(0)).to_contain_text("rated 2 or lower: yes, it was 2")
        await expect(row.locator("td").nth(1)).to_contain_text("rated 1 or lower: no, it was 2")
        await expect(page.locator("tr", has_text="Missed chats")).not_to_contain_text("differs")
        await page.click(f"text={hash_of(FILE)[:8]}")
        assert await page.inner_text("pre.excerpt") == FILE


async def test_a_switch_changes_one_line_and_undo_takes_it_back(site: Site) -> None:
    """Scenario 11: comments and alignment stay, the page says by whom, and a chat that comes then is judged so."""
    before = site.relay.folder / "before.yaml"
    before.write_text(FILE, "utf-8")
    async with site.tab("editor") as page:
        await page.goto("/rules")
        async with page.expect_navigation():
            await page.click("[role=switch][aria-label='Rule Missed chats']")
        await expect(page.locator("[role=status]")).to_have_text("Published, and in force.")
        await expect(page.locator(".head")).to_contain_text("by admin")
        numstat = ["git", "diff", "--no-index", "--numstat", str(before), str(path_of(site))]
        changed = subprocess.run(numstat, capture_output=True, text=True, check=False).stdout
        assert changed.split()[:2] == ["1", "0"]
        assert (await site.relay.post(a_hook(1101, missed=True))).status == 202
        async with page.expect_navigation():
            await page.click("text=Undo the last change")
        await expect(page.locator("[role=status]")).to_contain_text("The previous text is back")
        assert path_of(site).read_text("utf-8") == FILE
        assert (await site.relay.post(a_hook(1102, missed=True))).status == 202
    sent = "SELECT DISTINCT chat FROM deliveries JOIN chats ON chat_id = chats.id WHERE chat LIKE '110_'"
    assert site.relay.rows(sent) == [("1102",)]


async def test_of_two_editors_neither_loses_anything(site: Site) -> None:
    """Scenario 12: the second sees that the file has changed, types on, and is shown both changes before anything is published."""
    petr = await invited(await signed_in(site.relay), "petr", "editor")
    async with site.tab(may_say=("409",)) as anna, site.tab(visitor=petr) as other:
        await edits(anna, "at_most: 2", "at_most: 1")
        await anna.keyboard.press("Control+s")
        await expect(anna.locator("#draft-state")).to_contain_text("Draft kept at")
        await edits(other, "template: missed", "template: chat")
        await expect(other.locator("#rules-news")).to_contain_text("admin is editing too")
        await other.click("button[value=publish]")
        await until_at(other, r"/rules\?done=publish")
        theirs = path_of(site).read_text("utf-8")
        await look_for_news(anna)
        await expect(anna.locator("#rules-news")).to_contain_text("by petr")
        await anna.keyboard.type("# mine")
        await expect(anna.locator("#rules-text")).to_have_value(re.compile("# mine$"))
        typed = await anna.input_value("#rules-text")
        await anna.click("button[value=publish]")
        await expect(anna.locator("h1")).to_have_text("The file was changed meanwhile")
        assert path_of(site).read_text("utf-8") == theirs
        await expect(anna.locator("#theirs ~ .changes")).to_contain_text("template chat")
        await expect(anna.locator("#mine ~ .changes")).to_contain_text("rated 1 or lower")
        assert await anna.input_value("#rules-text") == typed
        await anna.click("text=Put my changes on top of theirs")
        await expect(anna.locator("#problems-state")).to_have_text("No problems")
        await anna.click("button[value=publish]")
        await until_at(anna, r"/rules\?done=publish")
        both = FILE.replace("at_most: 2", "at_most: 1").replace(
            "template: missed", "template: chat"
        )
        assert path_of(site).read_text("utf-8") == f"{both}# mine"
        await anna.click("nav >> text=Versions")
        await expect(anna.locator(".entry").nth(1)).to_contain_text("by petr")


async def test_what_another_program_saves_while_one_publishes_is_never_lost(site: Site) -> None:
    """Scenario 13: the file is never half, and each text that was ever complete in it is a version."""
    chance, path, complete = Random(13), path_of(site), {FILE}  # noqa: S311 - a test
    async with site.tab(may_say=("409",), java_script_enabled=False) as page:
        for number in range(12):
            mine, theirs = (f"{FILE}# {whose} {number}\n" for whose in ("my", "their"))
            await page.goto("/rules/edit")
            await page.fill("#rules-text", mine)
            other = Timer(chance.random() / 5, save, (path, theirs, bool(number % 2)))
            other.start()
            async with page.expect_navigation():
                await page.click("button[value=publish]")
            await asyncio.to_thread(other.join)
            assert path.read_text("utf-8") in {mine, theirs}
            complete |= {theirs, mine} if "done=publish" in page.url else {theirs}
            if "done=publish" not in page.url:
                await expect(page.locator("h1")).to_have_text("The file was changed meanwhile")
                site.relay.change("DELETE FROM drafts")
            # What another text replaces before the relay has looked was never there for it.
            await site.relay.until(NEWEST, (hash_of(path.read_text("utf-8")),))
    versions = {each for (each,) in site.relay.rows("SELECT hash FROM rules_versions")}
    assert {hash_of(text) for text in complete} <= versions


async def test_a_file_that_was_saved_broken_is_told_of_on_open_pages(site: Site) -> None:
    """Scenario 10: a band on pages that are open, the rules before it in force, and the broken text in the editor."""
    broken = FILE.replace("missed: true", "mised: true")
    async with site.tab("editor") as page:
        await page.goto("/destinations")
        await expect(page.locator(".band")).to_have_count(0)
        await page.wait_for_function("window.htmx")
        await saved(site, broken)
        band = page.locator(".band")
        await look_for_news(page)
        await expect(band).to_contain_text("rules.yaml:8:")
        await expect(page).to_have_title(re.compile(r"^\(1!\) Destinations"))
        assert "trouble" in (await page.get_attribute("link[rel=icon]", "href") or "")
        # Once an alert is due for it, it is still one trouble.
        await shows(page, "/health", "The rules file can")
        await expect(page.locator("h1")).to_have_text(
            "Hooks are accepted; 1 thing needs attention."
        )
        await band.locator("text=Look at the rules").click()
        await expect(page.locator("h1")).to_have_text("2 rules are in force")
        await expect(page.locator("#broken ~ .problems")).to_contain_text("rules.yaml:8:")
        assert (await site.relay.post(a_hook(1001, missed=True))).status == 202
        told = (
            "SELECT count(*) FROM deliveries JOIN chats ON chat_id = chats.id WHERE chat = '1001'"
        )
        assert site.relay.rows(told) == [(2,)]
        await page.click("main >> text=Edit the file >> nth=-1")
        assert await page.input_value("#rules-text") == broken
        await page.click("#problem-list button")
        await expect(page.locator("#problems-state")).to_have_text("No problems")
        await page.click("button[value=publish]")
        await until_at(page, r"/rules\?done=publish")
        assert path_of(site).read_text("utf-8") == FILE
        await expect(page.locator(".band")).to_have_count(0)
        await page.click("nav >> text=Destinations")
        await expect(page).to_have_title("Destinations · Relay")


async def test_a_file_that_can_not_be_changed_is_taken_away_as_a_patch(site: Site) -> None:
    """Scenario 14: the page says why and what to do; `git apply` makes the draft of the file."""
    path_of(site).chmod(0o444)
    async with site.tab("editor") as page:
        await edits(page, "at_most: 2", "at_most: 1")
        await expect(page.locator("#read-only")).to_contain_text("chown relay")
        await expect(page.locator("button[value=publish]")).to_have_count(0)
        await page.keyboard.press("Control+s")
        async with page.expect_download() as saving:
            await page.click("text=Save as a patch")
        patch = await (await saving.value).path()
        folder = site.relay.folder / "elsewhere"
        folder.mkdir()
        (folder / "rules.yaml").write_text(FILE, "utf-8")
        subprocess.run(["git", "apply", patch], cwd=folder, check=True)
        draft = FILE.replace("at_most: 2", "at_most: 1")
        assert (folder / "rules.yaml").read_text("utf-8") == draft
        assert path_of(site).read_text("utf-8") == FILE


async def test_an_editor_is_told_the_place_that_only_an_admin_may_change(site: Site) -> None:
    """Scenario 24, its end: at once while they type, and nothing is published."""
    async with site.tab("editor") as page:
        await edits(page, "desk@example.com", "me@example.com")
        problem = page.locator("#problem-list .problem")
        await expect(problem).to_contain_text(
            "line 3, column 23 `destinations.desk.email.to` can only be changed by an admin"
        )
        await expect(page.locator("button[value=publish]")).to_be_disabled()
        assert path_of(site).read_text("utf-8") == FILE
