"""The parts of a Slack message: texts and what they count for, and a transcript as blocks.

The small parts of a Slack message, and what they count for.

What people typed stands in `rich_text`, where Slack reads no markup, so that nobody can mention a channel or
dress up a link from a chat window.

What was said in a chat, as Slack's blocks: quoted, so that it stands apart from what we say about it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relay.chat import Author
from relay.notification import TranscriptMessage
from relay.text import cut, tidy, tidy_line, trimmed
from relay.transports.excerpt import SIGNS, Excerpt, excerpt, left_out_line, most_shown

Json = dict[str, Any]

MAX_SECTION = 2_900
"""Most characters of any one block; Slack refuses more than 3,000."""
MAX_VISIBLE = 10_000
"""Most characters of one message. Not documented: from about 11,300 on there are reports of refusals."""
MAX_BLOCKS = 45


def width(text: str) -> int:
    """The width of a text in UTF-16 units: Slack does not tell how it counts, and this is the larger number."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def escaped_width(text: str) -> int:
    return width(escape(text))


def escape(text: str) -> str:
    """A text escaped for mrkdwn and plain_text: three characters and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, limit: int) -> str:
    return cut(trimmed(tidy(text)), limit, width)


def visible(blocks: Iterable[Json]) -> int:
    """How much of MAX_VISIBLE these blocks use up."""
    return sum(
        width(element.get("text") or element.get("url", ""))
        for block in blocks
        for section in block.get("elements", [block])
        for element in _texts(section)
    )


def _texts(section: Json) -> Sequence[Json]:
    """The text objects in a part of rich text, a section, a header or a context block."""
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


MAX_MESSAGE = 1_500
MAX_MESSAGE_IN_THREAD = 2_700
"""With its time, name and gap still within one block."""
MESSAGES_PER_BLOCK = 20
MAX_REPLIES = 3
"""Longer transcripts become a file: nobody reads a thread of ten walls of text."""
BESIDE_FILE = 4_000
"""Characters of the excerpt where the whole transcript is a file."""
MARK_ROOM = 100
"""Kept free for the line that says how many messages were left out."""

Line = list[Json]
"""The elements of one message."""


@dataclass(frozen=True, slots=True)
class Replies:
    """The blocks of each reply in a thread, and whether they hold all that was said."""

    blocks: tuple[list[Json], ...]
    whole: bool = True


def quoted_excerpt(
    messages: Sequence[TranscriptMessage], room: int, language: str, *, in_file: bool = False
) -> list[Json]:
    """The beginning and the end, as much as there is room for; the middle is counted, and where it is."""
    lines = _Lines()
    shown = excerpt(messages, room - MARK_ROOM, lines.cost, most=most_shown(messages))
    mark = left_out_line(shown.left_out, language, in_file=in_file) if shown.left_out else ""
    return [block for block, _ in _quotes(_shown_lines(shown, lines, mark))]


def replies(messages: Sequence[TranscriptMessage], language: str) -> Replies:
    """All of it in up to MAX_REPLIES posts; else an excerpt in one."""
    found = _all_in_replies(messages)
    if found is not None:
        return Replies(tuple(found))
    beside_file = quoted_excerpt(messages, BESIDE_FILE, language, in_file=True)
    return Replies((beside_file,), whole=False)


def _all_in_replies(messages: Sequence[TranscriptMessage]) -> list[list[Json]] | None:
    """None where it is too long, or one message of it."""
    room = MAX_REPLIES * MAX_VISIBLE
    lines: list[Line] = []
    for message in messages:
        line = _line(message, MAX_MESSAGE_IN_THREAD)
        room -= _cost(line)
        if room < 0 or width(trimmed(tidy(message.text))) > MAX_MESSAGE_IN_THREAD:
            return None
        lines.append(line)
    posts: list[list[Json]] = []
    used = MAX_VISIBLE
    for block, cost in _quotes(lines):
        if used + cost > MAX_VISIBLE or len(posts[-1]) == MAX_BLOCKS:
            posts.append([])
            used = 0
        posts[-1].append(block)
        used += cost
    return posts if len(posts) <= MAX_REPLIES else None


def as_text(messages: Iterable[TranscriptMessage]) -> str:
    """The whole transcript as text for a file: nothing is cut."""
    said = []
    for message in messages:
        time = f"{message.time}  " if message.time else ""
        gap = f"⏳ {tidy_line(message.gap)}\n" if message.gap else ""
        name = f"{_sign(message)}{tidy_line(message.name)}: "
        who = "" if message.author is Author.SYSTEM else name
        said.append(f"{gap}{time}{who}{trimmed(tidy(message.text))}\n")
    return "".join(said)


def in_short(blocks: Sequence[Json]) -> str:
    """How a reply begins, on one line, for the text that stands for it in a push message."""
    quoted = blocks[0]["elements"][0]["elements"]
    return tidy_line("".join(element["text"] for element in quoted), 150) or "…"


# -- lines and blocks --------------------------------------------------------------------------------------


class _Lines(dict[int, Line]):
    """The line of each message by its number, made when it is first asked for, to be measured or to be shown."""

    def of(self, message: TranscriptMessage) -> Line:
        """Messages are told apart by their identity: all of them live as long as this."""
        if (line := self.get(id(message))) is None:
            line = self[id(message)] = _line(message, MAX_MESSAGE)
        return line

    def cost(self, message: TranscriptMessage) -> int:
        return _cost(self.of(message))


def _shown_lines(shown: Excerpt, lines: _Lines, mark: str) -> Iterator[Line]:
    yield from map(lines.of, shown.opening)
    if mark:
        yield [italic(f"{mark}\n")]
    yield from map(lines.of, shown.ending)


def _quotes(lines: Iterable[Line]) -> Iterator[tuple[Json, int]]:
    """Blocks with what they cost; none is longer than a block may be."""
    for portion in _portions(lines):
        elements = [element for line in portion for element in line]
        # The last line break would show as an empty line at the end of the quote.
        elements[-1] = {**elements[-1], "text": elements[-1]["text"].removesuffix("\n")}
        for block in rich_text("rich_text_quote", elements):
            yield block, _cost(elements)


def _portions(lines: Iterable[Line]) -> Iterator[list[Line]]:
    portion: list[Line] = []
    used = 0
    for line in lines:
        cost = _cost(line)
        if portion and (used + cost > MAX_SECTION or len(portion) == MESSAGES_PER_BLOCK):
            yield portion
            portion, used = [], 0
        portion.append(line)
        used += cost
    if portion:
        yield portion


def _line(message: TranscriptMessage, limit: int) -> Line:
    """`14:05 Marta Nowak: Hello`; what nobody said is in italics."""
    text = shortened(message.text, limit)
    time = f"{message.time}  " if message.time else ""
    gap = [italic(f"⏳ {tidy_line(message.gap, 60)}\n")] if message.gap else []
    if message.author is Author.SYSTEM:
        return [*gap, italic(f"{time}{text}\n")]
    said = f": {text}" if "\n" not in text else f":\n{text}"
    name = tidy_line(message.name, 60)
    return [*gap, plain(f"{time}{_sign(message)}"), bold(name), plain(f"{said}\n")]


def _sign(message: TranscriptMessage) -> str:
    """Tells who is on which side, where a name alone would not: one's own people, and what nobody wrote."""
    return SIGNS.get(message.author, "")


def _cost(line: Line) -> int:
    return sum(width(element["text"]) for element in line)
