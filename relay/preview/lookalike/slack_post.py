"""A Slack post as Slack shows it, with the blocks that the relay sends and `rich_text`; other blocks become a note."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files

from markupsafe import Markup, escape

from relay.preview.lookalike.markup import (
    EMOJI,
    Node,
    choice,
    each,
    joined,
    link,
    mention,
    mrkdwn_html,
    node,
    nodes,
    plain_html,
    unknown,
    with_breaks,
    words,
)

_STYLES = {
    "bold": Markup("<b>{}</b>"),
    "italic": Markup("<i>{}</i>"),
    "strike": Markup("<s>{}</s>"),
    "code": Markup("<code>{}</code>"),
}


def rich_text_html(block: Node) -> Markup:
    """Return the safe HTML of a `rich_text` block."""
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
    """The emoji for code points as Slack writes them, such as `1f44b-1f3fd`; empty where they are invalid."""
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


_POST = Markup(
    '<div class="slack-post">'
    '<div class="avatar" aria-hidden="true">{initial}</div>'
    '<div class="post">'
    '<div class="by"><b>{sender}</b> <span class="app">APP</span> <span class="time">{time}</span></div>'
    "{content}</div></div>"
)
_COLOURS = {"good": "#2eb67d", "warning": "#ecb22e", "danger": "#e01e5a"}
_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")


def slack_post_html(message: Node, *, time: str = "") -> str:
    """A message to `chat.postMessage` or a webhook, as an HTML fragment; never raises. The page needs SLACK_CSS.

    `text` is shown only where there are no blocks; else Slack uses it for notifications.
    """
    blocks = nodes(message.get("blocks"))
    content = each(blocks, _block) if blocks else _section({"text": _mrkdwn(message.get("text"))})
    content += each(nodes(message.get("attachments")), _attachment)
    name = words(message.get("username")) or "Relay"
    return str(_POST.format(initial=name[:1].upper(), sender=name, time=time, content=content))


def _block(block: Node) -> Markup:
    show = _BLOCKS.get(words(block.get("type")))
    return show(block) if show else unknown(block.get("type"))


def _mrkdwn(text: object) -> Node:
    return {"type": "mrkdwn", "text": text}


def _slack_post_text(value: object) -> Markup:
    """A text object as HTML: `mrkdwn` or `plain_text`."""
    text = node(value)
    if text.get("type") == "plain_text":
        return plain_html(words(text.get("text")), emoji=text.get("emoji") is not False)
    return mrkdwn_html(words(text.get("text")), verbatim=text.get("verbatim") is True)


def _header(block: Node) -> Markup:
    return Markup('<div class="header">{}</div>').format(_slack_post_text(block.get("text")))


def _section(block: Node) -> Markup:
    html = Markup("")
    if "text" in block:
        html += Markup('<div class="text">{}</div>').format(_slack_post_text(block["text"]))
    if fields := nodes(block.get("fields")):
        cells = joined(
            [Markup("<div>{}</div>").format(_slack_post_text(field)) for field in fields]
        )
        html += Markup('<div class="fields">{}</div>').format(cells)
    accessory = node(block.get("accessory"))
    return Markup('<div class="section"><div>{}</div>{}</div>').format(
        html, _button(accessory) if accessory.get("type") == "button" else ""
    )


def _context(block: Node) -> Markup:
    shown = [
        Markup("<span>{}</span>").format(_slack_post_text(element))
        for element in nodes(block.get("elements"))
        if element.get("type") != "image"
    ]
    return Markup('<div class="context">{}</div>').format(joined(shown))


def _actions(block: Node) -> Markup:
    return Markup('<div class="actions">{}</div>').format(
        each(nodes(block.get("elements")), _button)
    )


def _button(element: Node) -> Markup:
    if element.get("type") != "button":
        return unknown(element.get("type"))
    label = Markup('<span class="button {}">{}</span>').format(
        choice(element.get("style"), ("primary", "danger")), _slack_post_text(element.get("text"))
    )
    return link(words(element["url"]), label) if "url" in element else label


def _image(block: Node) -> Markup:
    """An image's alternative text, as the page loads nothing from elsewhere."""
    return Markup('<div class="image">image: {}</div>').format(words(block.get("alt_text")))


def _markdown(block: Node) -> Markup:
    return Markup('<div class="text">{}</div>').format(
        with_breaks(escape(words(block.get("text"))))
    )


def _attachment(attachment: Node) -> Markup:
    """An attachment with its coloured bar, which is SVG, so that it needs no style attribute."""
    colour = words(attachment.get("color"))
    match = _HEX.fullmatch(colour)
    bar = Markup(
        '<svg class="bar" aria-hidden="true"><rect width="4" height="100%" fill="{}"/></svg>'
    )
    blocks = nodes(attachment.get("blocks"))
    text = attachment.get("text") or attachment.get("fallback")
    return Markup('<div class="attachment">{}<div>{}</div></div>').format(
        bar.format(f"#{match[1]}" if match else _COLOURS.get(colour, "#dddddd")),
        each(blocks, _block) if blocks else _section({"text": _mrkdwn(text)}),
    )


_BLOCKS: Mapping[str, Callable[[Node], Markup]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "divider": lambda _: Markup("<hr>"),
    "rich_text": rich_text_html,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
}

SLACK_CSS = (files("relay.preview.lookalike") / "slack.css").read_text("utf-8")
