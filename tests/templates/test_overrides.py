"""A template's own `slack.json` and `teams.json`: whatever a visitor types, the structure is the author's."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Chat, Page
from relay.files import shipped
from relay.notification import Notification
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.template_folders import OVERRIDES as FILES
from relay.rendering.templates import BrokenOverride, BrokenTemplate, Templates
from relay.smartsupp import read_chat
from relay.transports.override import OVERRIDES
from relay.transports.slack.pack import pack, pack_thread
from relay.transports.teams.pack import pack as teams_pack
from tests.transports.examples import HOSTILE, TEXTS
from tests.transports.test_any_visitor import PLACES, hook
from tests.transports.web_bench import texts

SLACK = """
{
  "text": "{{ subject }}{% if visitor.note %} Note: {{ visitor.note }}{% endif %}",
  "blocks": [
    {"type": "header", "text": {"type": "plain_text", "text": "📞 {{ subject }}"}},
    {"type": "section",
     "text": {"type": "mrkdwn", "text": "{% from '_parts/words.txt' import quoted %}<!here> *{{ visitor.called }}* {{ quoted(chat.question) }} {{ 'a' ~ quoted(visitor.note) ~ 'b' }} {{ _('{who} left a message', who=quoted(visitor.note)) }}"},
     "fields": [{"type": "mrkdwn", "text": "*Name*\\n{{ visitor.name|upper }}"}, {"type": "mrkdwn", "text": "*City*\\n{{ visitor.city|upper }}"}]},
    {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": [
      {"type": "text", "text": "{% from '_parts/words.txt' import quoted %}{{ chat.last_words + quoted(visitor.name) }}"},
      {"type": "link", "url": "https://crm.example.com/?q={{ visitor.name }}&n={{ visitor.note }}", "text": "Mail {{ visitor.email }}"}
    ]}]},
    {"type": "section", "text": {"type": "mrkdwn", "text": "<https://crm.example.com/{{ visitor.name }}/{{ visitor.note }}|CRM of {{ visitor.name }}>{% if pages[0].link %} <{{ pages[0].link }}|Page>{% endif %}"}},
    {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Call {{ visitor.name }}"}, "url": "https://crm.example.com/#{{ visitor.email }}"}]},
    {"type": "context", "elements": [{"type": "image", "image_url": "https://shop.example.com/logo.png", "alt_text": "Of {{ visitor.name }}"}]}
  ]
}
"""
TEAMS = """
{
  "type": "AdaptiveCard", "version": "1.3",
  "msteams": {"entities": [{"type": "mention", "text": "<at>Boss</at>", "mentioned": {"id": "boss@example.com", "name": "Boss"}}]},
  "body": [
    {"type": "TextBlock", "text": "<at>Boss</at> **{{ subject }}** [CRM {{ visitor.name }}](https://crm.example.com/)"},
    {"type": "TextBlock", "wrap": false, "text": "Name {{ visitor.name }}"},
    {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "Asked {{ chat.question }}{{ visitor.name }}{{ visitor.note }}"}]},
    {"type": "FactSet", "facts": [{"title": "Note {{ visitor.note }}", "value": "Name {{ visitor.name }}"}]}
  ],
  "actions": [{"type": "Action.OpenUrl", "title": "Open {{ visitor.name }}", "url": "https://crm.example.com/{{ visitor.email }}"}]
}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "chat").mkdir()
    (folder / "chat" / "slack.json").write_text(SLACK, encoding="utf-8")
    (folder / "chat" / "teams.json").write_text(TEAMS, encoding="utf-8")
    return Templates(folder, shipped("templates"), finish=OVERRIDES)


def told(templates: Templates, chat: Chat, transport: str, name: str = "chat") -> Notification:
    return templates.render(
        name,
        chat,
        rule="A rule",
        language="en",
        zone=ZoneInfo("UTC"),
        bodies=False,
        transport=transport,
    )


def skeleton(node: Any) -> Any:
    """Everything but what stands in a text, and the parameters of an address."""
    if isinstance(node, dict):
        return {
            name: re.sub(r"[/?#][^/]*$", "", member[8:]) if name == "url" else
            "" if name in {"text", "title", "value", "alt_text", "fallbackText"} and isinstance(member, str)
            else skeleton(member)
            for name, member in node.items()
        }  # fmt: skip
    return [skeleton(member) for member in node] if isinstance(node, list) else node


def width(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def check_slack(notification: Notification, page_is_linked: bool) -> None:
    post = json.loads(json.dumps(pack(notification)))
    assert (post["unfurl_links"], post["unfurl_media"]) == (False, False)
    assert post.keys() == {"text", "blocks", "unfurl_links", "unfurl_media"}
    assert 1 <= width(post["text"]) <= 3_000
    header, lead, quote, links, actions, _ = post["blocks"]
    assert width(header["text"]["text"]) <= 150
    assert width(actions["elements"][0]["text"]["text"]) <= 75
    assert width(lead["text"]["text"]) <= 3_000
    assert all(width(field["text"]) <= 2_000 for field in lead["fields"])
    assert sum(width(text) for text in texts(post["blocks"])) <= 13_000
    assert all(texts(block) and "" not in texts(block) for block in post["blocks"])
    mrkdwn = [post["text"], header["text"]["text"], *(field["text"] for field in lead["fields"])]
    assert not re.search("[<>]|&(?!amp;|lt;|gt;)", "".join(mrkdwn))
    assert re.findall("<[^>]*>", lead["text"]["text"]) == ["<!here>"]
    crm = r"<https://crm\.example\.com/[^\s|<>/?#&]*/[^\s|<>/?#&]*\|CRM of [^<>]*>"
    page = r" <https?://[^\s|<>]*\|Page>" if page_is_linked else ""
    assert re.fullmatch(crm + page, links["text"]["text"])
    link = quote["elements"][0]["elements"][1]["url"]
    assert re.fullmatch(r"https://crm\.example\.com/\?q=[^\s&#|<>]*&n=[^\s&#|<>]*", link)
    assert not re.search("[\ud800-\udfff\u202e\x00]", "".join(texts(post)))
    assert lead["text"]["verbatim"] is links["text"]["verbatim"] is True


def check_teams(notification: Notification) -> None:
    raw = teams_pack(notification)
    assert len(raw) <= 18 * 1024
    post = json.loads(raw)
    card = post["attachments"][0]["content"]
    assert (card["version"], card["fallbackText"]) == ("1.3", post["summary"])
    assert card["msteams"]["width"] == "Full"
    assert len(card["msteams"]["entities"]) == 1
    title, name, run, facts = card["body"]
    assert (title["wrap"], name["wrap"]) == (True, False)
    assert title["text"].startswith("<at>Boss</at> **")
    markdown = [title["text"].removeprefix("<at>Boss</at>"), name["text"]]
    markdown += [
        facts["facts"][0]["title"],
        facts["facts"][0]["value"],
        card["actions"][0]["title"],
    ]
    assert len(re.findall(r"\]\(", "".join(markdown))) == 1
    assert not re.search(r"[*_`<>\\]", re.sub(r"\*\*|\(https://[^\s()]*\)", "", "".join(markdown)))
    shown = "".join(markdown) + run["inlines"][0]["text"] + card["fallbackText"]
    assert not re.search(r"\{\{|</?at\b", shown)
    assert all("\n" not in text for text in markdown)


def test_an_override_takes_the_place_of_the_packed_post(own: Templates) -> None:
    chat = made_up_chats()["missed"]
    slack = told(own, chat, "slack")
    check_slack(slack, page_is_linked=True)
    called = pack(slack, mention="channel")
    assert called["blocks"][1]["text"]["text"] == "<!channel>"
    assert called["text"].startswith("<!channel> Missed chat: Marta Nowak")
    assert pack_thread(slack).lead == pack(slack)
    assert pack_thread(slack).replies
    assert slack.override
    assert slack.override["blocks"][1]["fields"][1]["text"] == "*City*\nKRAKÓW"
    check_teams(told(own, chat, "teams"))


def test_only_the_transport_that_has_one_carries_it(own: Templates) -> None:
    assert told(own, made_up_chats()["missed"], "email").override is None
    assert told(own, made_up_chats()["missed"], "slack").short().override is None


def test_the_short_form_is_without_it(own: Templates) -> None:
    assert "blocks" not in pack(told(own, made_up_chats()["missed"], "slack").short())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_every_field_leaves_the_authors_structure(
    own: Templates, text: str
) -> None:
    any_text(own, dict.fromkeys(PLACES, text))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.fixed_dictionaries(dict.fromkeys(PLACES, TEXTS)))
def test_any_text_in_every_field_leaves_the_authors_structure(
    own: Templates, text: dict[str, str]
) -> None:
    any_text(own, text)


PIECES = st.lists(
    st.sampled_from(
        ["<", ">", "|", "&", "{", "{{", "}}", "at>", "/at>", "<at>", "DATE(1)", "!here", "@U1", "(", ")", "[", "]",
         "](", "\\", '"', "\\u003c", "\n", "\ue000", "0", "\ue001", "\ue0020:1\ue003", "https://evil.example", "#",
         "\\ue0000\\ue001", "*", "_", "`", "- ", "&lt;", ",", ":", "}", " ", "x"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(text={**dict.fromkeys(PLACES, ""), "title": "x#\ue000"})
@given(text=st.fixed_dictionaries(dict.fromkeys(PLACES, PIECES)))
def test_pieces_of_markup_and_marks_in_every_field_come_together_to_nothing(
    own: Templates, text: dict[str, str]
) -> None:
    any_text(own, text)


def any_text(own: Templates, text: dict[str, str]) -> None:
    chat = read_chat(hook(text))
    plain = read_chat(hook(dict.fromkeys(PLACES, "x")))
    slack, teams = told(own, chat, "slack"), told(own, chat, "teams")
    assert skeleton(slack.override) == skeleton(told(own, plain, "slack").override)
    assert skeleton(teams.override) == skeleton(told(own, plain, "teams").override)
    assert slack.override
    check_slack(slack, page_is_linked="|Page>" in slack.override["blocks"][3]["text"]["text"])
    check_teams(teams)


BLOCK = '{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}'
CARD = '{"type": "AdaptiveCard", "body": [%s]}'


def of_text(text: str) -> str:
    return '{"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "' + text + '"}}]}'


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("slack.json", '{\n"blocks": [\n{{ visitor.name }}]}', "is not JSON: Expecting property name enclosed in double quotes: line 3"),
        ("slack.json", "", "is not JSON"),
        ("slack.json", "[]", "is not a JSON object"),
        ("slack.json", '{"blocks": ["{{ visitor.called }}"]}', "blocks[0]: a value can't stand in a list"),
        ("slack.json", '{"blocks": [{"type": "{{ visitor.called }}"}]}', "blocks[0].type: a value can't be used here"),
        ("slack.json", '{"blocks": [],\n"text": "\\ud800"}', "a text holds U+D800, which is not a character"),
        ("teams.json", '{"body": [],\n"x\\u0000": "y"}', "a text holds U+0000"),
        ("slack.json", '{"blocks": []}', 'needs "blocks"'),
        ("slack.json", '{"channel": "C1", "blocks": [' + BLOCK + "]}", '"channel" can\'t be used here'),
        ("slack.json", '{"link_names": true, "blocks": [' + BLOCK + "]}", '"link_names" can\'t be used here'),
        ("slack.json", '{"blocks": [' + ",".join([BLOCK] * 51) + "]}", "a list of 1 to 50"),
        ("slack.json", '{"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "' + "x" * 151 + '"}}]}', "blocks[0]: a text of a header has 151 characters; 150 fit"),
        ("slack.json", of_text("x" * 3_001), "blocks[0]: a text of a section has 3,001"),
        ("slack.json", '{"blocks": [' + ",".join([of_text("x" * 2_900)[12:-2]] * 4) + "]}", "11,600 characters are shown; 10,000 fit"),
        ("slack.json", '{"blocks": [{"type": "input"}]}', 'blocks[0]: needs a "type", of a block for messages'),
        ("slack.json", of_text("<@{{ visitor.name }}>"), "blocks[0].text.text: a value can't decide who is mentioned"),
        ("slack.json", of_text("<!subteam^{{ visitor.name }}>"), "a value can't decide who is mentioned"),
        ("slack.json", of_text("<{{ visitor.name }}|x>"), "not an address to link to"),
        ("slack.json", of_text("<https://{{ visitor.name }}.example/|x>"), "and its host"),
        ("slack.json", '{"blocks": [{"type": "markdown", "text": "{{ visitor.name }}"}]}', "blocks[0].text: a value can't be used here"),
        ("slack.json", '{"blocks": [{"type": "section", "block_id": "{{ chat.id }}", "text": {"type": "mrkdwn", "text": "x"}}]}', "blocks[0].block_id: a value can't be used here"),
        ("slack.json", of_text("{{ vistor.name }}"), "blocks[0].text.text: there is nothing called 'vistor' here"),
        ("slack.json", of_text("{% if %}"), "blocks[0].text.text: "),
        ("slack.json", of_text("{{ visitor.name|breaks }}"), "there is no filter called 'breaks'"),
        ("slack.json", '{"a":' * 3_000, "nested too deep"),
        ("teams.json", '{"type": "message", "attachments": []}', "the relay makes the message"),
        ("teams.json", '{"type": "AdaptiveCard", "body": []}', 'a "body"'),
        ("teams.json", '{"type": "AdaptiveCard", "version": "1.5", "body": [{"type": "TextBlock", "text": "x"}]}', "newer than 1.4"),
        ("teams.json", CARD % '{"type": "Table"}', "a Table is newer"),
        ("teams.json", CARD % '{"type": "ActionSet", "actions": [{"type": "Action.OpenUrl", "url": "http://a.example"}]}', "begins with https://"),
        ("teams.json", CARD % '{"type": "TextBlock", "text": "<at>{{ visitor.name }}</at>"}', "body[0].text: a value can't decide who is mentioned"),
        ("teams.json", CARD % '{"type": "TextBlock", "text": "[x](https://{{ visitor.name }})"}', "or where a link leads"),
        ("teams.json", '{"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "x"}],\n"msteams": {"entities": [{"type": "mention", "text": "<at>{{ visitor.name }}</at>"}]}}', "msteams.entities[0].text: a value can't be used here"),
        ("teams.json", CARD % ('{"type": "TextBlock", "text": "' + "x" * 20_000 + '"}'), "a flow hands on 18,432"),
    ],
)  # fmt: skip
def test_a_broken_override_is_named_with_file_place_and_reason(
    tmp_path: Path, file: str, source: str, words: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / file).write_text(source, encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    problems = set(broken(templates, file.removesuffix(".json")))
    place = f"{tmp_path / 'mine' / file}: "
    assert any(problem.startswith(place) and words in problem for problem in problems), problems


def broken(templates: Templates, transport: str) -> Iterator[str]:
    """As `Templates.check` finds it, in one language and without the mail."""
    for chat in made_up_chats().values():
        try:
            told(templates, chat, transport, name="mine")
        except BrokenTemplate as problem:
            yield str(problem)


def test_check_names_what_is_wrong_with_overrides_too(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for file in FILES:
        (tmp_path / "mine" / file).write_text("\n{{ chat.id }}", encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    what = (
        "is not JSON: Expecting property name enclosed in double quotes: line 2 column 2 (char 2)"
    )
    assert templates.check("mine") == [f"{tmp_path}/mine/{file}: {what}" for file in FILES]


def test_a_broken_override_leaves_the_words_whole(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "slack.json").write_text("{", encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    with pytest.raises(BrokenOverride) as problem:
        told(templates, made_up_chats()["missed"], "slack")
    whole = told(templates, made_up_chats()["missed"], "")
    assert problem.value.notification == whole
    assert pack(problem.value.notification)["blocks"]


@pytest.mark.parametrize(
    "source",
    [
        "{% filter cut(200) %}{{ visitor.name }}{% endfilter %}",
        "{% set x | cut(200) %}{{ visitor.name }}{% endset %}{{ x }}",
    ],
)
@pytest.mark.parametrize("file", ["body.html", "slack.json"])
def test_a_filter_around_a_block_is_refused_as_it_would_undo_the_escaping(
    tmp_path: Path, file: str, source: str
) -> None:
    (tmp_path / "mine").mkdir()
    written = of_text(source) if file == "slack.json" else source
    (tmp_path / "mine" / file).write_text(written, encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    assert "is not allowed" in templates.check("mine")[0]


def test_an_authors_sign_and_a_visitors_word_do_not_make_a_mention_together(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    card = (
        CARD
        % '{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "<{{ visitor.name }}"}]}'
    )
    (tmp_path / "chat" / "teams.json").write_text(card, encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    chat = read_chat(hook({**dict.fromkeys(PLACES, "x"), "name": "at>Boss</at>"}))
    own = told(templates, chat, "teams").override
    assert own
    assert own["body"][0]["inlines"][0]["text"] == "<\u200bat>Boss<\u200b/at>"


@pytest.mark.parametrize("address", ["", "javascript:alert(1)", "https://a b/"])
def test_what_comes_out_empty_is_left_out(tmp_path: Path, address: str) -> None:
    (tmp_path / "chat").mkdir()
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": "{% if visitor.note %}Note: {{ visitor.note }}{% endif %}"}},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Page"}, "url": "{{ pages[0].url }}"}]},
        {"type": "section", "text": {"type": "mrkdwn", "text": "{% for fact in facts %}*{{ fact.label }}*: {{ fact.value }}\n{% endfor %}"}},
    ]  # fmt: skip
    (tmp_path / "chat" / "slack.json").write_text(json.dumps({"blocks": blocks}), encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    wire = hook({**dict.fromkeys(PLACES, "x"), "note": "", "label": "Plan", "said": "gold <b>"})
    chat = replace(read_chat(wire), pages=(Page(url=address),))
    own = told(templates, chat, "slack").override
    assert own
    (only,) = own["blocks"]
    assert "*Plan*: gold &lt;b&gt;" in only["text"]["text"].split("\n")


def test_a_row_whose_cells_are_all_empty_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    notes, names = "{{ visitor.note }}", "{{ visitor.name }}"
    cells = [[{"type": "raw_text", "text": text}] for text in (notes, names)]
    blocks = {"blocks": [{"type": "table", "rows": cells}]}
    (tmp_path / "chat" / "slack.json").write_text(json.dumps(blocks), encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
    chat = read_chat(hook({**dict.fromkeys(PLACES, "x"), "note": "", "name": "Marta"}))
    own = told(templates, chat, "slack").override
    assert own
    assert own["blocks"][0]["rows"] == [[{"type": "raw_text", "text": "Marta"}]]


def test_long_values_are_cut_until_all_fits(own: Templates) -> None:
    chat = read_chat(hook(dict.fromkeys(PLACES, "<&> " * 900)))
    check_slack(told(own, chat, "slack"), page_is_linked=False)
    check_teams(told(own, chat, "teams"))


def test_values_from_right_to_left_are_set_off_and_not_in_addresses(own: Templates) -> None:
    made = told(own, read_chat(hook({**dict.fromkeys(PLACES, "x"), "name": "נועה"})), "slack")
    assert made.override
    (_, lead, quote, links, *_) = made.override["blocks"]
    assert "*\u2068נועה\u2069*" in lead["text"]["text"]
    address = "%D7%A0%D7%95%D7%A2%D7%94"
    assert quote["elements"][0]["elements"][1]["url"].startswith(
        f"https://crm.example.com/?q={address}&"
    )
    assert links["text"]["text"].startswith(
        f"<https://crm.example.com/{address}/x|CRM of \u2068נועה\u2069>"
    )
