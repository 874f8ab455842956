"""Sentences and files of templates, changed in the console, and what arrives then."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from relay.transports.registry import TRANSPORTS
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Got, Visitor, a_program, acts, signed_in
from tests.corpora import MARKUP
from tests.running import DEADLINE, RunningRelay, running_relay
from tests.servers import SmtpServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
CZECH = """\
# ours, as we like it
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n>=2 && n<=4 ? 1 : 2);\\n"

  msgid "Note"
  msgstr "Poznámka naše"    
#~ msgid "gone"
#~ msgstr "pryč"
"""  # noqa: W291 - people leave blanks
PARTIAL = {"hx-request": "true"}
MISSED = "/templates/missed/subject.txt"
CHATS = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mail() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    tmp_path_factory: pytest.TempPathFactory, mail: SmtpServer
) -> AsyncIterator[RunningRelay]:
    folder = tmp_path_factory.mktemp("wording")
    own = folder / "words"
    (own / "_translations").mkdir(parents=True)
    url = f"smtp://127.0.0.1:{mail.port}"
    async with running_relay(
        folder,
        RELAY_CONSOLE_PASSWORD=PASSWORD,
        RELAY_CONSOLE_EDIT="yes",
        RELAY_TEMPLATES=str(own),
        RELAY_SMTP_URL=url,
    ) as running:
        yield running


@pytest.fixture
def own(relay: RunningRelay) -> Path:
    return relay.folder / "words"


async def key_of(visitor: Visitor, words: str, language: str = "en") -> str:
    """The path of the page of a sentence."""
    page = (await visitor.get(f"/wordings?language={language}&q={words}")).text
    found = re.findall(rf'href="(/wordings/{language}/\w+)"><bdi[^>]*>([^<]*)<', page)
    return next(str(path) for path, said in found if words in html.unescape(said))


def field_in(got: Got, name: str) -> str:
    (value,) = re.findall(rf'name="{name}" value="([^"]*)"', got.text)
    return str(value)


async def save(visitor: Visitor, path: str, **form: str) -> Got:
    base = field_in(await visitor.get(path), "base")
    return await visitor.submit(path, **{"act": "save", "base": base, **form})


async def until_a_mail_says(relay: RunningRelay, mail: SmtpServer, words: str) -> None:
    """The relay takes up what was saved while chats come in."""
    async with asyncio.timeout(DEADLINE):
        while True:
            chat = next(CHATS)
            before = len(mail.mails)
            assert (await relay.post(a_hook(chat, missed=True))).status == 202
            mails = await mail.received(before + 1)
            if words in str(mails[-1].message["subject"]):
                return


def read(got: Got) -> Read:
    assert got.status == 200, got.text
    found = Read(got.text)
    assert found.wrong == []
    return found


@pytest.mark.long
async def test_a_sentence_is_found_changed_and_said_without_a_restart(
    relay: RunningRelay, mail: SmtpServer, own: Path
) -> None:
    editor = await signed_in(relay, "editor")
    relay.change("DELETE FROM acts")
    path = await key_of(editor, "Missed chat: {who}")
    page = await editor.get(path)
    assert "These places must stay" in read(page).text
    assert (await save(editor, path)).status == 400  # without words, which is no reset
    got = await save(editor, path, **{"said-0": "Nobody answered {who}"})
    assert (got.status, got.place) == (303, f"{path}?done=save")
    assert "Nobody answered {who}" in html.unescape((await editor.get(path)).text)
    await until_a_mail_says(relay, mail, "Nobody answered")
    assert "your words" in read(await editor.get("/wordings?language=en&own=yes")).text
    base = field_in(await editor.get(path), "base")
    got = await editor.submit(path, act="reset", base=base)
    assert got.place == f"{path}?done=reset"
    await until_a_mail_says(relay, mail, "Missed chat")
    key = path.removeprefix("/wordings/")
    told = [(act, subject) for _, _, act, subject, _ in acts(relay) if "wording" in act]
    assert told == [("change wording", key), ("reset wording", key)]
    assert "Nobody answered" not in str(relay.rows("SELECT * FROM acts"))


async def test_a_catalogue_keeps_all_other_bytes(relay: RunningRelay, own: Path) -> None:
    editor, file = await signed_in(relay, "editor"), own / "_translations" / "cs.po"
    file.write_bytes(CZECH.replace("\n", "\r\n").encode())
    path = await key_of(editor, "Poznámka naše", "cs")
    await save(editor, path, **{"said-0": "Zápisek"})
    expected = CZECH.replace('"Poznámka naše"    ', '"Zápisek"').replace("\n", "\r\n")
    assert file.read_bytes().decode() == expected


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Nobody came", "<li>the text does without {who}</li>"),
        ("Nobody answered {visitor}", "<li>the text has {visitor}, which nothing fills in"),
        ("Nobody answered {who} {", "a brace that is part of no place"),
        ("x" * 2001 + "{who}", "longer than 2,000 characters"),
        ("x" * 900_000 + "{who}", "longer than 2,000 characters"),
    ],
)
async def test_words_with_mistakes_are_not_saved(
    relay: RunningRelay, own: Path, said: str, why: str
) -> None:
    editor = await signed_in(relay, "editor")
    path = await key_of(editor, "Missed chat: {who}")
    before = {each: each.read_bytes() for each in own.rglob("*.*")}
    got = await save(editor, path, **{"said-0": said})
    assert got.status == 422
    assert why in html.unescape(got.text)
    assert {each: each.read_bytes() for each in own.rglob("*.*")} == before


async def test_what_another_has_saved_meanwhile_is_not_lost(relay: RunningRelay, own: Path) -> None:
    admin, file = await signed_in(relay), own / "_translations" / "de.po"
    path = await key_of(admin, "Notiz", "de")
    base = field_in(await admin.get(path), "base")
    file.write_text(CZECH, "utf-8")
    got = await admin.submit(path, act="save", base=base, **{"said-0": "Meine Notiz"})
    assert got.status == 409
    assert "Meine Notiz" in got.text
    assert file.read_text("utf-8") == CZECH
    file.unlink()


async def test_a_catalogue_that_can_not_be_read_says_where(relay: RunningRelay, own: Path) -> None:
    editor, file = await signed_in(relay, "editor"), own / "_translations" / "es.po"
    path = await key_of(editor, "Nota", "es")
    file.write_text('msgid "a\n', "utf-8")
    page = await editor.get(path)
    assert "es.po:1:" in read(page).text
    got = await save(editor, path, **{"said-0": "Apunte"})
    assert got.status == 422
    assert file.read_text("utf-8") == 'msgid "a\n'
    file.unlink()


async def test_the_preview_shows_mail_slack_and_teams(relay: RunningRelay, own: Path) -> None:
    editor = await signed_in(relay, "editor")
    path = await key_of(editor, "Offline message from {who}")
    assert "Offline message from" in (await editor.get(path)).text.partition('id="preview"')[2]
    path = await key_of(editor, "Missed chat: {who} waited {duration}")
    token = await editor.token()
    form = {"token": token, "act": "preview", "said-0": "Nobody answered {who} for {duration}"}
    got = await editor.post(path, PARTIAL, **form, sample="missed.json")
    assert "does not have this sentence" not in got.text
    other = await editor.post(path, PARTIAL, **form, sample="offline.json")
    assert "The notification of this chat does not have this sentence." in other.text
    assert got.status == 200, got.text
    assert "<html" not in got.text
    assert got.text.count("Nobody answered") >= 2
    (mail,) = re.findall(r'src="(/previews/[^"]+)"', got.text)
    framed = await editor.get(mail)
    assert "sandbox" in framed.headers["content-security-policy"]
    assert "Transcript" in framed.text
    whole = await editor.post(path, None, **form, sample="missed.json")
    assert read(whole).text.count("Nobody answered") >= 2
    assert "There is no such chat." in (await editor.post(path, PARTIAL, **form, chat="1/1")).text
    chat = next(CHATS)
    assert (await relay.post(a_hook(chat, missed=True))).status == 202
    real = await editor.post(path, PARTIAL, **form, chat=f"208/{chat}")
    assert f"208/{chat}" in read_refused(real)


async def test_the_preview_of_a_digest_shows_several_chats(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    path = await key_of(admin, "Received between {first} and {last}.")
    shown = (await admin.get(path)).text.partition('id="preview"')[2]
    assert "Received between" in shown
    assert "No sample chat has this sentence" not in shown
    path, chat = "/templates/digest/subject.txt", next(CHATS)
    assert (await relay.post(a_hook(chat, missed=True, visitor={"name": "Digested"}))).status == 202
    form = {"token": await admin.token(), "act": "preview"}
    for more, chats in (({}, 4), ({"sample": "missed.json"}, 4), ({"chat": f"208/{chat}"}, 5)):
        text = "{{ digest.count }} tonight"
        got = await admin.post(path, PARTIAL, **form, text=text, **more)
        of_each = got.text.split("<article")[1:]
        assert [f"{chats} tonight" in each for each in of_each] == [True] * 3
        (mail,) = re.findall(r'src="(/previews/[^"]+)"', got.text)
        assert ("Digested" in (await admin.get(mail)).text) == (chats == 5)
    wrong = await admin.post(path, PARTIAL, **form, text="{{ digest.cout }}")
    assert "digest/subject.txt:1" in wrong.text


@pytest.mark.long
async def test_a_template_file_is_changed_and_reset_without_a_restart(
    relay: RunningRelay, mail: SmtpServer, own: Path
) -> None:
    admin, file = await signed_in(relay), own / "missed" / "subject.txt"
    relay.change("DELETE FROM acts")
    assert 'data-editor="jinja"' in (await admin.get(MISSED)).text
    got = await save(admin, MISSED, text="Chat of {{ visitor.name }}\r\n")
    assert got.place == f"{MISSED}?done=save"
    assert file.read_bytes() == b"Chat of {{ visitor.name }}\n"
    await until_a_mail_says(relay, mail, "Chat of")
    base = field_in(await admin.get(MISSED), "base")
    assert (await admin.submit(MISSED, act="save", base="0" * 64, text="x")).status == 409
    assert (await admin.submit(MISSED, act="reset", base=base)).place == f"{MISSED}?done=reset"
    assert not file.exists()
    await until_a_mail_says(relay, mail, "Missed chat")
    told = [(act, subject) for _, _, act, subject, _ in acts(relay) if "template" in act]
    assert told == [
        ("change template", "missed/subject.txt"),
        ("reset template", "missed/subject.txt"),
    ]


@pytest.mark.parametrize("text", ["{{ visitor.nme }}", "{% if %}", "x" * 100_001, "x" * 900_000])
async def test_a_template_with_problems_is_not_saved(
    relay: RunningRelay, own: Path, text: str
) -> None:
    got = await save(await signed_in(relay), MISSED, text=text)
    assert got.status == 422
    assert "missed/subject.txt" in read_refused(got)
    assert not (own / "missed" / "subject.txt").exists()


async def test_a_loop_in_a_draft_ends_and_is_not_saved(relay: RunningRelay, own: Path) -> None:
    admin = await signed_in(relay)
    loop = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    token = await admin.token()
    got = await admin.post(MISSED, PARTIAL, token=token, act="preview", text=loop)
    assert got.status == 200
    assert "missed" in got.text
    assert (await save(admin, MISSED, text=loop)).status == 422
    assert not (own / "missed" / "subject.txt").exists()


async def test_templates_reach_nothing_but_the_chat(relay: RunningRelay) -> None:
    admin, secret = await signed_in(relay), PASSWORD
    token = await admin.token()
    text = "\n".join(MARKUP["templates"])
    got = await admin.post(MISSED, PARTIAL, token=token, act="preview", text=text)
    assert got.status == 200
    for found in (secret, "root:", "<class", "RELAY_"):
        assert found not in re.sub(r"<pre.*?</pre>", "", got.text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2frules.yaml/x",
        "missed/..%2f..%2frules.yaml",
        "_translations/en.po",
        "missed/.subject.txt.new",
        "missed/subject.txt%00",
        "new/subject.txt",
        "missed%2fsubject.txt/x",
    ],
)
async def test_no_other_file_is_a_template(relay: RunningRelay, own: Path, name: str) -> None:
    admin = await signed_in(relay)
    assert (await admin.get(f"/templates/{name}")).status == 404
    assert (await admin.submit(f"/templates/{name}", act="save", text="x", base="")).status == 404


@pytest.mark.parametrize("language", ["xx", "..%2fcs", "EN", "cs%00", "x" * 300])
async def test_no_other_language_has_sentences(relay: RunningRelay, language: str) -> None:
    editor = await signed_in(relay, "editor")
    assert (await editor.get(f"/wordings?language={language}")).status == 400
    key = (await key_of(editor, "Note")).rpartition("/")[2]
    assert (await editor.get(f"/wordings/{language}/{key}")).status == 404
    assert (await editor.get("/wordings/en/000000000000")).status == 404


async def test_a_link_out_of_the_folder_is_not_followed(relay: RunningRelay, own: Path) -> None:
    admin, outside = await signed_in(relay), relay.folder / "outside"
    outside.mkdir()
    (own / "vip").symlink_to(outside)
    got = await save(admin, "/templates/vip/subject.txt", text="x")
    assert got.status == 409
    assert list(outside.iterdir()) == []
    (own / "vip").unlink()


@pytest.mark.long
async def test_without_a_folder_the_pages_say_what_to_do(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        admin = await signed_in(relay)
        path = await key_of(admin, "Missed chat: {who}")
        for place in ("/wordings", path, "/templates", MISSED):
            assert "RELAY_TEMPLATES=mytemplates" in read(await admin.get(place)).text
        assert (await save(admin, path, **{"said-0": "For {who}"})).status == 409
        assert (await save(admin, MISSED, text="x")).status == 409


def read_refused(got: Got) -> str:
    return html.unescape(got.text)


async def test_a_program_changes_and_resets_a_sentence(relay: RunningRelay) -> None:
    program = await a_program(relay, "editor")
    whole = (await program.get("/wordings?language=cs")).json
    assert {"en", "cs"} <= set(whole["languages"])
    sentence = next(
        one for one in whole["sentences"] if one["source"] == ["Offline message from {who}"]
    )
    path = f"/wordings/cs/{sentence['key']}"
    was = await program.get(path)
    assert (was.json["sentence"], was.json["read_only"]) == (sentence, None)
    assert was.headers["etag"] == f'"{was.json["hash"]}"'
    words = {"said": ["Vzkaz nechal {who}"]}
    shown = (await program.post(f"{path}/preview", words | {"sample": "offline.json"})).json
    assert (shown["problems"], shown["is_said"]) == ([], True)
    texts = {one["transport"]: one for one in shown["notifications"]}
    assert {"email", "slack", "teams"} <= set(texts)
    assert set(texts) == {name for name, each in TRANSPORTS.items() if not each.whole_chat}
    assert "Vzkaz nechal " in texts["email"]["html"]
    assert "Vzkaz nechal " in json.dumps(texts["slack"]["message"], ensure_ascii=False)
    assert (await program.put(path, words)).status == 428
    done = await program.put(path, words, if_match=was.headers["etag"])
    assert (done.status, done.json["sentence"]["own"]) == (200, words["said"])
    late = await program.put(path, {"said": ["Od {who}"]}, if_match=was.headers["etag"])
    assert (late.status, late.json["type"].rpartition(":")[2]) == (412, "file-changed")
    reset = await program.ask("DELETE", path, {"if-match": done.headers["etag"]})
    assert (reset.status, reset.json["sentence"]["own"]) == (200, [])
    by = ("admin (token robot)", "api")
    subject = f"cs/{sentence['key']}"
    assert acts(relay)[-2:] == [
        (*by, "change wording", subject, ""),
        (*by, "reset wording", subject, ""),
    ]
    wrong: list[list[str]] = [[], ["a", "b"], ["a" * 2001], ["\0"]]
    for said in wrong:
        got = await program.put(path, {"said": said}, if_match=reset.headers["etag"])
        assert (got.status, got.detail != "") == (422, True), said
    for place in ("/wordings/cs/0", "/wordings/xx/0", f"/wordings/..%2F..%2Fetc/{sentence['key']}"):
        assert (await program.get(place)).status == 404
    assert (await program.get("/wordings?language=xx")).status == 422
    for chat in ("999999", "no/chat"):
        assert (await program.post(f"{path}/preview", words | {"chat": chat})).status == 422


async def test_a_program_changes_and_resets_a_file_of_a_template(
    relay: RunningRelay, own: Path
) -> None:
    program = await a_program(relay)
    path, file = "/templates/offline/subject.txt", own / "offline" / "subject.txt"
    listed = (await program.get("/templates")).json
    assert {"name": "offline/subject.txt", "inherited": "", "is_own": False} in listed["files"]
    was = await program.get(path)
    assert (was.json["hash"], was.headers["etag"]) == ("none", '"none"')
    assert was.json["text"] == was.json["shipped"]
    text = {"text": "Canary: {{ visitor.name }}\n"}
    shown = (await program.post(f"{path}/preview", text | {"sample": "offline.json"})).json
    assert shown["problems"] == []
    assert shown["notifications"][0]["subject"].startswith("Canary: ")
    broken = {"text": "{{ visitor.name"}
    shown = (await program.post(f"{path}/preview", broken)).json
    assert shown["problems"][0].startswith("offline/subject.txt:1")
    assert (await program.put(path, broken, if_match='"none"')).status == 422
    assert not file.exists()
    done = await program.put(path, text, if_match='"x", "none"')
    assert (done.status, done.json["file"]["is_own"]) == (200, True)
    assert file.read_text("utf-8") == text["text"]
    assert (await program.put(path, text, if_match='"none"')).status == 412
    over = await program.ask("DELETE", path, {"if-match": done.headers["etag"]})
    assert (over.status, over.json["hash"], file.exists()) == (200, "none", False)
    assert [act[2:4] for act in acts(relay)[-2:]] == [
        ("change template", "offline/subject.txt"),
        ("reset template", "offline/subject.txt"),
    ]
    for place in ("/templates/..%2F/rules.yaml", "/templates/offline/..%2Fx", "/templates/x/y"):
        assert (await program.get(place)).status == 404
    editor = await a_program(relay, "editor", "writer")
    assert (await editor.get("/templates")).status == 403
