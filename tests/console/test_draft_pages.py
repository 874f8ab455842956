"""Rules that are being written: checked, kept, and tried, without anything being published or sent."""

import hashlib
import html
import json
import re
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import RULES, RunningRelay, running_relay

PARTIAL = {"hx-request": "true"}
BROKEN = RULES.replace("{missed: true}", "{rating: {at_mots: 2}}")
BASE = hashlib.sha256(RULES.encode()).hexdigest()
CASES = """\
cases:
  - name: who was missed is told of
    chat: {missed: true}
    expect: {Missed chats: [desk, room]}
  - name: nobody rated badly is told of
    chat: {rating: 1}
    expect: nothing
"""
in_one_loop = pytest.mark.asyncio(loop_scope="module")


async def part(visitor: Visitor, path: str, text: str, **form: str) -> str:
    """The answer to a form that a script sends; browsers end lines by CR LF."""
    token, typed = await visitor.token(), text.replace("\n", "\r\n")
    got = await visitor.post(path, PARTIAL, token=token, text=typed, base=BASE, **form)
    assert got.status == 200, got.text
    return got.text


def words_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@in_one_loop
async def test_a_problem_is_told_with_its_place_and_what_puts_it_right(relay: RunningRelay) -> None:
    found = await part(await signed_in(relay, "editor"), "/rules/check", BROKEN)
    assert "unknown operator 'at_mots'; did you mean at_most?" in words_of(found)
    assert 'data-errors="1"' in found
    assert 'data-line="6" data-column="21" data-length="7"' in found
    assert '<button type="button" class="second" data-text="at_most"' in found
    assert "It can be published when the problem is fixed." in found


@in_one_loop
async def test_nothing_is_wrong_with_the_rules_in_force(relay: RunningRelay) -> None:
    found = await part(await signed_in(relay, "editor"), "/rules/check", RULES)
    assert 'data-errors="0"' in found


@in_one_loop
async def test_an_editor_hears_at_once_what_only_an_admin_may_change(relay: RunningRelay) -> None:
    text = RULES.replace("desk@example.com", "me@example.org")
    found = await part(await signed_in(relay, "editor"), "/rules/check", text)
    assert "can only be changed by an admin" in found
    assert 'data-errors="1"' in found
    found = await part(await signed_in(relay, "admin"), "/rules/check", text)
    assert 'data-errors="0"' in found


@in_one_loop
async def test_hostile_text_is_shown_as_text(relay: RunningRelay) -> None:
    text = RULES.replace("missed: true", "'<img src=x onerror=alert(1)>': true")
    found = await part(await signed_in(relay, "editor"), "/rules/check", text)
    assert "<img" not in found
    assert "<img src=x onerror=alert(1)>" in words_of(found)


@in_one_loop
async def test_a_draft_is_kept_and_the_file_is_left_alone(relay: RunningRelay) -> None:
    editor = await signed_in(relay, "editor")
    found = await part(editor, "/rules/draft", BROKEN)
    assert "Draft kept at" in found
    assert relay.rows("SELECT base_hash FROM drafts") == [(BASE,)]
    assert (relay.folder / "rules.yaml").read_text("utf-8") == RULES
    await part(editor, "/rules/draft", RULES)
    assert relay.rows("SELECT base_hash FROM drafts") == []


@in_one_loop
async def test_a_draft_that_takes_the_place_of_another_tabs_says_so(relay: RunningRelay) -> None:
    editor, words = await signed_in(relay, "editor"), "another tab"
    marked = r'name="kept" id="draft-mark" value="(\w*)"'
    (opened,) = re.findall(marked, (await editor.get("/rules/edit")).text)

    async def keep(text: str, mark: str) -> tuple[bool, str]:
        got = await part(editor, "/rules/draft", text, kept=mark)
        return words in got, re.findall(marked, got)[0]

    is_told, first = await keep(f"{RULES}# one\n", opened)
    assert not is_told
    is_told, first = await keep(f"{RULES}# one, on\n", first)
    assert not is_told
    is_told, second = await keep(f"{RULES}# two\n", opened)
    assert is_told
    assert await keep(f"{RULES}# two, on\n", second) == (False, await mark_of(editor))
    is_told, first = await keep(f"{RULES}# one, on\n", first)
    assert is_told
    assert (await keep(RULES, first)) == (False, "")


async def mark_of(editor: Visitor) -> str:
    """The mark of the draft as a new tab shows it."""
    (mark,) = re.findall(r'id="draft-mark" value="(\w*)"', (await editor.get("/rules/edit")).text)
    return str(mark)


@in_one_loop
async def test_the_schema_knows_the_templates(relay: RunningRelay) -> None:
    got = await (await signed_in(relay, "editor")).get("/rules/schema.json")
    rule = json.loads(got.text)["properties"]["rules"]["items"]["properties"]
    assert "missed" in rule["template"]["anyOf"][0]["enum"]


@in_one_loop
async def test_a_draft_is_tried_on_a_chat(relay: RunningRelay) -> None:
    editor = await signed_in(relay, "editor")
    await relay.post(a_hook(7, missed=True, visitor={"name": "Ana"}))
    text = RULES.replace("[desk, room]", "desk").replace("Missed chats", "Missed")
    found = await part(editor, "/rules/try/chat", text, chat="208/7")
    words = words_of(found)
    assert "Missed changed not there ✓ sends to desk" in words
    assert "Missed chats changed ✓ sends to desk, room not there" in words
    (frame,) = re.findall(r'<iframe class="mail" src="(/previews/[^"]+)" sandbox=""', found)
    mail = await editor.get(frame)
    assert "Ana" in mail.text
    assert "sandbox" in mail.headers["content-security-policy"]
    stranger = await signed_in(relay, "editor")
    assert (await stranger.get(frame)).status == 404


@in_one_loop
async def test_a_preview_is_gone_with_its_chat(relay: RunningRelay) -> None:
    editor = await signed_in(relay, "editor")
    await relay.post(a_hook(8, missed=True))
    found = await part(editor, "/rules/try/chat", RULES, chat="208/8")
    (frame,) = re.findall(r'src="(/previews/[^"]+)"', found)
    relay.change("DELETE FROM hook_bodies")
    assert (await editor.get(frame)).status == 404


@in_one_loop
@pytest.mark.parametrize("name", ["", "208/none", "x", "9" * 30, "-1", "relay/1"])
async def test_a_chat_that_is_not_there_is_said_so(relay: RunningRelay, name: str) -> None:
    found = await part(await signed_in(relay, "editor"), "/rules/try/chat", RULES, chat=name)
    assert "There is no chat" in found


@in_one_loop
async def test_the_cases_of_the_test_file_are_run(relay: RunningRelay) -> None:
    editor = await signed_in(relay, "editor")
    assert "There is no test file" in await part(editor, "/rules/try/cases", RULES)
    path = relay.folder / "rules.test.yaml"
    path.write_text(CASES, "utf-8")
    try:
        assert "All 2 cases are as expected." in await part(editor, "/rules/try/cases", RULES)
        text = RULES.replace("missed: true", "rating: 1")
        found = words_of(await part(editor, "/rules/try/cases", text))
        assert "2 of 2 cases are not as expected." in found
        assert "not expected: Missed chats" in found
    finally:
        path.unlink()


@in_one_loop
@pytest.mark.parametrize("what", ["chat", "cases", "past"])
async def test_broken_rules_are_not_tried(relay: RunningRelay, what: str) -> None:
    await relay.post(a_hook(9))
    found = await part(await signed_in(relay, "editor"), f"/rules/try/{what}", BROKEN, chat="208/9")
    assert "Fix them first" in found


@in_one_loop
async def test_without_scripts_a_try_is_a_page_and_the_draft_is_kept(relay: RunningRelay) -> None:
    editor = await signed_in(relay, "editor")
    await relay.post(a_hook(10, missed=True))
    text = RULES.replace("[desk, room]", "desk")
    got = await editor.submit("/rules/try/chat", text=text, base=BASE, chat="208/10")
    assert "<html" in got.text
    assert "sends to desk" in got.text
    assert relay.rows("SELECT base_hash FROM drafts") == [(BASE,)]
    got = await editor.submit("/rules/try/past", text=text, base=BASE, period="all")
    assert got.place.startswith("/jobs/")
    page = (await editor.get(got.place)).text
    stranger = await signed_in(relay, "editor")
    assert (await stranger.get(got.place)).status == 404
    while "Done." not in page:
        assert f'<a href="{got.place}">Refresh</a>' in page
        page = (await editor.get(got.place)).text
    assert re.search(r"Missed chats</bdi></th><td>(\d+)</td><td>\1</td>", page)
    await editor.submit("/rules/draft", text=RULES, base=BASE)
    stopped = await editor.submit(f"{got.place}/stop")
    assert (stopped.status, stopped.place) == (303, got.place)
    assert (await stranger.submit(f"{got.place}/stop")).status == 404


async def test_a_template_that_never_ends_says_so_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "missed"
    folder.mkdir(parents=True)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (folder / "summary.txt").write_text(endless, "utf-8")
    async with running_relay(
        tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, RELAY_TEMPLATES=str(folder.parent)
    ) as relay:
        editor = await signed_in(relay, "editor")
        await relay.post(a_hook(1))
        text = RULES.replace("when: {missed: true}", "when: always").replace("[desk, room]", "desk")
        found = words_of(await part(editor, "/rules/try/chat", text, chat="208/1"))
        assert re.search(r"missed.*(took|ended|long|range)", found), found
