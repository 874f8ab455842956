"""The markdown that a TextBlock or a fact of an Adaptive Card understands in Teams, as HTML.

Bold, italic, lists and links; an empty line makes a new line, a single line break only does in lists.
"""

import html
import re
from collections.abc import Collection, Iterator
from itertools import groupby

from markupsafe import Markup, escape

from relay.preview.lookalike.markup import Kept, link, styled

_ITEM = re.compile(r"(?:(?P<bullet>[-+*])|(?P<number>\d{1,9})[.)])\s+(?P<text>.*)")
_OPAQUE = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|&(?P<entity>#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z0-9]{2,31});"
    r"|<at>(?P<at>[^<>\n]{1,200})</at>"
    r"|\[(?P<label>[^\[\]\n]*)\]\((?P<url>[^()\s]*)\)"
    r"|\ufffc"
)
_STYLES = re.compile(
    r"\*\*(?!\s)(?P<bold>(?:[^*\n]|\*(?!\*))+)(?<!\s)\*\*"
    r"|(?<!\w)__(?!\s)(?P<bold_too>[^_\n]+)(?<!\s)__(?!\w)"
    r"|\*(?!\s)(?P<italic>[^*\n]+)(?<!\s)\*"
    r"|(?<!\w)_(?!\s)(?P<italic_too>[^_\n]+)(?<!\s)_(?!\w)"
)
_TAGS = {"bold": "b", "bold_too": "b", "italic": "i", "italic_too": "i"}


def card_text_html(source: str, mentions: Collection[str] = ()) -> Markup:
    """`mentions` holds the names that the card's `msteams.entities` resolve; others stay plain words."""
    text = source.replace("\r\n", "\n").replace("\r", "\n\n")
    pieces = [
        piece
        for paragraph in re.split(r"\n{2,}", text)
        for piece in _paragraph(paragraph, mentions)
    ]
    return Markup("").join(pieces)


def _paragraph(source: str, mentions: Collection[str]) -> Iterator[Markup]:
    for kind, group in groupby(source.split("\n"), _kind):
        lines = list(group)
        if kind:
            yield _list(kind, [_ITEM.match(line.strip()) for line in lines], mentions)
        elif text := " ".join(line.strip() for line in lines).strip():
            yield Markup("<p>{}</p>").format(_inline(text, mentions))


def _kind(line: str) -> str:
    item = _ITEM.match(line.strip())
    if not item:
        return ""
    return "ul" if item["bullet"] else "ol"


def _list(kind: str, items: list[re.Match[str] | None], mentions: Collection[str]) -> Markup:
    entries = [
        Markup("<li>{}</li>").format(_inline(item["text"], mentions)) for item in items if item
    ]
    return Markup("<{0}>{1}</{0}>").format(kind, Markup("").join(entries))


def _inline(source: str, mentions: Collection[str]) -> Markup:
    kept = Kept()
    found = _OPAQUE.sub(lambda match: kept.keep(_opaque(match, mentions)), source)
    return kept.put_back(styled(str(escape(found)), _STYLES, _TAGS))


def _opaque(match: re.Match[str], mentions: Collection[str]) -> Markup:
    if match["url"] is not None:
        return link(match["url"], styled_label(match["label"]))
    if match["entity"]:
        return escape(html.unescape(match[0]))
    if match["at"]:
        known = match["at"] in mentions
        return Markup('<span class="{}">{}</span>').format("at" if known else "", match["at"])
    return escape(match["escaped"] or match[0])


def styled_label(label: str) -> Markup:
    """A link's words may be bold or italic, and hold no further link."""
    return _inline(label, ())
