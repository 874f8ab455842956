"""Notification -> a Slack message. Pure; inside every limit of shared/channels.md 2.2.

What people typed stands in `rich_text`, where Slack reads no markup, so that nobody can mention a channel or
dress up a link from a chat window. Only the mention from the rules file is markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from relay.chat import Author
from relay.notification import Fact, Link, Notification, Tone, TranscriptMessage
from relay.text import clean, clean_line, cut
from relay.transports.excerpt import Excerpt, excerpt, left_out_line

Json = dict[str, Any]

MAX_HEADER = 150
MAX_TEXT = 3_000
MAX_SECTION = 2_900
MAX_VISIBLE = 10_000
MAX_BLOCKS = 45
MAX_FACTS = 20
MAX_FACT = 300
MAX_MESSAGE = 1_500
MAX_MESSAGES = 200
MESSAGES_PER_BLOCK = 20
MAX_LINKS = 5
MARK_ROOM = 60
"""Kept free for the line that says how many messages were left out."""

_SIGNS = {Tone.BAD: "🔴", Tone.GOOD: "🟢", Tone.NEUTRAL: "💬"}


def pack(notification: Notification, *, mention: str = "") -> Json:
    """The body of a post: `text`, `blocks` and no previews.

    `mention` is `here`, `channel`, or the ID of a user (U..., W...) or a user group (S...).
    """
    call = _mention(mention)
    opening = [
        _header(notification),
        *_called(call),
        *_paragraph([_plain(_shortened(notification.summary, MAX_SECTION))]),
        *_paragraph(_facts(notification.facts)),
    ]
    ending = _paragraph(_links(notification.links))
    room = MAX_VISIBLE - _visible([*opening, *ending])
    return {
        "text": _top_level(notification, call),
        "blocks": [*opening, *_transcript(notification, room), *ending],
        "unfurl_links": False,
        "unfurl_media": False,
    }


# -- counting ----------------------------------------------------------------------------------------------


def width(text: str) -> int:
    """UTF-16 units: Slack does not tell how it counts, and this is the larger number."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _escaped_width(text: str) -> int:
    return width(escape(text))


def escape(text: str) -> str:
    """For mrkdwn and plain_text: these three characters and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shortened(text: str, limit: int) -> str:
    return cut(clean(text).strip(), limit, width)


def _visible(blocks: Iterable[Json]) -> int:
    return sum(
        width(element.get("text") or element.get("url", ""))
        for block in blocks
        for section in block.get("elements", [block])
        for element in section.get("elements", [section.get("text", {})])
    )


# -- the parts ---------------------------------------------------------------------------------------------


def _header(notification: Notification) -> Json:
    subject = clean_line(notification.subject) or clean_line(notification.summary) or "Smartsupp"
    text = escape(cut(f"{_SIGNS[notification.tone]} {subject}", MAX_HEADER, _escaped_width))
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _mention(name: str) -> str:
    if name in {"here", "channel"}:
        return f"<!{name}>"
    if name.startswith("S"):
        return f"<!subteam^{name}>"
    return f"<@{name}>" if name else ""


def _called(call: str) -> list[Json]:
    """As a block of its own: a mention in the top-level text alone rings nobody's bell."""
    if not call:
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": call, "verbatim": True}}]


def _top_level(notification: Notification, call: str) -> str:
    """What stands in the push message, and what a screen reader reads: who and what come first."""
    parts = clean_line(notification.subject), clean_line(notification.summary, MAX_TEXT)
    said = " · ".join(part for part in parts if part)
    words = escape(cut(said or "Smartsupp", MAX_TEXT - 100, _escaped_width))
    return f"{call} {words}" if call else words


def _plain(text: str) -> Json:
    return {"type": "text", "text": text}


def _bold(text: str) -> Json:
    return {"type": "text", "text": text, "style": {"bold": True}}


def _italic(text: str) -> Json:
    return {"type": "text", "text": text, "style": {"italic": True}}


def _paragraph(elements: Sequence[Json]) -> list[Json]:
    """One block, or none where there is nothing to say: Slack refuses empty text."""
    return _rich_text("rich_text_section", elements)


def _rich_text(kind: str, elements: Sequence[Json]) -> list[Json]:
    said = [element for element in elements if element["type"] == "link" or element["text"]]
    if not said:
        return []
    return [{"type": "rich_text", "elements": [{"type": kind, "elements": said}]}]


def _facts(facts: Sequence[Fact]) -> list[Json]:
    """A line each, the label bold; as many as the limit of a section pays for."""
    elements: list[Json] = []
    room = MAX_SECTION
    for fact in facts[:MAX_FACTS]:
        label = clean_line(fact.label, 60)
        value = _shortened(fact.value, MAX_FACT)
        room -= width(label) + width(value) + 4
        if room < 0:
            break
        if elements:
            elements.append(_plain("\n"))
        elements += [_bold(f"{label}:"), _plain(f" {value}")]
    return elements


def _links(links: Sequence[Link]) -> list[Json]:
    """Text links, no buttons: a click on a button is reported as failed where no app answers it."""
    elements: list[Json] = []
    for link in links[:MAX_LINKS]:
        if not is_link(link.url):
            continue
        if elements:
            elements.append(_plain("  ·  "))
        label = _shortened(link.label, 100) or link.url[:100]
        elements.append({"type": "link", "url": link.url, "text": label})
    return elements


def is_link(url: str) -> bool:
    """Whether it may be clicked: the schemes we make, nothing that ends the address early."""
    return (
        url.startswith(("https://", "http://", "mailto:"))
        and len(url) <= 2_900
        and url.isprintable()
        and not any(sign in url for sign in ' <>|"')
    )


# -- the transcript ----------------------------------------------------------------------------------------


def _transcript(notification: Notification, room: int) -> list[Json]:
    """Quoted, so that the chat stands apart from what we say about it."""
    shown = excerpt(notification.transcript, room - MARK_ROOM, _cost, most=MAX_MESSAGES)
    blocks: list[Json] = []
    for lines in _portions(_lines(shown, notification.language)):
        elements = [element for line in lines for element in line]
        # The last line break would show as an empty line at the end of the quote.
        elements[-1] = {**elements[-1], "text": elements[-1]["text"].removesuffix("\n")}
        blocks += _rich_text("rich_text_quote", elements)
    return blocks


def _lines(shown: Excerpt, language: str) -> Iterator[list[Json]]:
    yield from map(_line, shown.opening)
    if shown.left_out:
        yield [_italic(f"{left_out_line(shown.left_out, language)}\n")]
    yield from map(_line, shown.ending)


def _portions(lines: Iterable[list[Json]]) -> Iterator[list[list[Json]]]:
    """Lines by the block: no block longer than a section may be."""
    portion: list[list[Json]] = []
    used = 0
    for line in lines:
        cost = sum(width(element["text"]) for element in line)
        if portion and (used + cost > MAX_SECTION or len(portion) == MESSAGES_PER_BLOCK):
            yield portion
            portion, used = [], 0
        portion.append(line)
        used += cost
    if portion:
        yield portion


def _line(message: TranscriptMessage) -> list[Json]:
    """`14:05 Marta Nowak: Hello`; what nobody said stands in italics."""
    text = _shortened(message.text, MAX_MESSAGE)
    time = f"{message.time}  " if message.time else ""
    gap = [_italic(f"{_gap(message)}\n")] if message.gap else []
    if message.author is Author.SYSTEM:
        return [*gap, _italic(f"{time}{text}\n")]
    name = clean_line(message.name, 60)
    sign = "🤖 " if message.author is Author.AUTOMATIC else ""
    said = f": {text}" if "\n" not in text else f":\n{text}"
    return [*gap, _plain(f"{time}{sign}"), _bold(name), _plain(f"{said}\n")]


def _gap(message: TranscriptMessage) -> str:
    return f"⏳ {clean_line(message.gap, 60)}"


def _cost(message: TranscriptMessage) -> int:
    return sum(width(element["text"]) for element in _line(message))
