"""Outlook on Windows lays mails out as Word does: what Word's engine passes by, no mail hangs on."""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from relay.chat import Author
from relay.languages import LANGUAGES
from relay.rendering.made_up_chats import made_up_chats
from tests.templates.reading import a_talk, every_template, told

VOID = {"meta", "br"}
PASSED_BY = {"position", "float", "flex", "grid", "gap", "background", "background-image"}
"""Properties that Word knows nothing of."""
ROOM = {"cellpadding": "0", "cellspacing": "0", "border": "0"}


@dataclass(frozen=True)
class Element:
    tag: str
    attributes: dict[str, str]
    around: tuple["Element", ...]
    """Those that it stands in, the nearest last."""

    @property
    def style(self) -> dict[str, str]:
        declared = (one.partition(":") for one in self.attributes.get("style", "").split(";"))
        return {name.strip(): value.strip() for name, _, value in declared if value}


class Layout(HTMLParser):
    """All elements of a mail. Raises AssertionError where they are not closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.for_word: list[str] = []
        """What Word alone reads."""
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append(Element(tag, attributes, tuple(self._open)))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_comment(self, data: str) -> None:
        self.for_word.append(data)


def wrong_in_word(element: Element) -> Iterator[str]:
    tag, style = element.tag, element.style
    parent = element.around[-1].attributes if element.around else {}
    yield from PASSED_BY & set(style)
    if style.get("display") in {"flex", "grid", "inline-flex", "inline-grid", "table"}:
        yield "a layout without a table"
    if tag == "table" and not ROOM.items() <= element.attributes.items():
        yield "a table with room of its own"
    if tag in {"table", "td", "th"} and any(name.startswith("margin") for name in style):
        yield "a margin of a table"
    if any(name.startswith("padding") for name in style):
        padded = tag in {"td", "th", "body"} or (
            tag == "a" and "mso-padding-alt" in parent["style"]
        )
        yield from [] if padded else ["a padding beside a cell"]
    if (colour := style.get("background-color")) and tag != "body":
        said = element.attributes if tag in {"table", "td"} else parent
        yield from [] if said.get("bgcolor") == colour else ["a colour that only a style has"]
    if "height" in style and style.get("mso-line-height-rule") != "exactly":
        yield "a height that Word stretches"
    if style.get("max-width", "").endswith("px") and element.attributes.get("class") != "card":
        yield "a width that Word does not end"


@every_template
@pytest.mark.parametrize("kind", made_up_chats())
def test_nothing_of_a_mail_hangs_on_what_words_engine_passes_by(name: str, kind: str) -> None:
    layout = Layout(told(name, made_up_chats()[kind]).html)
    assert [(one.tag, one.attributes, list(wrong_in_word(one))) for one in layout.elements if any(wrong_in_word(one))] == []  # fmt: skip
    # Word would make the card as wide as the window.
    assert any(
        'width="600"' in said and said.startswith("[if mso]><table") for said in layout.for_word
    )
    assert sum("<table" in said for said in layout.for_word) == 1
    assert sum("</table>" in said for said in layout.for_word) == 1


@every_template
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_is_read_out_as_one_article_in_its_language(name: str, language: str) -> None:
    """Gmail and others drop the html element, and with it what it says of the language."""
    notification = told(name, made_up_chats()["missed"], language=language)
    (article,) = [one for one in Layout(notification.html).elements if "aria-label" in one.attributes]  # fmt: skip
    assert [above.tag for above in article.around] == ["html", "body"]
    assert article.attributes == {
        "role": "article",
        "aria-roledescription": "email",
        "aria-label": notification.subject,
        "lang": language,
        "dir": "ltr",
    }


@every_template
def test_facts_are_a_table_whose_labels_head_its_rows_and_all_else_is_layout(name: str) -> None:
    elements = Layout(told(name, made_up_chats()["vip"]).html).elements
    heads = [one for one in elements if one.tag == "th"]
    assert len(heads) >= 6
    assert all(one.attributes["scope"] == "row" for one in heads)
    assert {one.around[-2].attributes.get("role") for one in heads} == {None}
    tables = [one for one in elements if one.tag == "table" and "role" not in one.attributes]
    assert len(tables) == 1
    roles = {one.attributes["role"] for one in elements if one.tag == "table" and one not in tables}
    assert roles == {"presentation"}


@pytest.mark.parametrize(
    ("said", "way", "side"),
    [
        ("אני צריך עזרה, order 551", "rtl", "right"),
        ("551: מרחבה", "rtl", "right"),
        ("مرحبا", "rtl", "right"),
        ("Hello שרה", "ltr", "left"),
        ("🙂 12:30", "ltr", "left"),
    ],
)
def test_what_somebody_wrote_runs_and_stands_on_the_side_of_its_script(
    said: str, way: str, side: str
) -> None:
    """By attributes: Outlook knows no `auto`, and a `dir` alone leaves a text on the card's side."""
    chat = a_talk((0, Author.VISITOR, said))
    html = told("missed", replace(chat, missed=True)).html
    quote, bubble = (
        one.attributes
        for one in Layout(html).elements
        if one.tag in {"p", "td"} and "dir" in one.attributes
    )
    assert [(one["dir"], one["align"]) for one in (quote, bubble)] == [(way, side)] * 2
    assert f"border-{side}:3px" in html


@pytest.mark.parametrize(
    ("typed", "shows"),
    [
        ("if a:\n  b\n   c", "if a:<br>\n\xa0 b<br>\n\xa0 \xa0c"),
        ("\tx\n \ty\n\t\tz", "\xa0 \xa0 x<br>\n\xa0 \xa0 y<br>\n\xa0 \xa0 \xa0 \xa0 z"),
        ("a  b\n\nc \n d", "a  b<br>\n<br>\nc <br>\n\xa0d"),
    ],
)
def test_code_keeps_its_indentation(typed: str, shows: str) -> None:
    notification = told("chat", a_talk((0, Author.VISITOR, typed)))
    assert f">{shows}</td>" in notification.html
    assert typed.replace("\n", "\n    ") in notification.text


@pytest.mark.parametrize("kind", made_up_chats())
def test_a_bubble_has_an_edge_where_all_colours_are_inverted(kind: str) -> None:
    layout = Layout(told("chat", made_up_chats()[kind]).html)
    said = [one.style for one in layout.elements if one.tag == "td" and one.attributes.get("class") in {"v", "a", "auto"}]  # fmt: skip
    assert all("border" in style for style in said)
    (card,) = [one.style for one in layout.elements if one.attributes.get("class") == "card"]
    assert (card["border-top"], card["word-break"]) == ("0", "break-word")


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ('<div style="display:flex"></div>', "a layout without a table"),
        ('<p style="float:left"></p>', "float"),
        ("<table></table>", "a table with room of its own"),
        ('<td style="margin-top:4px"></td>', "a margin of a table"),
        ('<p style="padding:4px"></p>', "a padding beside a cell"),
        ('<td style="x:y"><a style="padding:4px"></a></td>', "a padding beside a cell"),
        ('<td style="background-color:#fff"></td>', "a colour that only a style has"),
        ('<td bgcolor="#eee" style="background-color:#fff"></td>', "a colour that only a style has"),
        ('<div style="height:9px"></div>', "a height that Word stretches"),
        ('<table style="max-width:60px"></table>', "a width that Word does not end"),
    ],
)  # fmt: skip
def test_the_comparison_would_find(html: str, wrong: str) -> None:
    assert wrong in wrong_in_word(Layout(html).elements[-1])
