"""Outlook on Windows lays mails out as Word does: what Word's engine passes by, no mail hangs on."""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from relay.made_up import made_up_chats
from tests.templates.reading import every_template, told

VOID = {"meta", "br"}
PASSED_BY = {"position", "float", "flex", "grid", "gap", "background", "background-image"}
"""Properties that Word knows nothing of."""
LAYOUT = {"role": "presentation", "cellpadding": "0", "cellspacing": "0", "border": "0"}


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
    if tag == "table" and not LAYOUT.items() <= element.attributes.items():
        yield "a table with room of its own"
    if tag in {"table", "td"} and any(name.startswith("margin") for name in style):
        yield "a margin of a table"
    if any(name.startswith("padding") for name in style):
        padded = tag in {"td", "body"} or (tag == "a" and "mso-padding-alt" in parent["style"])
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
