"""README, CONTRIBUTING and docs/ say what the code does: nothing is missing, and what they show can be used."""

import json
import operator
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest
import yaml

from relay.cli import main
from relay.cli.field_list import filter_docs, sample_data
from relay.console.json_api import api_document
from relay.outbox.schema import metadata
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.sandbox import JINJA_FILTERS
from relay.rendering.template_data import Plain
from relay.rendering.template_reference import (
    AROUND,
    CHAT,
    ENTRIES,
    EXAMPLES,
    JINJAS,
    LISTS,
    NAMES,
    VISITOR,
    value_of,
)
from relay.rendering.templates import Templates
from relay.rules import read_rules
from relay.runtime.startup import get_ready
from relay.settings.smtp import OAUTH_SETTINGS
from relay.settings.table import SETTINGS, TABLE, Setting, Settings, read_settings
from relay.transports.override import OVERRIDES
from relay.transports.registry import TRANSPORTS
from relay.web.app import open_relay
from relay.web.hook import PATH
from tests.builders import a_hook
from tests.reference import PAGES as REFERENCE_PAGES
from tests.reference import renewed, tables
from tests.running import running_relay, settings
from tests.templates.reading import told

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")]
CHECKED_ELSEWHERE = {"rules.md", "recipes.md", "testing-rules.md"}
"""Whose examples are tried by tests/rules."""

FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def section(name: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    text = page(name).partition(f"\n## {heading}\n")[2]
    assert text, f"{name} has no {heading}"
    return text.partition("\n## ")[0]


def examples(text: str, language: str) -> list[str]:
    """The blocks of one language, their common indent taken away."""
    return [
        re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
        for indent, kind, block in FENCE.findall(text)
        if kind == language
    ]


def first_cells(text: str) -> list[str]:
    """Every name in code marks in the first column of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def by_page(paths: Iterable[Path]) -> list[object]:
    return [pytest.param(path, id=path.name) for path in sorted(paths)]


# -- settings ----------------------------------------------------------------------------------------------


def test_settings_md_has_every_setting_and_no_other() -> None:
    assert tuple(re.findall(r"^## `(\w+)`$", page("settings.md"), re.MULTILINE)) == SETTINGS


def example_of(name: str) -> dict[str, str]:
    """The variable that the section of a setting shows."""
    (example,) = examples(section("settings.md", f"`{name}`"), "sh")
    (assignment,) = shlex.split(example)
    variable, _, value = assignment.partition("=")
    return {variable: value}


@pytest.mark.parametrize(
    "name", sorted(set(SETTINGS) - {*OAUTH_SETTINGS, "RELAY_NO_PROXY", "RELAY_CA_FILE"})
)
def test_the_example_of_a_setting_can_be_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mytemplates").mkdir()
    monkeypatch.chdir(tmp_path)
    example = example_of(name)
    assert list(example) == [name]
    assert read_settings(example) != Settings()


WITH_PASSWORD = {
    "RELAY_DATABASE": "postgresql://relay:a-long-password@db.example.com/relay",
    "RELAY_HTTPS_PROXY": "http://relay:a-long-password@proxy.example.com:3128",
}
"""Settings in whose example no secret stands."""


@pytest.mark.parametrize(
    "setting",
    [
        each
        for each in TABLE
        if each.name not in {*OAUTH_SETTINGS, "RELAY_NO_PROXY", "RELAY_CA_FILE"}
    ],
    ids=lambda one: one.name,
)
def test_a_setting_that_the_table_calls_secret_has_its_secret_taken_out_of_what_is_shown(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mytemplates").mkdir()
    monkeypatch.chdir(tmp_path)
    example = example_of(setting.name)
    given = WITH_PASSWORD.get(setting.name)
    secrets = read_settings({setting.name: given} if given else example).secrets
    assert bool(secrets) == setting.is_secret


def test_the_examples_of_the_oauth_settings_can_be_used_together() -> None:
    together = {"RELAY_SMTP_URL": "smtp+starttls://relay%40example.com@smtp.example.com"}
    for name in OAUTH_SETTINGS:
        together |= example_of(name)
    assert together.keys() > set(OAUTH_SETTINGS)
    server = read_settings(together).smtp
    assert server is not None
    assert server.oauth is not None


def test_the_example_of_hosts_beside_the_proxy_can_be_used_with_that_of_the_proxy() -> None:
    without, beside = example_of("RELAY_HTTPS_PROXY"), example_of("RELAY_NO_PROXY")
    assert list(beside) == ["RELAY_NO_PROXY"]
    assert read_settings(without | beside) != read_settings(without)


def test_the_defaults_in_the_table_of_settings_are_the_codes() -> None:
    told_defaults = dict(
        re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| `([^`]+)` \|", page("settings.md"), re.MULTILINE)
    )
    assert len(told_defaults) > 4
    for name, default in told_defaults.items():
        assert read_settings({name: default}) == Settings(), name


@pytest.mark.parametrize("path", by_page(PAGES))
def test_every_setting_that_a_page_shows_is_one_and_can_be_used(path: Path) -> None:
    for block in examples(path.read_text("utf-8"), "sh"):
        shown = dict(re.findall(r"^(RELAY_\w+)='([^']*)'$", block, re.MULTILINE))
        assert shown.keys() <= set(SETTINGS)
        read_settings(shown)


# -- commands ----------------------------------------------------------------------------------------------


def commands() -> list[str]:
    return main.list_commands(click.Context(main))


def test_commands_md_has_every_command_in_their_order_and_no_other() -> None:
    headings = re.findall(r"^## `relay (\w[\w-]*)`$", page("commands.md"), re.MULTILINE)
    assert headings == commands()


@pytest.mark.parametrize("name", commands())
def test_a_commands_section_has_its_options_and_no_other(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {
        spelling
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
        for spelling in option.opts
        if spelling.startswith("--")
    }
    text = section("commands.md", f"`relay {name}`")
    rows = [cell.split()[0] for cell in first_cells(text) if cell.startswith("--")]
    assert sorted(rows) == sorted(options)


@pytest.mark.parametrize("path", by_page(PAGES))
def test_a_page_names_only_commands_that_there_are(path: Path) -> None:
    text = path.read_text("utf-8")
    # In code only: "the relay serves" is no command.
    code = [*re.findall(r"`([^`\n]+)`", text), *examples(text, "sh")]
    calls = re.compile(r"^(?:\S*/)?relay ([a-z][\w-]*)", re.MULTILINE)
    named = {name for each in code for name in calls.findall(each)}
    assert named <= set(commands())


def test_make_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(named) <= targets, path.name
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make run" in readme
    assert "make test" in readme


def test_make_proof_runs_every_suite_that_has_a_long_form() -> None:
    """What is marked for it and not in its list would be run by nobody."""
    made_long = re.compile(r"pytest\.mark\.proof|is_long: bool|each_store_at_length\"")
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    listed = re.search(r"^PROOF +:= \$\(addprefix tests/,(.*)\)$", makefile, re.MULTILINE)
    assert listed
    found = {
        path.relative_to(ROOT / "tests")
        for path in (ROOT / "tests").rglob("test_*.py")
        if made_long.search(path.read_text("utf-8"))
    } - {Path(__file__).relative_to(ROOT / "tests")}
    assert found - {Path(name) for name in re.split(r"[ ,]+", listed[1])} == set()


# -- HTTP and numbers --------------------------------------------------------------------------------------


async def test_http_md_has_every_route_and_no_other(tmp_path: Path) -> None:
    ready = get_ready(settings(tmp_path))
    async with open_relay(ready, load=lambda: ready) as relay:
        routes = {PATH, *(route.path for route in relay.app.others.routes)}
    headings = re.findall(r"^## `\w+ (/\S+?)(?:/\{token\})?`$", page("http.md"), re.MULTILINE)
    assert set(headings) == routes


def test_http_md_has_every_status_of_the_hook_and_no_other() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "relay" / "web").glob("*.py"))
    found = re.findall(r"(?:refusal|Answer)\(\s*(\d{3})(?: if [\w.]+ else (\d{3}))?", sources)
    statuses = {status for pair in found for status in pair if status}
    assert len(statuses) > 8
    rows = re.findall(r"^\| (\d{3}) \|", page("http.md"), re.MULTILINE)
    assert sorted(rows) == sorted(statuses)


async def test_operating_md_has_every_metric_and_every_key_of_readyz(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(missed=True))
        ready = await relay.ask("GET", "/readyz")
        async with relay.client.get(f"{relay.url}/metrics") as answer:
            metrics = await answer.text()
    names = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    tables = first_cells(section("operating.md", "Metrics"))
    assert set(tables) == {name for name in names if not name.endswith("_created")}
    assert first_cells(section("operating.md", "`/readyz`")) == list(ready.json)
    (sample,) = (json.loads(each) for each in examples(page("http.md"), "json") if "broken" in each)
    assert list(sample) == list(ready.json)
    assert sample["rules"].keys() == ready.json["rules"].keys()


# -- servers ----------------------------------------------------------------------------------------------

SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
"""What a bot needs for each method: docs.slack.dev/reference/methods/<method>."""


def test_slack_mds_manifest_asks_for_what_the_calls_need_and_for_nothing_else() -> None:
    sources = (ROOT / "relay" / "transports" / "slack").glob("*.py")
    called = {
        method
        for path in sources
        for method in re.findall(r'"([a-z]+\.[a-zA-Z]+)"', path.read_text("utf-8"))
    }
    optional = {
        "conversations.history",
        "conversations.replies",
    }  # where the bot may not, it does without
    assert called - optional - {"auth.test"} == SCOPES.keys()  # the last asks for no scope
    assert optional <= called
    (manifest,) = (block for block in examples(page("slack.md"), "yaml") if "oauth_config" in block)
    read = yaml.safe_load(manifest)
    assert sorted(read["oauth_config"]["scopes"]["bot"]) == sorted(set(SCOPES.values()))
    # https://docs.slack.dev/reference/app-manifest: a bot's scopes need a bot.
    assert read["features"]["bot_user"]["display_name"]
    assert 0 < len(read["display_information"]["name"]) <= 35


# -- templates ---------------------------------------------------------------------------------------------


def test_templates_md_tells_of_names_and_filters_what_the_code_does() -> None:
    pages = [path.read_text("utf-8") for path in REFERENCE_PAGES]
    assert [renewed(text) for text in pages] == pages, "run make reference"
    marks = [mark for text in pages for mark in re.findall(r"made by make reference: (\w+)", text)]
    assert sorted(marks) == sorted(tables())


def names_in(data: Mapping[str, Plain]) -> set[str]:
    """Every name that stands for something in this data, those of entries too: what NAMES must tell of."""
    found = set(_names_in(data, "")) - {"chat", "visitor"}
    for entry, where in LISTS.items():
        entries = value_of(where, data)
        if isinstance(entries, list):
            found |= {
                f"{entry}.{key}" for each in entries if isinstance(each, dict) for key in each
            }
    return found


def _names_in(data: Mapping[str, Plain], prefix: str) -> Iterator[str]:
    for key, value in data.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict) and key != "variables":
            yield from _names_in(value, f"{prefix}{key}.")


def test_the_reference_has_every_name_that_a_template_can_use_and_no_other() -> None:
    there = names_in(sample_data())
    assert {each.name for each in NAMES} == there
    assert len({each.name for each in NAMES}) == len(NAMES)


def test_every_name_of_the_reference_stands_in_a_mails_body(tmp_path: Path) -> None:
    """A name that is not there breaks the template."""
    by_list = groupby(ENTRIES, key=lambda each: each.name.partition(".")[0])
    source = "".join(f"{{% if {each.name} %}}{{% endif %}}" for each in (*CHAT, *VISITOR, *AROUND))
    for entry, parts in by_list:
        asked = "".join(f"{{% if {each.name} %}}{{% endif %}}" for each in parts)
        source += f"{{% for {entry} in {LISTS[entry]} %}}{asked}{{% endfor %}}"
    write(tmp_path, "chat/body.txt", f"It says: {source}")
    assert Templates(tmp_path, ROOT / "templates").check("chat") == []


def test_the_reference_has_every_filter_with_an_example_and_a_meaning() -> None:
    docs = filter_docs()
    assert sorted(docs) == sorted(EXAMPLES)
    assert tuple(JINJAS) == JINJA_FILTERS
    assert all(docs.values())


def test_the_template_of_ones_own_that_is_shown_can_be_used(tmp_path: Path) -> None:
    text = section("templates.md", "A template of your own")
    shown = re.findall(r"`mytemplates/(\S+?\.\w+)`.*?```jinja\n(.*?)```", text, re.DOTALL)
    assert dict(shown).keys() == {"complaint/subject.txt", "complaint/body.html"}
    for file, source in shown:
        write(tmp_path, file, source)
    templates = Templates(tmp_path, ROOT / "templates")
    assert templates.check("complaint") == []
    assert "complained" in told("complaint", made_up_chats()["badly_rated"], templates).html


def test_the_overrides_that_are_shown_can_be_used(tmp_path: Path) -> None:
    text = section("templates.md", "A layout of your own for Slack or Teams")
    shown = re.findall(r"`mytemplates/(\S+?\.\w+)`:\n\n```json\n(.*?)```", text, re.DOTALL)
    assert dict(shown).keys() == {"missed/slack.json", "missed/teams.json"}
    for file, source in shown:
        write(tmp_path, file, source)
    templates = Templates(tmp_path, ROOT / "templates", finish=OVERRIDES)
    assert templates.check("missed") == []
    said = templates.draft(
        "missed", made_up_chats()["missed"], rule="Any", language="en", zone=ZoneInfo("UTC")
    )
    slack = said.for_transport("slack", bodies=False).override
    teams = said.for_transport("teams", bodies=False).override
    assert slack
    assert teams
    kinds = ["header", "section", "rich_text", "section", "section"]
    assert [fact["title"] for fact in teams["body"][2]["facts"]] == ["Address"]
    assert [block["type"] for block in slack["blocks"]] == kinds
    assert slack["blocks"][4]["text"]["text"] == (
        "<mailto:marta.nowak@example.com|Answer> · "
        "<https://crm.example.com/find?mail=marta.nowak@example.com|Customer>"
    )
    assert teams["body"][1]["inlines"][0]["text"] == "Hi, do you have the green shoes in size 42?"


def test_the_styles_that_are_shown_reach_the_elements(tmp_path: Path) -> None:
    text = section("templates.md", "Styles of your own")
    shown = re.findall(r"`mytemplates/(\S+?\.\w+)`.*?```jinja\n(.*?)```", text, re.DOTALL)
    assert dict(shown).keys() == {"_parts/style.html", "callback/body.html"}
    for file, source in shown:
        write(tmp_path, file, source)
    templates = Templates(tmp_path, ROOT / "templates")
    assert templates.check("callback") == []
    green = told("missed", made_up_chats()["missed"], templates).html
    assert green.count("background-color: #067647 !important") == 2
    html = told("callback", made_up_chats()["missed"], templates).html
    assert '<p class="call" style="color: #067647;font-weight: 700;">' in html
    assert 'class="shop" style="color: #067647 !important;"' in html.replace(
        ' href="https://shop.example.com/"', ""
    )
    assert "@media (max-width: 600px) {.call {font-size: 18px !important}}" in html


def test_the_classes_of_mails_that_are_told_of_are_there() -> None:
    named = first_cells(section("templates.md", "Styles of your own"))
    assert len(named) > 15
    sources = [path.read_text("utf-8") for path in (ROOT / "templates/_parts").glob("*.html")]
    styled = set(re.findall(r"[.]([a-z-]+)[{,]", "".join(sources))) | {
        name
        for found in re.findall(r'class="([^"{]*)"', "".join(sources))
        for name in found.split()
    }
    assert set(named) <= styled


def write(folder: Path, file: str, text: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text, encoding="utf-8")


# -- rules -------------------------------------------------------------------------------------------------


def rules_files() -> list[object]:
    found: list[object] = [
        pytest.param((ROOT / "rules.example.yaml").read_text("utf-8"), id="rules.example.yaml")
    ]
    for path in sorted(set(PAGES) - {DOCS / name for name in CHECKED_ELSEWHERE}):
        blocks = examples(path.read_text("utf-8"), "yaml")
        wanted = [
            block for block in blocks if re.search("^(destinations|rules):", block, re.MULTILINE)
        ]
        found += [
            pytest.param(block, id=f"{path.name}-{number}") for number, block in enumerate(wanted)
        ]
    return found


@pytest.mark.parametrize("text", rules_files())
def test_a_rules_file_that_is_shown_is_read_without_a_warning(text: str) -> None:
    names = Templates(ROOT / "templates").names
    book = read_rules(text.encode(), "shown.yaml", transports=TRANSPORTS, templates=names)
    assert book.rules
    assert book.warnings == ()


# -- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", by_page(PAGES))
def test_every_link_and_picture_of_a_page_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        if file.startswith("https://"):
            continue
        there = path.parent / file if file else path
        assert there.is_file(), target
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    """As GitHub and mkdocs make them of headings."""
    headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_code_names_only_pages_that_there_are() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "relay").rglob("*.py"))
    named = set(re.findall(r"[\w/-]+\.md\b", sources))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_life_of_one_delivery_names_code_and_tables_that_there_are() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    life = text.partition("## The life of one delivery")[2].partition("\n## ")[0]
    steps = [line.strip("| ").split(" | ") for line in life.splitlines() if line.startswith("| ")]
    named = [one for step in steps[1:] for one in re.findall(r"`([\w/]+\.py)` `([\w.]+)`", step[1])]
    assert len(named) >= len(steps)
    for path, name in named:
        module = import_module(f"relay.{path.removesuffix('.py').replace('/', '.')}")
        assert operator.attrgetter(name)(module).__module__ == module.__name__
    tables = {name for step in steps[1:] for name in re.findall(r"`(\w+)`", step[2])}
    not_yet_written = {"mutes", "cases", "case_events"}
    of_people = {
        "users",
        "sessions",
        "tokens",
        "acts",
        "rules_versions",
        "drafts",
        "idempotency_keys",
    }
    assert tables == metadata.tables.keys() - {"relays"} - not_yet_written - of_people


def test_the_rooms_and_the_lives_name_modules_that_there_are() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rooms = text.partition("## Where things live")[2].partition("\n## ")[0]
    firsts = [line.split("|")[1] for line in rooms.splitlines() if line.startswith("| `")]
    lives = text.partition("## Three lives")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/]+)`", " ".join([*firsts, lives]))
    assert len(named) > 80
    package = ROOT / "relay"
    assert [
        name
        for name in named
        if not (package / name).is_dir() and not (package / f"{name}.py").is_file()
    ] == []


def test_every_picture_is_small_and_shown() -> None:
    pages = "".join(path.read_text("utf-8") for path in PAGES)
    pictures = sorted((DOCS / "pictures").glob("*.png"))
    assert len(pictures) >= 4
    for picture in pictures:
        assert f"pictures/{picture.name}" in pages
        assert picture.stat().st_size < 150_000


def test_the_sites_contents_name_every_page() -> None:
    named = set(
        re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    )
    assert named == {path.name for path in DOCS.glob("*.md")}


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", DOCS / "index.md"], ids=lambda path: path.name
)
def test_the_tables_of_contents_lead_to_every_page(path: Path) -> None:
    """But for those that only judges of the code read."""
    linked = set(re.findall(r"^\|.*?$", path.read_text("utf-8"), re.MULTILINE))
    named = {name for row in linked for name in re.findall(r"\]\((?:docs/)?([\w-]+\.md)\)", row)}
    pages = {each.name for each in DOCS.glob("*.md")}
    assert pages - named == {"index.md", "contracts.md", "performance.md"}


# -- tests that pages name -----------------------------------------------------------------------------------


def test_every_test_that_a_page_names_is_one() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    sources += (ROOT / "tests" / "transports" / "contract.py").read_text("utf-8")
    there = set(re.findall(r"^ *(?:async )?def (test_\w+)\(", sources, re.MULTILINE))
    for path in PAGES:
        named = set(re.findall(r"`(test_\w+)`", path.read_text("utf-8")))
        assert named <= there, path.name
    assert len(set(re.findall(r"`(test_\w+)`", page("contracts.md")))) > 150


@pytest.mark.parametrize(("heading", "lines"), [("Mail", 25), ("Slack", 22), ("Teams", 20)])
def test_contracts_md_has_every_line_with_a_test_or_a_reason(heading: str, lines: int) -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", section("contracts.md", heading), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, lines + 1))
    reasons = section("contracts.md", "What is not met, and why")
    for number, row in rows:
        assert "`test_" in row or f"**{heading} {number}: " in reasons, (heading, number)


def test_the_committed_document_of_the_api_is_the_codes() -> None:
    committed = json.loads((DOCS / "openapi.json").read_text("utf-8"))
    assert committed == json.loads(api_document()), "run make reference"
