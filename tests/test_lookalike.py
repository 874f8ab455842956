# ruff: noqa: SIM905 - words in a row; as a list, one a line, they would fill a page
"""What a mail, a Slack post and a Teams card look like, on good input, on hostile text and on junk."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.preview.lookalike.mail_inbox import inbox_words, page_height
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.rendering.made_up_chats import made_up_chats
from tests.chromium import chromium, photograph
from tests.demo.reading import Page
from tests.templates.reading import told

Json = dict[str, Any]


def slack_text(text: str, **options: object) -> str:
    """How Slack would show one mrkdwn section; the HTML inside it."""
    block = {"type": "section", "text": {"type": "mrkdwn", "text": text, **options}}
    html = slack_post_html({"blocks": [block]})
    return html.partition('<div class="text">')[2].partition("</div></div></div>")[0]


def rich(*elements: Json) -> str:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return slack_post_html({"blocks": [{"type": "rich_text", "elements": [section]}]})


def card(*body: object, **rest: object) -> str:
    content = {"type": "AdaptiveCard", "version": "1.4", "body": list(body), **rest}
    return teams_card_html({"type": "message", "attachments": [{"content": content}]})


def card_text(text: str) -> str:
    html = card({"type": "TextBlock", "text": text, "wrap": True})
    return html.partition('<div class="wrap ">')[2].partition("</div>")[0]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("*bold* _it_ ~gone~ `code`", "<b>bold</b> <i>it</i> <s>gone</s> <code>code</code>"),
        ("*all of _it_*", "<b>all of <i>it</i></b>"),
        ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
        ("* not bold *", "* not bold *"),
        ("`*not* _styled_`", "<code>*not* _styled_</code>"),
        ("one\ntwo", "one<br>two"),
        ("&lt;b&gt; &amp;amp; &quot; &#39;", "&lt;b&gt; &amp;amp; &amp;quot; &amp;#39;"),
        ("&amp;lt;!here&amp;gt;", "&amp;lt;!here&amp;gt;"),
        ("&gt; quoted\nnot", "<blockquote>quoted</blockquote>not"),
        ("```x *y*\nz```", "<pre>x *y*\nz</pre>"),
        (
            "<!here> <!channel>",
            '<span class="mention">@here</span> <span class="mention">@channel</span>',
        ),
        (
            "<@U12> <#C1|sales>",
            '<span class="mention">@U12</span> <span class="mention">#sales</span>',
        ),
        (
            "<!subteam^S1|@night> <!subteam^S2>",
            '<span class="mention">@night</span> <span class="mention">@S2</span>',
        ),
        (":wave: :no-such-one:", '<span class="emoji" title=":wave:">👋</span> :no-such-one:'),
        ("at 12:30:45", "at 12:30:45"),
        ("a \ufffc b :x:", 'a \ufffc b <span class="emoji" title=":x:">❌</span>'),
        ("<javascript:alert(1)|click>", "&lt;javascript:alert(1)|click&gt;"),
        ("<>", "&lt;&gt;"),
    ],
)
def test_slack_mark_up_shows_as_slack_shows_it(source: str, shown: str) -> None:
    assert slack_text(source) == shown


def test_a_slack_link_shows_its_label_and_leads_to_its_address() -> None:
    page = Page(slack_text("<https://shop.example/?a=1&amp;b=2|Green &amp; *blue*>"))
    assert page.all("a")[0]["href"] == "https://shop.example/?a=1&b=2"
    assert page.words == "Green & *blue*"


def test_a_bare_address_becomes_a_link_unless_the_text_is_verbatim() -> None:
    assert Page(slack_text("see https://shop.example/a_b_c, please")).all("a")[0]["href"] == (
        "https://shop.example/a_b_c"
    )
    assert Page(slack_text("see https://shop.example", verbatim=True)).all("a") == []


def test_slack_text_is_shown_only_where_there_are_no_blocks() -> None:
    divider = {"type": "divider"}
    assert "the toast" in Page(slack_post_html({"text": "the toast"})).words
    assert (
        "the toast" not in Page(slack_post_html({"text": "the toast", "blocks": [divider]})).words
    )


def test_every_slack_block_that_an_alert_may_have_is_shown() -> None:
    html = slack_post_html(
        {
            "username": "Night watch",
            "blocks": [
                {
                    "type": "header",
                    "text": {"type": "plain_text", "text": ":bell: *Head* &amp; <b>"},
                },
                {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Plan*\nbasic"}]},
                {
                    "type": "context",
                    "elements": [{"type": "mrkdwn", "text": "small"}, {"type": "image"}],
                },
                {"type": "divider"},
                {
                    "type": "actions",
                    "elements": [
                        {
                            "type": "button",
                            "text": {"type": "plain_text", "text": "Open"},
                            "url": "https://x.example",
                        },
                        {"type": "static_select"},
                    ],
                },
                {"type": "image", "alt_text": "a shoe", "image_url": "https://x.example/shoe.png"},
                {"type": "markdown", "text": "# as it is"},
                {"type": "table", "rows": []},
            ],
            "attachments": [
                {"color": "#E01E5A", "text": "in the bar"},
                {"color": "good", "blocks": [{}]},
            ],
        },
        time="14:05",
    )
    page = Page(html)
    for words in [
        "Night watch",
        "14:05",
        "🔔 *Head* & <b>",
        "Plan",
        "small",
        "Open",
        "image: a shoe",
        "# as it is",
    ]:
        assert words in page.words
    assert [bar["fill"] for bar in page.all("rect")] == ["#E01E5A", "#2eb67d"]
    assert "unknown element: table" in page.words
    assert "unknown element: static_select" in page.words
    assert "unknown element: without a type" in page.words
    assert page.dangers() == []
    assert "shoe.png" not in html


def test_rich_text_is_styled_by_its_pieces_and_never_parsed() -> None:
    html = rich(
        {"type": "text", "text": "*raw* <!here> &lt;\n", "style": {"bold": True, "code": True}},
        {"type": "link", "url": "https://x.example/"},
        {"type": "link", "url": "javascript:alert(1)", "text": "no link"},
        {"type": "emoji", "name": "wave", "unicode": "1f44b-1f3fd"},
        {"type": "emoji", "name": "no-such"},
        {"type": "user", "user_id": "U1"},
        {"type": "broadcast", "range": "channel"},
        {"type": "date", "timestamp": 0},
        {"type": "surprise"},
    )
    page = Page(html)
    assert "<code><b>*raw* &lt;!here&gt; &amp;lt;<br></b></code>" in html
    assert [anchor["href"] for anchor in page.all("a")] == ["https://x.example/"]
    for words in [
        "no link",
        "👋🏽",
        ":no-such:",
        "@U1",
        "@channel",
        "01 Jan 1970",
        "unknown element: surprise",
    ]:
        assert words in page.words


def test_rich_text_lists_quotes_and_code_keep_their_form() -> None:
    said = [{"type": "text", "text": "said"}]
    item = {"type": "rich_text_section", "elements": said}
    html = slack_post_html(
        {
            "blocks": [
                {
                    "type": "rich_text",
                    "elements": [
                        {
                            "type": "rich_text_list",
                            "style": "ordered",
                            "indent": 1,
                            "elements": [item],
                        },
                        {"type": "rich_text_quote", "elements": said},
                        {"type": "rich_text_preformatted", "elements": said},
                    ],
                }
            ]
        }
    )
    assert "<ul><ol><li>said</li></ol></ul>" in html
    assert "<blockquote>said</blockquote><pre>said</pre>" in html


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "**bold** and _it_, *it* and __bold__",
            "<p><b>bold</b> and <i>it</i>, <i>it</i> and <b>bold</b></p>",
        ),
        ("**all *of* it**", "<p><b>all <i>of</i> it</b></p>"),
        ("snake_case_name", "<p>snake_case_name</p>"),
        ("one\ntwo\n\nthree", "<p>one two</p><p>three</p>"),
        ("one\rtwo", "<p>one</p><p>two</p>"),
        ("- a\n- **b**\n1. c", "<ul><li>a</li><li><b>b</b></li></ul><ol><li>c</li></ol>"),
        ("# no heading > no quote `no code`", "<p># no heading &gt; no quote `no code`</p>"),
        (r"\*as typed\* \[a\](b)", "<p>*as typed* [a](b)</p>"),
        ("&lt;b&gt; &amp; <b>", "<p>&lt;b&gt; &amp; &lt;b&gt;</p>"),
        ("[bad](javascript:alert(1))", "<p>[bad](javascript:alert(1))</p>"),
        ("[bad](javascript:x)", "<p>bad</p>"),
        ("a \ufffc b", "<p>a \ufffc b</p>"),
    ],
)
def test_card_text_shows_as_teams_shows_it(source: str, shown: str) -> None:
    assert card_text(source) == shown


def test_a_link_in_a_card_shows_its_label_and_leads_to_its_address() -> None:
    page = Page(card_text("[the **shop**](https://shop.example/?a=1&b=2)"))
    assert page.all("a")[0]["href"] == "https://shop.example/?a=1&b=2"
    assert page.words == "the shop"


def test_every_card_element_that_an_alert_may_have_is_shown() -> None:
    column = {"type": "Column", "width": 2, "items": [{"type": "TextBlock", "text": "in a column"}]}
    html = card(
        {
            "type": "Container",
            "style": "Attention",
            "bleed": True,
            "items": [
                {
                    "type": "TextBlock",
                    "text": "Bad",
                    "weight": "Bolder",
                    "color": "attention",
                    "wrap": True,
                }
            ],
        },
        {"type": "FactSet", "facts": [{"title": "Rating", "value": "1 of **5**"}]},
        {
            "type": "ColumnSet",
            "columns": [column, {"type": "Column", "width": "auto", "isVisible": False}],
        },
        {"type": "CodeBlock", "codeSnippet": "x < 1"},
        {"type": "Image", "url": "https://x.example/shoe.png"},
        {"type": "TextBlock", "text": "out of sight", "isVisible": False},
        {"type": "Media"},
        actions=[
            {"type": "Action.OpenUrl", "title": "Open chat", "url": "https://relay.example/1"},
            {"type": "Action.ToggleVisibility", "title": "More"},
        ],
        msteams={"width": "Full"},
    )
    page = Page(html)
    classes = " ".join(attributes.get("class", "") for _, attributes in page.elements).split()
    for name in ["style-attention", "bleed", "bolder", "color-attention", "weight-2", "full"]:
        assert name in classes
    for words in [
        "Bad",
        "Rating",
        "1 of 5",
        "in a column",
        "x < 1",
        "Open chat",
        "More",
        "unknown element: Media",
    ]:
        assert words in page.words
    assert "out of sight" not in page.words
    assert [anchor["href"] for anchor in page.all("a")] == ["https://relay.example/1"]
    assert page.dangers() == []
    assert "shoe.png" not in html


def test_a_text_run_is_shown_as_it_is() -> None:
    run = {
        "type": "TextRun",
        "text": "**raw** [a](http://evil.example) <at>CEO</at>\n",
        "italic": True,
    }
    html = card({"type": "RichTextBlock", "inlines": ["plain ", run]})
    page = Page(html)
    assert "plain **raw** [a](http://evil.example) <at>CEO</at>" in page.words
    assert page.all("a") == []
    assert '<span class="italic">' in html


def test_a_mention_is_one_only_where_the_card_resolves_it() -> None:
    entity = {"type": "mention", "text": "<at>Jana</at>", "mentioned": {"id": "1", "name": "Jana"}}
    html = card(
        {"type": "TextBlock", "text": "<at>Jana</at> and <at>CEO</at>"},
        msteams={"entities": [entity]},
    )
    assert '<span class="at">Jana</span>' in html
    assert '<span class="at">CEO</span>' not in html
    assert "CEO" in html


def test_a_message_without_a_card_says_so() -> None:
    assert "unknown element: MessageCard" in Page(teams_card_html({"type": "MessageCard"})).words


def test_a_card_nested_without_end_is_cut_off() -> None:
    innermost: Json = {"type": "TextBlock", "text": "deep"}
    for _ in range(300):
        innermost = {"type": "Container", "items": [innermost]}
    page = Page(card(innermost))
    assert "deep" not in page.words
    assert "unknown element: Container" in page.words


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</pre></div></div><style>*{display:none}</style>",
    '<https://x.example/" onclick="alert(1)|*a*>',
    '[a](https://x.example/"onclick="alert`1`)',
    "<javascript:alert(1)|x> <data:text/html,x|y> < javascript:alert(1)|z>",
    "*<b>_&lt;i&gt;_*",
    "&#60;script&#62;",
    "\ufffc\ufffc*\ufffc*",
    "\ud83d \x00 \u202e",
    "<https://[::1|x>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_nothing_anywhere(text: str) -> None:
    everywhere = {
        "type": text,
        "style": text,
        "width": text,
        "color": text,
        "text": text,
        "url": text,
        "title": text,
    }
    block = {
        "type": "section",
        "text": {"type": "mrkdwn", "text": text},
        "accessory": {**everywhere, "type": "button"},
    }
    post = slack_post_html(
        {"blocks": [everywhere, block], "attachments": [everywhere], "username": text}
    )
    shown = card(
        everywhere,
        {**everywhere, "type": "TextBlock"},
        actions=[{**everywhere, "type": "Action.OpenUrl"}],
    )
    assert Page(post + shown + rich({**everywhere, "type": "link"})).dangers() == []


KEYS = st.sampled_from(
    "type text blocks elements fields style items body columns inlines facts actions "
    "attachments content title value url accessory indent timestamp unicode name width "
    "color msteams entities mentioned selectAction weight".split()
)
KINDS = st.sampled_from(
    "header section context divider rich_text rich_text_section rich_text_list "
    "rich_text_quote actions button image link emoji date user text mrkdwn plain_text "
    "TextBlock RichTextBlock TextRun FactSet Container ColumnSet Column ActionSet "
    "Action.OpenUrl AdaptiveCard message mention CodeBlock Image".split()
)
TEXTS = st.one_of(
    KINDS, st.text(), st.text("*_~`<>|&;:[]()\\!@#- \nab\ufffc"), st.sampled_from(HOSTILE)
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)


@given(st.dictionaries(KEYS, JUNK, max_size=8))
def test_no_json_breaks_a_look_alike_or_gets_out_of_it(message: Json) -> None:
    for html in (
        slack_post_html(message),
        teams_card_html(message),
        card(message, actions=[message]),
    ):
        assert Page(html).dangers() == []
        assert html.count("<div") == html.count("</div>")


@given(st.text("*_~`<>|&;:[]()\\!@#-. \nab\ufffchtps/"))
def test_no_text_loses_a_word_in_slack_or_in_a_card(text: str) -> None:
    """Marks may go, letters may not: who reads the look-alike must not miss what was said."""
    for html in (
        rich({"type": "text", "text": text}),
        card({"type": "RichTextBlock", "inlines": [text]}),
    ):
        assert text.replace("\n", "") in Page(html).words


@pytest.mark.parametrize(
    "unit", ["*a ", "_", "`", "<", "[a", "**", "http://", ":a", "&gt;", "- a\n", "<at>", "*_~"]
)
def test_a_long_hostile_text_takes_time_in_proportion(unit: str) -> None:
    """200,000 characters: a quadratic pattern would run into the test's time limit."""
    text = unit * (200_000 // len(unit))
    assert slack_post_html({"text": text})
    assert card({"type": "TextBlock", "text": text})


@pytest.mark.parametrize(("css", "scope"), [(SLACK_CSS, ".slack-post"), (TEAMS_CSS, ".teams-card")])
def test_the_styles_stay_with_their_class(css: str, scope: str) -> None:
    rules = re.findall(r"([^{}]+)\{", re.sub(r"@media[^{]+\{", "", css))
    selectors = [selector.strip() for rule in rules for selector in rule.split(",")]
    assert len(selectors) > 20
    assert [selector for selector in selectors if not selector.startswith(scope)] == []
    assert "http" not in css
    assert "url(" not in css


def test_what_is_shown_survives_json_and_back() -> None:
    message = {"text": "<!here> :wave:", "blocks": []}
    assert slack_post_html(json.loads(json.dumps(message))) == slack_post_html(message)


@pytest.mark.skipif(not chromium(), reason="Chromium is not installed")
@pytest.mark.parametrize(
    ("template", "kind"), [("missed", "missed"), ("offline", "offline"), ("chat", "hostile")]
)
@pytest.mark.parametrize("width", [375, 640])
def test_a_mails_height_is_about_that_in_a_browser(
    template: str, kind: str, width: int, tmp_path: Path
) -> None:
    html = told(template, made_up_chats()[kind]).html
    measured, _ = photograph(chromium() or "", html, tmp_path / "mail.png", width=width)
    assert 0.93 * measured.height < page_height(html, width) < 1.2 * measured.height


@given(html=st.text('<>/"= ptdrhsyle\N{COMBINING GRAPHEME JOINER}', max_size=300))
def test_any_page_has_a_height_and_first_words(html: str) -> None:
    assert page_height(html, 375) >= 0
    assert len(inbox_words(html, 20)) <= 20


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<title>A</title><style>b{}</style><body><p>One</p>two &amp; three", "One two & three"),
        ('<div style="display:none">Seen&#847; &#847;</div><p>Not seen</p>', "Seen"),
        (f"<p>{'x' * 200}", "x" * 109 + "…"),
        ("", ""),
    ],
)
def test_an_inbox_shows_a_mails_first_words(html: str, words: str) -> None:
    assert inbox_words(html) == words
