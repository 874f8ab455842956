"""The small parts of a Slack message, and what they count for.

What people typed stands in `rich_text`, where Slack reads no markup, so that nobody can mention a channel or
dress up a link from a chat window.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from relay.text import cut, tidy, trimmed

Json = dict[str, Any]

MAX_SECTION = 2_900
"""Of any one block; Slack refuses more than 3,000."""
MAX_VISIBLE = 10_000
"""Of one message. Not documented: from about 11,300 on there are reports of refusals."""
MAX_BLOCKS = 45


def width(text: str) -> int:
    """UTF-16 units: Slack does not tell how it counts, and this is the larger number."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def escaped_width(text: str) -> int:
    return width(escape(text))


def escape(text: str) -> str:
    """For mrkdwn and plain_text: these three characters and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, limit: int) -> str:
    return cut(trimmed(tidy(text)), limit, width)


def visible(blocks: Iterable[Json]) -> int:
    """How much of MAX_VISIBLE they use up."""
    return sum(
        width(element.get("text") or element.get("url", ""))
        for block in blocks
        for section in block.get("elements", [block])
        for element in _texts(section)
    )


def _texts(section: Json) -> Sequence[Json]:
    """Of a part of rich text, a section, a header or a context block."""
    if isinstance(section.get("text"), str):
        return [section]
    return section.get("elements") or section.get("fields") or [section["text"]]


def plain(text: str) -> Json:
    return {"type": "text", "text": text}


def code(text: str) -> Json:
    return {"type": "text", "text": text, "style": {"code": True}}


def bold(text: str) -> Json:
    return {"type": "text", "text": text, "style": {"bold": True}}


def italic(text: str) -> Json:
    return {"type": "text", "text": text, "style": {"italic": True}}


def paragraph(elements: Sequence[Json]) -> list[Json]:
    """One block, or none where there is nothing to say: Slack refuses empty text."""
    return rich_text("rich_text_section", elements)


def rich_text(kind: str, elements: Sequence[Json]) -> list[Json]:
    said = [element for element in elements if element["type"] == "link" or element["text"]]
    if not said:
        return []
    return [{"type": "rich_text", "elements": [{"type": kind, "elements": said}]}]
