"""`relay preview`: what would be sent for a chat, as files, and nothing else happens."""

import asyncio
import json
import re
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result

from relay.preview.lookalike.mail_inbox import inbox_words, page_height
from relay.transports.teams.card import MAX_BYTES
from tests.builders import a_hook
from tests.cli import running
from tests.rules.commands import relay
from tests.running import running_relay

RULES = """\
timezone: Europe/Prague
destinations:
  sales: {email: {to: [sales@example.com, "Anna <anna@example.com>"]}}
  room: {slack: {webhook: $ROOM_WEBHOOK, mention: here}, language: cs}
  bots: {slack: {channel: C0123456789}}
  managers: {teams: {webhook: $MANAGERS_WEBHOOK}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [sales, room, bots, managers], template: missed}
  - {name: Offline messages, when: {offline: true}, send_to: sales, template: offline}
"""
MISSED = a_hook(7, missed=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a rules file whose secrets nobody has set."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROOM_WEBHOOK", "MANAGERS_WEBHOOK", "RELAY_SLACK_TOKEN", "RELAY_SMTP_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


def previewed(*arguments: str, given: bytes = MISSED, **environment: str) -> Result:
    return relay("preview", "-", *arguments, given=given, **environment)


class Page(HTMLParser):
    """The links of a page, what it says, and the names of its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.frames: list[str] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.frames += [value or "" for name, value in attrs if name == "srcdoc"]

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


def test_every_delivery_is_there_as_it_would_go_out(here: Path) -> None:
    said = previewed()
    folder = here / "relay-preview"
    assert (said.exit_code, said.stderr) == (0, "")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(
        [
            *(f"01-missed-chats-sales-sales-example-com.{kind}" for kind in ("eml", "html", "txt")),
            *(f"02-missed-chats-sales-anna-example-com.{kind}" for kind in ("eml", "html", "txt")),
            *(f"03-missed-chats-room.slack.{kind}" for kind in ("html", "json")),
            *(f"04-missed-chats-bots.slack.{kind}" for kind in ("html", "json", "thread-1.json")),
            *(f"05-missed-chats-managers.teams.{kind}" for kind in ("html", "json")),
            "index.html",
            "preview.json",
        ]
    )
    for name in names:
        assert name == "preview.json" or name in said.stdout
    mail = message_from_bytes(
        (folder / "01-missed-chats-sales-sales-example-com.eml").read_bytes(), policy=default
    )
    assert (mail["To"], mail["From"]) == ("sales@example.com", "Relay <relay@example.com>")
    assert "RELAY_MAIL_FROM is not set; relay@example.com stands in" in said.stdout
    part = mail.get_body(("html",))
    assert part is not None
    html = part.get_content().replace("\r\n", "\n")
    assert (folder / "01-missed-chats-sales-sales-example-com.html").read_text() == html
    room = json.loads((folder / "03-missed-chats-room.slack.json").read_bytes())
    assert (room["unfurl_links"], room["text"][:8]) == (False, "<!here> ")
    assert "Zmeškaný chat" in room["text"]
    bots = json.loads((folder / "04-missed-chats-bots.slack.json").read_bytes())
    assert bots["channel"] == "C0123456789"
    reply = json.loads((folder / "04-missed-chats-bots.slack.thread-1.json").read_bytes())
    assert reply["thread_ts"]
    card = (folder / "05-missed-chats-managers.teams.json").read_bytes()
    assert len(card) < MAX_BYTES
    assert json.loads(card)["attachments"][0]["content"]["type"] == "AdaptiveCard"


def test_the_page_links_and_shows_all_of_it_and_loads_nothing(here: Path) -> None:
    folder = here / "relay-preview"
    previewed()
    page = Page((folder / "index.html").read_text())
    linked = {link for link in page.links if not link.startswith(("#", "http", "mailto:"))}
    assert linked == {path.name for path in folder.iterdir()} - {"index.html", "preview.json"}
    assert len(page.frames) == 2
    assert page.frames[0] == (folder / "01-missed-chats-sales-sales-example-com.html").read_text()
    assert "Zmeškaný chat" in page.text
    assert "1 reply in its thread" in page.text
    assert not {"script", "link", "img", "form"} & set(page.tags)


def test_a_mail_is_shown_as_in_an_inbox_and_on_two_screens(here: Path) -> None:
    previewed()
    source = (here / "relay-preview" / "index.html").read_text()
    page = Page(source)
    text = " ".join(page.text.split())
    for to in ("sales: sales@example.com", "room", "managers"):
        assert f"Missed chats {to}" in text
    html = page.frames[0]
    assert f"{inbox_words(html)} " in text
    for screen, width in (("wide", 640), ("phone", 375)):
        assert f"--{screen}:{page_height(html, width)}px" in source
    assert source.count('type="radio"') == source.count("<label") == 2 * len(page.frames)


def test_the_settings_of_the_user_count_where_they_are_no_far_end(here: Path) -> None:
    said = previewed(
        "--destination", "sales", RELAY_MAIL_FROM="Chat <chat@shop.example>", RELAY_SMTP_URL="smtps://u:p@mail.example"
    )  # fmt: skip
    mail = next((here / "relay-preview").glob("01-*.eml")).read_bytes()
    assert said.exit_code == 0
    assert b"From: Chat <chat@shop.example>" in mail
    assert re.search(rb"Message-ID: <[0-9a-f]{24}@shop\.example>", mail)


def test_no_secret_is_shown(here: Path) -> None:
    secrets = {
        "ROOM_WEBHOOK": "https://hooks.slack.com/services/T0P/SECRET",
        "MANAGERS_WEBHOOK": "https://x.example/workflows/T0P?sig=SECRET",
        "RELAY_SLACK_TOKEN": "xoxb-SECRET",
        "RELAY_SMTP_URL": "smtps://u:SECRET@mail.example",
    }
    said = previewed("--json", given=MISSED, **secrets)
    assert said.exit_code == 0
    written = [path.read_bytes() for path in (here / "relay-preview").iterdir()]
    assert b"SECRET" not in b"".join([said.output.encode(), *written])


def test_a_chat_for_which_no_rule_holds_says_how_to_see_one(here: Path) -> None:
    said = previewed(given=a_hook(7))
    assert said.exit_code == 1
    assert "no rule matched this chat, so nothing would be sent" in said.stderr
    assert "add: --rule 'Missed chats'" in said.stderr
    assert not (here / "relay-preview").exists()


def test_a_rule_that_does_not_hold_is_shown_when_it_is_named_and_said_to(here: Path) -> None:
    said = previewed("--rule", "missed CHATS", "--destination", "room", given=a_hook(7))
    assert said.exit_code == 0
    note = "The rule “Missed chats” does not match this chat (missed: no): nothing would be sent."
    assert note in said.stdout
    assert note in Page((here / "relay-preview" / "index.html").read_text()).text
    assert [path.name for path in (here / "relay-preview").glob("0*.json")] == [
        "01-missed-chats-room.slack.json"
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--rule", "Missed chat"), 2, "there is no rule “Missed chat”; did you mean Missed chats?"),
        (("--destination", "romo"), 2, "there is no destination “romo”; did you mean room?"),
        (("--rule", "Offline messages", "--destination", "room"), 1, "the rule “Offline messages” sends nothing to room"),
        (("--out", "rules.yaml"), 2, "rules.yaml is not a folder; name another one with --out"),
        (("lost.yaml",), 2, "lost.yaml"),
    ],
)  # fmt: skip
def test_what_can_t_be_shown_is_said(
    here: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    said = previewed(*arguments)
    assert (said.exit_code, said.stdout) == (status, "")
    assert words in said.stderr
    assert not (here / "relay-preview").exists()


def test_no_chat_at_all_is_said() -> None:
    said = previewed(given=b"[]")
    assert said.exit_code == 2
    assert "this is not a chat" in said.stderr
    assert relay("preview").exit_code == 2


def test_a_broken_template_is_named_and_the_built_in_wording_shown(here: Path) -> None:
    own = here / "templates" / "missed" / "summary.txt"
    own.parent.mkdir(parents=True)
    own.write_text("\n{{ nobody.knows }}", encoding="utf-8")
    said = previewed("--destination", "sales", "--json", RELAY_TEMPLATES=str(here / "templates"))
    trouble = f"{own}:2: there is nothing called 'nobody' here"
    assert said.exit_code == 1
    shown = json.loads(said.stdout)
    assert shown["problems"] == [f"{trouble}; the built-in wording is sent instead"]
    assert {each["trouble"] for each in shown["deliveries"]} == {trouble}
    page = Page(Path(shown["index"]).read_text())
    assert trouble in page.text
    assert "(template broken)" in page.text


def test_a_template_s_own_json_is_shown(here: Path) -> None:
    own = here / "templates" / "missed" / "slack.json"
    own.parent.mkdir(parents=True)
    section = '{"type": "section", "text": {"type": "mrkdwn", "text": "*%s* <&{{ visitor.name }}"}}'
    own.write_text(f'{{"blocks": [{section % "Ours"}]}}', encoding="utf-8")
    said = previewed("--destination", "room", RELAY_TEMPLATES=str(here / "templates"))
    assert said.exit_code == 1  # "<" begins a link
    own.write_text(f'{{"blocks": [{section.replace("<&", "") % "Ours"}]}}', encoding="utf-8")
    said = previewed("--destination", "room", RELAY_TEMPLATES=str(here / "templates"))
    assert said.exit_code == 0
    post = json.loads((here / "relay-preview" / "01-missed-chats-room.slack.json").read_bytes())
    assert post["blocks"][1]["text"]["text"] == "*Ours* Marta Nowak"
    text = Page((here / "relay-preview" / "index.html").read_text()).text
    assert "Ours Marta Nowak" in text
    assert "with its own slack.json" in text


def test_the_next_preview_replaces_its_files_and_touches_no_other(here: Path) -> None:
    folder = here / "relay-preview"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert previewed().exit_code == 0
    assert previewed("--destination", "room").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "01-missed-chats-room.slack.html",
        "01-missed-chats-room.slack.json",
        "index.html",
        "notes.txt",
        "preview.json",
    ]
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "preview.json"])
def test_a_file_that_no_preview_wrote_is_never_overwritten(here: Path, name: str) -> None:
    folder = here / "relay-preview"
    folder.mkdir()
    (folder / name).write_text('{"files": ["index.html", "../rules.yaml"]}', encoding="utf-8")
    said = previewed("--destination", "room")
    assert said.exit_code == 2
    assert (
        f"{Path('relay-preview') / name} is there already, and no preview wrote it" in said.stderr
    )
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_list_of_files_that_names_others_outside_is_not_believed(here: Path) -> None:
    folder = here / "relay-preview"
    folder.mkdir()
    listed = {"made_by": "relay preview", "files": ["../rules.yaml", "preview.json", ".hidden"]}
    (folder / "preview.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / ".hidden").write_text("mine", encoding="utf-8")
    assert previewed("--destination", "room").exit_code == 0
    assert (here / "rules.yaml").exists()
    assert (folder / ".hidden").exists()


def opened(**variables: str) -> running.Ran:
    """In a process of its own: Python looks for browsers once."""
    arguments = ("preview", "-", "--destination", "room", "--open")
    return running.relay(*arguments, given=MISSED, variables=variables)


@pytest.mark.usefixtures("here")
def test_where_there_is_no_browser_the_page_is_named() -> None:
    said = opened(BROWSER="/nowhere/no-such-browser", PATH="/nowhere")
    assert said.status == 0
    assert said.err == "no browser was found here; open relay-preview/index.html yourself\n"


def test_a_browser_is_given_the_page(here: Path) -> None:
    browser = here / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {here}/opened\n', encoding="utf-8")
    browser.chmod(0o700)
    said = opened(BROWSER=f"{browser} %s", PATH="/usr/bin:/bin")
    assert (said.status, said.err) == (0, "")
    page = here / "relay-preview" / "index.html"
    assert (here / "opened").read_text().strip() == page.as_uri()


def test_hostile_text_stays_text_on_every_page(here: Path) -> None:
    hostile = '</pre></iframe>"><script>alert(1)</script><img src=x onerror=alert(1)>'
    visitor = {"name": hostile, "note": hostile, "email": hostile}
    said = previewed(given=a_hook(7, missed=True, visitor=visitor))
    assert said.exit_code == 0
    for path in (here / "relay-preview").glob("*.html"):
        assert not {"script", "img"} & set(Page(path.read_text()).tags)
    for frame in Page((here / "relay-preview" / "index.html").read_text()).frames:
        assert not {"script", "img"} & set(Page(frame).tags)


async def test_a_chat_that_came_in_is_previewed_from_the_database(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("relay")
    async with running_relay(other) as process:
        await process.post(a_hook(7, missed=True))
    database = f"sqlite:///{other / 'relay.db'}"
    said = await asyncio.to_thread(relay, "preview", "--chat", "208/7", RELAY_DATABASE=database)
    assert said.exit_code == 0
    assert "Chat 208/7" in said.stdout
    assert (here / "relay-preview" / "03-missed-chats-room.slack.json").exists()
    lost = await asyncio.to_thread(relay, "preview", "--chat", "208/8", RELAY_DATABASE=database)
    assert (lost.exit_code, lost.stdout) == (2, "")
    assert "there is no chat 208/8" in lost.stderr


def test_a_webhook_is_shown_as_the_json_that_would_be_posted(here: Path) -> None:
    crm = RULES.replace("rules:", "  crm: {webhook: {url: $CRM_URL, secret: $CRM_SECRET}}\nrules:")
    (here / "rules.yaml").write_text(crm.replace("[sales, room,", "[crm, room,"), encoding="utf-8")
    said = previewed("--destination", "crm")
    assert (said.exit_code, said.stderr) == (0, "")
    folder = here / "relay-preview"
    body = json.loads((folder / "01-missed-chats-crm.webhook.json").read_bytes())
    assert body["data"]["rule"] == "Missed chats"
    assert body["data"]["chat"]["missed"] is True
    for name in ("01-missed-chats-crm.webhook.html", "index.html"):
        assert '"rule": "Missed chats"' in Page((folder / name).read_text("utf-8")).text


def test_a_webhook_takes_the_form_that_the_rules_file_gives_whatever_a_visitor_typed(
    here: Path,
) -> None:
    form = (
        '{contact: {email: "{{ visitor.email }}", name: "<{{ visitor.name }}>"}, tags: [chat, "{{ rule }}"],'
        ' source: 7, known: true, code: "007", time: 12:30, nothing: null, note: "{{ chat.rating_comment }}"}'
    )
    crm = RULES.replace(
        "rules:",
        f"  crm: {{webhook: {{url: $CRM_URL, secret: $CRM_SECRET, json: {form}}}}}\nrules:",
    )
    (here / "rules.yaml").write_text(crm.replace("[sales, room,", "[crm, room,"), encoding="utf-8")
    name = 'M", "x": {"{{ 7 * 7 }}'
    given = a_hook(7, missed=True, visitor={"name": name, "email": "m@example.com"})
    said = previewed("--destination", "crm", given=given)
    assert (said.exit_code, said.stderr) == (0, "")
    body = json.loads((here / "relay-preview" / "01-missed-chats-crm.webhook.json").read_bytes())
    assert body == {
        "contact": {"email": "m@example.com", "name": f"<{name}>"},
        "tags": ["chat", "Missed chats"],
        "source": 7,
        "known": True,
        "code": "007",
        "time": "12:30",
        "nothing": None,
        "note": "",
    }


def test_a_form_that_can_not_be_filled_in_is_a_problem_and_the_relays_own_is_shown(
    here: Path,
) -> None:
    form = '{contact: {email: "{{ visitor.emial }}"}}'
    crm = RULES.replace(
        "rules:",
        f"  crm: {{webhook: {{url: $CRM_URL, secret: $CRM_SECRET, json: {form}}}}}\nrules:",
    )
    (here / "rules.yaml").write_text(crm.replace("[sales, room,", "[crm, room,"), encoding="utf-8")
    said = previewed("--destination", "crm")
    assert said.exit_code == 1
    assert "the destination's json" in said.stderr
    assert "contact.email: " in said.stderr
    body = json.loads((here / "relay-preview" / "01-missed-chats-crm.webhook.json").read_bytes())
    assert body["data"]["rule"] == "Missed chats"


def test_a_destination_that_is_told_in_digests_shows_one_beside(here: Path) -> None:
    daily = RULES.replace('<anna@example.com>"]}}', '<anna@example.com>"]}, send: 08:00}')
    assert daily != RULES
    (here / "rules.yaml").write_text(daily, encoding="utf-8")
    said = previewed("--destination", "sales")
    assert (said.exit_code, said.stderr) == (0, "")
    (text,) = (here / "relay-preview").glob("*-digest-sales-sales-example-com.txt")
    assert "Missed chats (" in text.read_text("utf-8")
    assert Page((here / "relay-preview" / "index.html").read_text("utf-8")).text
