"""Slack's `rich_text` block, where every piece of text carries its own style and nothing is parsed."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from markupsafe import Markup, escape

from relay.preview.lookalike.emoji import EMOJI
from relay.preview.lookalike.markup import (
    Node,
    each,
    link,
    node,
    nodes,
    unknown,
    with_breaks,
    words,
)
from relay.preview.lookalike.mrkdwn import mention

_STYLES = {
    "bold": Markup("<b>{}</b>"),
    "italic": Markup("<i>{}</i>"),
    "strike": Markup("<s>{}</s>"),
    "code": Markup("<code>{}</code>"),
}


def rich_text_html(block: Node) -> Markup:
    return Markup('<div class="text">{}</div>').format(each(nodes(block.get("elements")), _element))


def _element(element: Node) -> Markup:
    show = _ELEMENTS.get(words(element.get("type")))
    return show(element) if show else unknown(element.get("type"))


def _inline(element: Node) -> Markup:
    show = _INLINE.get(words(element.get("type")))
    if not show:
        return unknown(element.get("type"))
    html = show(element)
    style = node(element.get("style"))
    for name, wrapped in _STYLES.items():
        if style.get(name) is True:
            html = wrapped.format(html)
    return html


def _pieces(element: Node) -> Markup:
    return each(nodes(element.get("elements")), _inline)


def _list(element: Node) -> Markup:
    items = [Markup("<li>{}</li>").format(_pieces(item)) for item in nodes(element.get("elements"))]
    kind = "ol" if element.get("style") == "ordered" else "ul"
    html = Markup("<{0}>{1}</{0}>").format(kind, Markup("").join(items))
    for _ in range(_indent(element)):
        html = Markup("<ul>{}</ul>").format(html)
    return html


def _indent(element: Node) -> int:
    indent = element.get("indent")
    return min(max(indent, 0), 8) if isinstance(indent, int) else 0


def _text(element: Node) -> Markup:
    return with_breaks(escape(words(element.get("text"))))


def _link(element: Node) -> Markup:
    url = words(element.get("url"))
    return link(url, words(element.get("text")) or url)


def _emoji(element: Node) -> Markup:
    name = words(element.get("name"))
    character = _from_hex(words(element.get("unicode"))) or EMOJI.get(name, f":{name}:")
    return Markup('<span class="emoji" title=":{}:">{}</span>').format(name, character)


def _from_hex(points: str) -> str:
    """Slack names an emoji's code points as in `1f44b-1f3fd`."""
    try:
        return "".join(chr(int(point, 16)) for point in points.split("-"))
    except (ValueError, OverflowError):
        return ""


def _date(element: Node) -> Markup:
    stamp = element.get("timestamp")
    try:
        shown = datetime.fromtimestamp(int(words(stamp)), UTC).strftime("%d %b %Y %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        shown = ""
    return escape(words(element.get("fallback")) or shown)


def _mention(mark: str, key: str) -> Callable[[Node], Markup]:
    return lambda element: mention(mark + words(element.get(key)))


_INLINE: Mapping[str, Callable[[Node], Markup]] = {
    "text": _text,
    "link": _link,
    "emoji": _emoji,
    "date": _date,
    "user": _mention("@", "user_id"),
    "usergroup": _mention("@", "usergroup_id"),
    "channel": _mention("#", "channel_id"),
    "broadcast": _mention("@", "range"),
    "color": lambda element: Markup("<code>{}</code>").format(words(element.get("value"))),
}
_ELEMENTS: Mapping[str, Callable[[Node], Markup]] = {
    "rich_text_section": lambda element: Markup("<div>{}</div>").format(_pieces(element)),
    "rich_text_quote": lambda element: Markup("<blockquote>{}</blockquote>").format(
        _pieces(element)
    ),
    "rich_text_preformatted": lambda element: Markup("<pre>{}</pre>").format(_pieces(element)),
    "rich_text_list": _list,
}
