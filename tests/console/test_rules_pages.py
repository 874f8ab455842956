"""The rules in the console: looked at, switched, edited by several people, published, undone, and never lost."""

import hashlib
import json
import re
import subprocess
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
import pytest_asyncio
from markupsafe import escape

from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import Got, Visitor, invited, signed_in
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")
FILE = """\
# Ours: aligned by hand
destinations:
  desk:  {email: {to: desk@example.com}}   # the desk
  room:  {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}

rules:
  - name: Missed chats        # first
    when: {missed: true}
    send_to: [desk, room]
    template: missed

  - {name: Bad ratings, when: {rating: {at_most: 2}}, send_to: desk}
"""


def hash_of(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def path_of(relay: RunningRelay) -> Path:
    return relay.folder / "rules.yaml"


@pytest_asyncio.fixture(loop_scope="module")
async def admin(relay: RunningRelay) -> AsyncIterator[Visitor]:
    """An admin, of a relay whose rules are FILE."""
    relay.change("DELETE FROM drafts")
    visitor = await signed_in(relay)
    await saved(visitor, FILE)
    relay.change("DELETE FROM acts")
    yield visitor
    path_of(relay).chmod(0o644)


async def is_seen(relay: RunningRelay) -> None:
    """The file as it is now is in force, or refused."""
    while True:
        rules = (await relay.ready())["rules"]
        if rules["problems_of_the_saved_file"] or rules["hash"] == hash_of(
            path_of(relay).read_bytes()
        ):
            return


async def saved(visitor: Visitor, text: str) -> None:
    """A text saved by other means, once the relay has seen it. Before, it has seen the one that was there."""
    await is_seen(visitor.relay)
    path_of(visitor.relay).write_text(text)
    await visitor.relay.until(
        "SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1", (hash_of(text),)
    )


def form_of(got: Got) -> dict[str, str]:
    """The editor's fields, as a browser would send them."""
    form = got.text[got.text.index('id="rules-text"') :]
    text = unescape(form[form.index(">") + 1 : form.index("</textarea>")]).removeprefix("\n")
    (base, *_) = re.findall(r'name="base" value="(\w+)"', got.text)
    return {"text": text.replace("\n", "\r\n"), "base": base}


async def edits(visitor: Visitor, act: str, old: str, new: str) -> Got:
    """Open the editor, put `new` in the place of `old`, and press a button."""
    form = form_of(await visitor.get("/rules/edit"))
    assert old.replace("\n", "\r\n") in form["text"]
    form["text"] = form["text"].replace(old.replace("\n", "\r\n"), new.replace("\n", "\r\n"))
    return await visitor.submit("/rules/edit", act=act, **form)


async def test_each_rule_is_shown_with_what_it_told(relay: RunningRelay, admin: Visitor) -> None:
    assert (await relay.post(a_hook(1, missed=True))).status == 202
    page = Read((await admin.get("/rules")).text)
    assert page.wrong == []
    assert "2 rules are in force" in page.text
    assert "outside the console" in page.text
    assert "/destinations#to-desk" in page.links
    for words in ("Missed chats", "missed", "desk", "rated 2 or lower"):
        assert words in page.text
    assert re.search(r"\d chats? in 30 days", page.text)


async def test_rules_destinations_and_the_editor_lead_to_each_other(admin: Visitor) -> None:
    page = Read((await admin.get("/destinations")).text)
    assert "desk@example.com" in page.text
    (one,) = {link for link in page.links if link == "/rule?name=Missed%20chats"}
    page = Read((await admin.get(one)).text)
    assert "/destinations#to-desk" in page.links
    (edit,) = [link for link in page.links if link.startswith("/rules/edit?")]
    page = Read((await admin.get(edit)).text)
    assert page.wrong == []
    line = 1 + FILE[: FILE.index("Missed chats")].count("\n")
    assert f"The rule “Missed chats”: Line {line}" in page.text


async def test_a_switch_changes_one_line_and_undo_brings_the_same_bytes(
    relay: RunningRelay, admin: Visitor
) -> None:
    for rule, line in (
        ("Missed chats", "    enabled: false\n"),
        ("Bad ratings", ", enabled: false"),
    ):
        form = {"rule": rule, "on": "no", "base": hash_of(path_of(relay).read_text())}
        for _ in range(2):  # a double click
            got = await admin.submit("/rules/switch", **form)
            assert (got.status, got.place) == (303, "/rules?done=switch")
        text = path_of(relay).read_text()
        assert text.replace(line, "", 1) == FILE
        page = (await admin.get("/rules?done=switch")).text
        assert "Published, and in force." in page
        assert "1 rule is in force, 1 is turned off" in page
        assert "by admin" in Read(page).text
        got = await admin.submit("/rules/undo", base=hash_of(text))
        assert got.place == "/rules?done=undo"
        assert path_of(relay).read_text() == FILE
    acts = relay.rows("SELECT act, subject FROM acts WHERE act LIKE '%rule%' ORDER BY id")
    old = hash_of(FILE)[:12]
    assert acts == [
        *(("turn off rule", "Missed chats"), ("undo rules", old)),
        *(("turn off rule", "Bad ratings"), ("undo rules", old)),
    ]


async def test_a_new_rule_is_written_without_yaml_and_published(
    relay: RunningRelay, admin: Visitor
) -> None:
    assert "/rules/new" in Read((await admin.get("/rules")).text).links
    page = Read((await admin.get("/rules/new")).text)
    assert page.wrong == []
    assert relay.rows("SELECT count(*) FROM drafts") == [(0,)]
    form = {"kind": "low_rating", "value-low_rating": "9", "name": "Zlé <b>", "to:room": "on"}
    for wrong, words in (
        ({}, "Enter a whole number from 1 to 5."),
        ({"kind": "missed", "name": "Bad ratings"}, "There is a rule of this name already."),
        ({"kind": "missed", "to:room": ""}, "Choose where to send."),
    ):
        asked = {name: value for name, value in {**form, **wrong}.items() if value}
        got = await admin.submit("/rules/new", **asked)
        page = Read(got.text)
        assert (got.status, page.wrong) == (422, [])
        assert words in page.text
        assert escape(asked["name"]) in got.text
    got = await admin.submit("/rules/new", **{**form, "value-low_rating": "1"})
    assert got.status == 303
    page = Read((await admin.get(got.place)).text)
    assert "The rule is added to your draft. Try it, then publish it." in page.text
    assert path_of(relay).read_text() == FILE
    await admin.submit("/rules/new", **{"kind": "vip", "value-vip": "VIP", "to:desk": "on"})
    form = form_of(await admin.get("/rules/edit"))
    got = await admin.submit("/rules/edit", act="publish", **form)
    assert got.place.startswith("/rules?done=publish")
    assert (
        path_of(relay).read_text()
        == f"""{FILE}
  # The visitor gave a low rating.
  - name: "Zlé <b>"
    when:
      rating: {{at_most: 1}}
    send_to: [room]
    template: low_rating

  # The agents' note on the visitor has a certain word.
  - name: VIP customers
    when:
      visitor.note: {{contains: VIP}}
    send_to: [desk]
    template: vip
"""
    )
    assert "4 rules are in force" in (await admin.get("/rules")).text
    await saved(admin, "rules: [")
    got = await admin.submit("/rules/new", **{"kind": "missed", "to:desk": "on"})
    assert (got.status, "No rule can be added to this text." in got.text) == (422, True)


async def test_what_is_edited_is_kept_checked_and_published(
    relay: RunningRelay, admin: Visitor
) -> None:
    assert relay.rows("SELECT count(*) FROM drafts") == [(0,)]
    got = await edits(admin, "check", "at_most: 2", "at_mots: 2")
    page = Read(got.text)
    assert page.wrong == []
    assert got.status == 200
    assert "Line 12, column" in page.text
    assert "did you mean" in page.text
    assert "#line-12" in page.links
    got = await admin.submit("/rules/edit", act="publish", **form_of(got))
    assert got.status == 422
    assert "the relay could not use these rules" in got.text
    assert path_of(relay).read_text() == FILE
    assert "at_mots" in (await admin.get("/rules/edit")).text  # the draft
    got = await edits(admin, "check", "at_mots: 2", "at_most: 3")
    assert "The relay can use this text." in got.text
    assert "rated 3 or lower" in Read(got.text).text
    got = await edits(admin, "publish", "at_most: 3", "at_most: 1")
    assert (got.status, got.place) == (303, "/rules?done=publish")
    assert path_of(relay).read_text() == FILE.replace("at_most: 2", "at_most: 1")
    assert relay.rows("SELECT count(*) FROM drafts") == [(0,)]


@pytest.mark.parametrize(
    "source",
    [
        FILE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + FILE.encode(),
        FILE.rstrip("\n").encode(),
        FILE.replace("\n", "\r\n", 4).encode(),
        b"\n\n" + FILE.encode(),
        (FILE + "\n\n").encode(),
    ],
)
async def test_lines_that_nobody_touched_keep_their_bytes(
    relay: RunningRelay, admin: Visitor, source: bytes
) -> None:
    path_of(relay).write_bytes(source)
    got = await admin.get("/rules/edit")
    form = form_of(got)
    assert "Discard the draft" not in got.text
    # Nothing is changed, so there is no draft.
    await admin.submit("/rules/edit", act="check", **form)
    assert relay.rows("SELECT count(*) FROM drafts") == [(0,)]
    form["text"] = form["text"].replace("at_most: 2", "at_most: 1")
    got = await admin.submit("/rules/edit", act="publish", **form)
    assert got.status == 303
    assert path_of(relay).read_bytes() == source.replace(b"at_most: 2", b"at_most: 1")


async def test_of_two_editors_the_second_is_shown_what_the_first_did(
    relay: RunningRelay, admin: Visitor
) -> None:
    petr = await invited(admin, "petr", "editor")
    got = await edits(admin, "check", "at_most: 2", "at_most: 1")
    mine = form_of(got)
    assert "admin is editing too" in (await petr.get("/rules/edit")).text
    assert (await edits(petr, "publish", "template: missed", "template: chat")).status == 303
    theirs = path_of(relay).read_text()
    news = (await admin.get(f"/rules/edit/news?base={mine['base']}")).text
    assert "by petr" in news
    got = await admin.submit("/rules/edit", act="publish", **mine)
    page = Read(got.text)
    assert got.status == 409
    assert page.wrong == []
    assert path_of(relay).read_text() == theirs
    for words in ("by petr", "template chat, before missed", "rated 1"):
        assert words in page.text
    got = await admin.submit("/rules/edit", act="merge", **mine)
    merged = form_of(got)
    assert merged["base"] == hash_of(theirs)
    assert (await admin.submit("/rules/edit", act="publish", **merged)).status == 303
    assert path_of(relay).read_text() == theirs.replace("at_most: 2", "at_most: 1")


async def test_those_who_change_the_same_line_choose(relay: RunningRelay, admin: Visitor) -> None:
    mine = form_of(await edits(admin, "check", "at_most: 2", "at_most: 1"))
    theirs = FILE.replace("at_most: 2", "at_most: 3")
    await saved(admin, theirs)
    got = await admin.submit("/rules/edit", act="publish", **mine)
    assert got.status == 409
    assert "Both changed the same lines" in got.text
    assert "outside the console" in Read(got.text).text
    after = {"text": mine["text"], "base": hash_of(theirs)}
    assert (await admin.submit("/rules/edit", act="publish", **after)).status == 303
    assert path_of(relay).read_text() == FILE.replace("at_most: 2", "at_most: 1")
    versions = relay.rows("SELECT hash FROM rules_versions")
    assert (hash_of(theirs),) in versions
    got = await admin.submit("/rules/undo", base=hash_of(path_of(relay).read_text()))
    assert path_of(relay).read_text() == theirs


async def test_an_editor_is_told_the_place_that_only_an_admin_may_change(
    relay: RunningRelay, admin: Visitor
) -> None:
    anna = await invited(admin, "anna", "editor")
    got = await edits(anna, "publish", "desk@example.com", "me@example.com")
    assert got.status == 403
    page = Read(got.text)
    assert "Line 3, column" in page.text
    assert "`destinations.desk.email.to` can only be changed by an admin" in page.text
    assert path_of(relay).read_text() == FILE
    # An admin's change of it is not undone by an editor, either.
    assert (await edits(admin, "publish", "desk@example.com", "me@example.com")).status == 303
    got = await anna.submit("/rules/undo", base=hash_of(path_of(relay).read_text()))
    assert got.place == "/rules?not=admins"


async def test_a_file_that_is_saved_broken_is_shown_beside_what_is_in_force(
    relay: RunningRelay, admin: Visitor
) -> None:
    broken = FILE.replace("missed: true", "mised: true")
    await saved(admin, broken)
    for path in ("/rules", "/chats", "/health"):
        assert "rules.yaml:8:" in (await admin.get(path)).text
    page = Read((await admin.get("/rules")).text)
    assert "can&#39;t be used" in page.html
    # The page says it, so the band above each other page does not: neither at first nor five seconds later.
    assert "saved with a mistake" in (await admin.get("/chats")).text
    assert "saved with a mistake" not in page.html
    assert 'hx-get="/status?of=/rules"' in page.html
    assert "2 rules are in force" in page.text
    assert 'role="switch"' not in page.html
    got = await admin.get("/rules/edit")
    assert "mised" in form_of(got)["text"]
    assert "Line 8, column" in Read(got.text).text
    assert (await edits(admin, "publish", "mised: true", "missed: true")).status == 303
    assert "could not be used" in (await admin.get("/rules/versions")).text
    assert path_of(relay).read_text() == FILE


async def test_versions_are_compared_and_restored(relay: RunningRelay, admin: Visitor) -> None:
    assert (await edits(admin, "publish", "at_most: 2", "at_most: 1")).status == 303
    new = hash_of(path_of(relay).read_text())
    page = Read((await admin.get("/rules/versions")).text)
    assert page.wrong == []
    assert f"/rules/versions/{new}" in page.links
    page = Read((await admin.get(f"/rules/versions/{hash_of(FILE)}?against={new}")).text)
    assert page.wrong == []
    assert "rated 2 or lower" in page.text
    got = await admin.submit(f"/rules/versions/{hash_of(FILE)}/restore")
    assert got.place == "/rules/edit"
    assert path_of(relay).read_text() != FILE
    form = form_of(await admin.get("/rules/edit"))
    assert (await admin.submit("/rules/edit", act="publish", **form)).status == 303
    assert path_of(relay).read_text() == FILE
    assert (await admin.get("/rules/versions/nothing")).status == 404


async def test_what_can_not_be_published_is_taken_away_as_a_patch(
    relay: RunningRelay, admin: Visitor, tmp_path: Path
) -> None:
    path_of(relay).chmod(0o444)
    page = (await admin.get("/rules")).text
    assert "chown relay" in page
    assert 'role="switch"' not in page
    got = await edits(admin, "check", "at_most: 2", "at_most: 1")
    assert 'value="publish"' not in got.text
    assert (await admin.submit("/rules/edit", act="publish", **form_of(got))).status == 409
    patch = await admin.get("/rules/edit/patch")
    (tmp_path / "rules.yaml").write_text(FILE)
    command = ["git", "apply", "-"]
    subprocess.run(command, cwd=tmp_path, input=patch.text.encode(), check=True)
    assert (tmp_path / "rules.yaml").read_text() == FILE.replace("at_most: 2", "at_most: 1")
    assert path_of(relay).read_text() == FILE


async def test_a_draft_is_discarded(relay: RunningRelay, admin: Visitor) -> None:
    got = await edits(admin, "keep", "at_most: 2", "at_most: 1")
    assert got.place == "/rules/edit"
    assert relay.rows("SELECT count(*) FROM drafts") == [(1,)]
    await edits(admin, "discard", "at_most: 1", "at_most: 1")
    assert relay.rows("SELECT count(*) FROM drafts") == [(0,)]
    assert (await admin.submit("/rules/edit", act="x", text="", base="")).status == 400


LARGE = FILE + "".join(
    f"  - {{name: Rule {n}, when: {{any: [{{missed: true}}, {{rating: {{at_most: 2}}}}]}}, send_to: desk}}\n"
    for n in range(5000)
)


@pytest.mark.long  # each is read in a process of its own
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LARGE, "The relay can use this text."),
        (FILE + "  - " + "[" * 100_000, "nested deeper than 64 levels"),
        (FILE + "  - {name: x}\n" * 40_000, "101 problems"),
        (FILE + "x" * 600_000, "the file has more than 600 kB"),
        ("a\n" * 250_000, "Line 1"),
        (FILE + '"' + "\u202e\u2028" * 50_000, "Line"),
    ],
    ids=["large", "deep", "wrong", "too large", "other lines", "odd signs"],
)
async def test_a_hostile_text_is_answered(
    relay: RunningRelay, admin: Visitor, text: str, words: str
) -> None:
    assert len(text.encode()) < 620_000
    assert (await admin.submit("/rules/draft", base=hash_of(FILE))).status == 400  # without a text
    got = await admin.submit("/rules/edit", act="check", text=text, base=hash_of(FILE))
    page = Read(got.text)
    assert got.status == 200
    assert words in page.text
    assert page.wrong == []
    await admin.submit("/rules/edit", act="discard", text="", base="")
    assert path_of(relay).read_text() == FILE


async def test_a_switch_that_the_disk_does_not_take_says_so(
    relay: RunningRelay, admin: Visitor
) -> None:
    in_the_way = relay.folder / ".rules.yaml.previous"
    in_the_way.mkdir()
    got = await admin.submit("/rules/switch", rule="Missed chats", on="no", base=hash_of(FILE))
    in_the_way.rmdir()
    assert "the disk did not take it" in (await admin.get(got.place)).text
    assert path_of(relay).read_text() == FILE


async def test_a_rule_has_a_page_of_its_own(relay: RunningRelay, admin: Visitor) -> None:
    both = FILE + (
        "  # Both at once\n  - name: Both\n    when:\n      missed: true\n"
        "      rating: {at_most: 1}\n    send_to: desk\n"
    )
    base = form_of(await admin.get("/rules/edit"))["base"]
    assert (await admin.submit("/rules/edit", act="publish", text=both, base=base)).status == 303
    hook = a_hook(71, missed=True, rating=3, visitor={"name": "Nearly"})
    assert (await relay.post(hook)).status == 202
    page = Read((await admin.get("/rule?name=Both")).text)
    assert page.wrong == []
    assert "# Both at once - name: Both when: missed: true" in page.text
    assert "Nearly" in page.text
    assert "rated 1 or lower: no, it was 3" in page.text
    page = Read((await admin.get("/rule?name=Missed%20chats")).text)
    assert page.wrong == []
    assert "Nearly" in page.texts["list"][0]
    assert "/rule?name=Both" in Read((await admin.get("/rules")).text).links
    assert (await admin.get("/rule?name=Never")).status == 404


async def test_a_rule_of_any_name_has_its_page(relay: RunningRelay, admin: Visitor) -> None:
    names = [
        *("edit", "edit/news", "versions", "versions/abc", "switch", "check", "schema.json", "new"),
        *("a/b", "/a", "a/", "//", ".", "..", "a/../b", "%2e%2e", "a%2Fb", "a?b#c", "a&b=c", "+"),
        *(" lead", "trail ", "<b>", "'", '"', "{{x}}", "😀", "x" * 100),
    ]
    written = [
        f"  - {{name: {json.dumps(each, ensure_ascii=False)}, when: {{missed: true}}, send_to: desk}}\n"
        for each in names
    ]
    await saved(admin, FILE.partition("rules:")[0] + "rules:\n" + "".join(written))
    await is_seen(relay)
    links = Read((await admin.get("/rules")).text).links
    links = [each for each in links if each.startswith("/rule?")]
    assert len(links) == len(names)
    for name, link, text in zip(names, links, written, strict=True):
        got = await admin.get(link)
        assert got.status == 200
        assert f"<bdi>{escape(name)}</bdi></h1>" in got.text
        assert unescape(got.text).count(text.strip()) == 1
