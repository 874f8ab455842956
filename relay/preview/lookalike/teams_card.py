"""An Adaptive Card as Teams shows it when a workflow has posted it, with the Markdown that Teams supports in it.

Bold, italic, lists and links; an empty line makes a new line, a single line break only does in lists.
"""

import html
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby

from markupsafe import Markup, escape

from relay.preview.lookalike.markup import (
    Node,
    Placeholders,
    choice,
    joined,
    link,
    node,
    nodes,
    styled,
    unknown,
    with_breaks,
    words,
)

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
    """A card's text as HTML. `mentions`: the names that the card's `msteams.entities` resolve; other mentions stay plain text."""
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
    pieces = Placeholders()
    masked = _OPAQUE.sub(lambda match: pieces.keep(_opaque(match, mentions)), source)
    return pieces.put_back(styled(str(escape(masked)), _STYLES, _TAGS))


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
    """A link's label, which may have bold and italic but no further link."""
    return _inline(label, ())


TEAMS_CSS = (files("relay.preview.lookalike") / "teams.css").read_text("utf-8")
"""The style of cards in Teams, light and dark. All of it is inside the class `teams-card`."""

MAX_NESTING = 12

_POST = Markup(
    '<div class="teams-card"><div class="avatar" aria-hidden="true">W</div><div class="post">'
    '<div class="by"><b>Workflows</b> <span class="time">{time}</span></div>{cards}</div></div>'
)
_COLOURS = ("dark", "light", "accent", "good", "warning", "attention")
_SIZES = ("small", "medium", "large", "extraLarge")
_SPACINGS = ("none", "small", "medium", "large", "extraLarge", "padding")
_CONTAINER_STYLES = ("emphasis", "accent", "good", "warning", "attention")
_SIDES = ("center", "right")


@dataclass(frozen=True, slots=True)
class _Place:
    """The context of an element in a card."""

    mentions: Collection[str]
    depth: int = 0


def teams_card_html(message: Node, *, time: str = "") -> str:
    """A message to a Teams workflow, or a bare card, as an HTML fragment; never raises. The page needs TEAMS_CSS."""
    if message.get("type") == "AdaptiveCard":
        cards = [_card(message)]
    else:
        cards = [_attachment(item) for item in nodes(message.get("attachments"))]
        cards = cards or [unknown(message.get("type"))]
    return str(_POST.format(time=time, cards=joined(cards)))


def _attachment(attachment: Node) -> Markup:
    card = node(attachment.get("content"))
    return _card(card) if card.get("type") == "AdaptiveCard" else unknown(card.get("type"))


def _card(card: Node) -> Markup:
    entities = nodes(node(card.get("msteams")).get("entities"))
    mentions = [
        words(node(entity.get("mentioned")).get("name"))
        for entity in entities
        if entity.get("type") == "mention"
    ]
    place = _Place(mentions)
    full = "full" if words(node(card.get("msteams")).get("width")).lower() == "full" else ""
    return Markup('<div class="card {}">{}{}</div>').format(
        full, _elements(card.get("body"), place), _action_set(card, place)
    )


def _elements(value: object, place: _Place) -> Markup:
    return joined([_element(item, place) for item in nodes(value) if item.get("isVisible", True)])


def _element(element: Node, place: _Place) -> Markup:
    show = _ELEMENTS.get(words(element.get("type")))
    if not show or place.depth >= MAX_NESTING:
        return unknown(element.get("type"))
    html = show(element, replace(place, depth=place.depth + 1))
    return Markup('<div class="{}">{}</div>').format(_layout(element), html) if html else html


def _layout(element: Node) -> str:
    """Class names for an element's spacing and alignment."""
    spacing = choice(element.get("spacing"), _SPACINGS)
    side = choice(element.get("horizontalAlignment"), _SIDES)
    names = [
        "element",
        spacing and f"space-{spacing}",
        side and f"side-{side}",
        "line" if element.get("separator") is True else "",
        "bleed" if element.get("bleed") is True else "",
    ]
    return " ".join(filter(None, names))


def _font(element: Node) -> str:
    """Class names for the font of a text or a part of it."""
    colour = choice(element.get("color"), _COLOURS)
    size = choice(element.get("size"), _SIZES)
    weight = choice(element.get("weight"), ("bolder", "lighter"))
    names = [
        colour and f"color-{colour}",
        size and f"size-{size}",
        weight,
        "subtle" if element.get("isSubtle") is True else "",
        "mono" if words(element.get("fontType")).lower() == "monospace" else "",
        "bolder" if element.get("style") == "heading" else "",
        *(
            name
            for name in ("italic", "underline", "strikethrough", "highlight")
            if element.get(name) is True
        ),
    ]
    return " ".join(filter(None, names))


def _text_block(element: Node, place: _Place) -> Markup:
    wrap = "wrap" if element.get("wrap") is True else "one-line"
    return Markup('<div class="{} {}">{}</div>').format(
        wrap, _font(element), card_text_html(words(element.get("text")), place.mentions)
    )


def _rich_text_block(element: Node, _: _Place) -> Markup:
    inlines = element.get("inlines")
    runs = inlines if isinstance(inlines, list) else []
    return Markup('<div class="wrap">{}</div>').format(joined([_run(run) for run in runs]))


def _run(run: object) -> Markup:
    """A part of a RichTextBlock, in which Teams interprets no Markdown."""
    if isinstance(run, str):
        return with_breaks(escape(run))
    inline = node(run)
    if inline.get("type") != "TextRun":
        return unknown(inline.get("type"))
    html = Markup('<span class="{}">{}</span>').format(
        _font(inline), with_breaks(escape(words(inline.get("text"))))
    )
    action = node(inline.get("selectAction"))
    return link(words(action["url"]), html) if "url" in action else html


def _fact_set(element: Node, place: _Place) -> Markup:
    rows = [
        Markup("<dt>{}</dt><dd>{}</dd>").format(
            *(card_text_html(words(fact.get(key)), place.mentions) for key in ("title", "value"))
        )
        for fact in nodes(element.get("facts"))
    ]
    return Markup("<dl>{}</dl>").format(joined(rows))


def _container(element: Node, place: _Place) -> Markup:
    style = choice(element.get("style"), _CONTAINER_STYLES)
    html = Markup('<div class="container {}">{}</div>').format(
        style and f"style-{style}", _elements(element.get("items"), place)
    )
    action = node(element.get("selectAction"))
    return link(words(action["url"]), html) if "url" in action else html


def _column_set(element: Node, place: _Place) -> Markup:
    columns = [
        Markup('<div class="column {}">{}</div>').format(
            _width(column.get("width")), _container(column, place)
        )
        for column in nodes(element.get("columns"))
        if column.get("isVisible", True)
    ]
    style = choice(element.get("style"), _CONTAINER_STYLES)
    return Markup('<div class="columns {}">{}</div>').format(
        style and f"style-{style}", joined(columns)
    )


def _width(width: object) -> str:
    """The class name for a column's width: a weight of 1 to 10, or `auto` for the width of its contents. Pixels count as `auto`."""
    text = words(width).lower()
    if text in {"", "stretch"}:
        return "weight-1"
    return f"weight-{min(max(int(text[:4]), 1), 10)}" if text.isdecimal() else "auto"


def _action_set(element: Node, _: _Place) -> Markup:
    buttons = [_button(action) for action in nodes(element.get("actions"))]
    return (
        Markup('<div class="actions">{}</div>').format(joined(buttons)) if buttons else Markup("")
    )


def _button(action: Node) -> Markup:
    kind = words(action.get("type"))
    if not kind.startswith("Action."):
        return unknown(kind)
    label = Markup('<span class="button {}">{}</span>').format(
        choice(action.get("style"), ("positive", "destructive")), words(action.get("title"))
    )
    return link(words(action.get("url")), label) if kind == "Action.OpenUrl" else label


def _code_block(element: Node, _: _Place) -> Markup:
    return Markup("<pre>{}</pre>").format(words(element.get("codeSnippet")))


_ELEMENTS: Mapping[str, Callable[[Node, _Place], Markup]] = {
    "TextBlock": _text_block,
    "RichTextBlock": _rich_text_block,
    "FactSet": _fact_set,
    "Container": _container,
    "ColumnSet": _column_set,
    "ActionSet": _action_set,
    "CodeBlock": _code_block,
    "Image": lambda *_: Markup(""),  # nothing is loaded from elsewhere
}
