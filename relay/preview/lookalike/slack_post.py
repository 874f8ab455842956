"""Slack's `rich_text` block, where every piece of text carries its own style and nothing is parsed.

A Slack post as Slack shows it. Knows the blocks an alert may have, and says so of any other.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from markupsafe import Markup, escape

from relay.preview.lookalike.markup import (
    Node,
    choice,
    each,
    joined,
    link,
    node,
    nodes,
    unknown,
    with_breaks,
    words,
)
from relay.preview.lookalike.mrkdwn import EMOJI, mention, mrkdwn_html, plain_html

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


_POST = Markup(
    '<div class="slack-post">'
    '<div class="avatar" aria-hidden="true">{initial}</div>'
    '<div class="post">'
    '<div class="by"><b>{sender}</b> <span class="app">APP</span> <span class="time">{time}</span></div>'
    "{content}</div></div>"
)
_COLOURS = {"good": "#2eb67d", "warning": "#ecb22e", "danger": "#e01e5a"}
_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")


def slack_post_html(message: Node, *, sender: str = "Relay", time: str = "") -> str:
    """What `chat.postMessage` or a webhook is given, as an HTML fragment; never raises.

    `text` is shown where there are no blocks, as in Slack, where it otherwise is the notification only.
    Put SLACK_CSS on the page.
    """
    blocks = nodes(message.get("blocks"))
    content = each(blocks, _block) if blocks else _section({"text": _mrkdwn(message.get("text"))})
    content += each(nodes(message.get("attachments")), _attachment)
    name = words(message.get("username")) or sender
    return str(_POST.format(initial=name[:1].upper(), sender=name, time=time, content=content))


def _block(block: Node) -> Markup:
    show = _BLOCKS.get(words(block.get("type")))
    return show(block) if show else unknown(block.get("type"))


def _mrkdwn(text: object) -> Node:
    return {"type": "mrkdwn", "text": text}


def _slack_post_text(value: object) -> Markup:
    """A text object, `mrkdwn` or `plain_text`."""
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
    """Only its words: the page that shows this loads nothing from elsewhere."""
    return Markup('<div class="image">image: {}</div>').format(words(block.get("alt_text")))


def _markdown(block: Node) -> Markup:
    return Markup('<div class="text">{}</div>').format(
        with_breaks(escape(words(block.get("text"))))
    )


def _attachment(attachment: Node) -> Markup:
    """The old way to a coloured bar. Drawn as SVG, whose colours need no style attribute."""
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

SLACK_CSS = """\
.slack-post { --ink: #1d1c1d; --soft: #616061; --line: #dddddd; --paper: #ffffff; --shade: #f8f8f8;
  --blue: #1264a3; --code: #c01343; --ping: #fbf0d0; --pinged: #1264a3; display: grid; grid-template-columns: 36px 1fr;
  gap: 0 8px; padding: 12px 16px; background: var(--paper); color: var(--ink); border-radius: 8px;
  font: 15px/1.466 Lato, "Helvetica Neue", Helvetica, "Segoe UI", Arial, sans-serif;
  overflow-wrap: anywhere; }
.slack-post .avatar { width: 36px; height: 36px; border-radius: 8px; background: #4a154b; color: #fff;
  display: grid; place-items: center; font-weight: 900; font-size: 18px; }
.slack-post .post { min-width: 0; }
.slack-post .by { line-height: 1.2; margin-bottom: 4px; }
.slack-post .app { background: var(--line); color: var(--soft); border-radius: 2px; padding: 1px 3px;
  font-size: 10px; font-weight: 700; vertical-align: 1px; }
.slack-post .time, .slack-post .context { color: var(--soft); font-size: 12px; }
.slack-post .header { font-size: 18px; font-weight: 900; line-height: 1.33; margin: 4px 0 8px; }
.slack-post .section { display: flex; gap: 12px; justify-content: space-between; margin: 4px 0 8px; }
.slack-post .section > div { min-width: 0; flex: 1; }
.slack-post .fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; }
.slack-post .post > .text { margin: 4px 0 8px; }
.slack-post .text + .fields { margin-top: 8px; }
.slack-post .context { display: flex; flex-wrap: wrap; gap: 2px 8px; margin: 4px 0 8px; line-height: 1.4; }
.slack-post hr { border: 0; border-top: 1px solid var(--line); margin: 12px 0; }
.slack-post a { color: var(--blue); text-decoration: none; }
.slack-post a:hover { text-decoration: underline; }
.slack-post code, .slack-post pre { font: 12px/1.5 Monaco, Menlo, Consolas, monospace;
  background: var(--shade); border: 1px solid var(--line); border-radius: 4px; }
.slack-post code { color: var(--code); padding: 1px 3px; }
.slack-post pre { padding: 8px; margin: 4px 0; white-space: pre-wrap; }
.slack-post .text > div, .slack-post blockquote { white-space: pre-wrap; }
.slack-post blockquote { margin: 4px 0; padding: 0 0 0 12px; border-left: 4px solid var(--line); }
.slack-post ul, .slack-post ol { margin: 4px 0; padding-left: 28px; }
.slack-post .mention { background: var(--ping); color: var(--pinged); border-radius: 3px; padding: 0 2px; }
.slack-post .emoji { font-size: 1.15em; line-height: 1; }
.slack-post .actions { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0; }
.slack-post .button { display: inline-block; border: 1px solid var(--line); border-radius: 4px;
  padding: 4px 12px; font-size: 13px; font-weight: 700; color: var(--ink); white-space: nowrap; }
.slack-post .button.primary { background: #007a5a; border-color: #007a5a; color: #fff; }
.slack-post .button.danger { color: #e01e5a; border-color: #e01e5a; }
.slack-post .attachment { display: grid; grid-template-columns: 4px 1fr; gap: 12px; margin: 8px 0; }
.slack-post .attachment > div { min-width: 0; }
.slack-post .bar { width: 4px; height: 100%; border-radius: 2px; }
.slack-post .image, .slack-post .unknown { background: var(--shade); color: var(--soft);
  border: 1px dashed var(--line); border-radius: 4px; padding: 6px 10px; margin: 4px 0; font-size: 13px; }
@media (prefers-color-scheme: dark) {
  .slack-post { --ink: #d1d2d3; --soft: #ababad; --line: #4a4c50; --paper: #1a1d21; --shade: #222529;
    --blue: #1d9bd1; --code: #e8912d; --ping: #40351a; --pinged: #f2c744; }
  .slack-post .avatar { background: #6b2a6d; }
  .slack-post .app { color: var(--ink); }
}
"""
