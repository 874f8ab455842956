"""Builds the blocks of Slack messages, measures them against Slack's limits, and quotes transcripts.

Text that people typed is put into `rich_text`, where Slack interprets no markup, so that a visitor
can't mention a channel or disguise a link.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.chat import Author
from relay.notification import Excerpt, Json, TranscriptMessage
from relay.text import cut, tidy, tidy_line, trimmed
from relay.transports.transcript_excerpt import SIGNS, left_out_line, post_excerpt

MAX_SECTION = 2_900
"""The most characters of a block; Slack refuses more than 3,000."""
MAX_VISIBLE = 10_000
"""The most characters of a message. Undocumented: refusals were reported from about 11,300 on."""
MAX_BLOCKS = 45


def width(text: str) -> int:
    """Return a text's length in UTF-16 units: Slack does not document its count, and this is the larger one."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def escaped_width(text: str) -> int:
    """Return the width of a text after escaping."""
    return width(escape(text))


def escape(text: str) -> str:
    """Return a text escaped for mrkdwn and plain_text, where only three characters are escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, limit: int) -> str:
    """Return a cleaned text of at most `limit` UTF-16 units."""
    return cut(trimmed(tidy(text)), limit, width)


def visible(blocks: Iterable[Json]) -> int:
    """Return how many characters of MAX_VISIBLE the blocks use."""
    return sum(
        width(element.get("text") or element.get("url", ""))
        for block in blocks
        for section in block.get("elements", [block])
        for element in _texts(section)
    )


def _texts(section: Json) -> Sequence[Json]:
    """Return the text objects in a part of rich text, a section, a header or a context block."""
    if isinstance(section.get("text"), str):
        return [section]
    return section.get("elements") or section.get("fields") or [section["text"]]


def plain(text: str) -> Json:
    """Return a piece of unformatted text."""
    return {"type": "text", "text": text}


def code(text: str) -> Json:
    """Return a piece of text in a fixed-width font."""
    return {"type": "text", "text": text, "style": {"code": True}}


def bold(text: str) -> Json:
    """Return a piece of bold text."""
    return {"type": "text", "text": text, "style": {"bold": True}}


def italic(text: str) -> Json:
    """Return a piece of italic text."""
    return {"type": "text", "text": text, "style": {"italic": True}}


def paragraph(elements: Sequence[Json]) -> list[Json]:
    """Return the elements as one block; no block without text, which Slack refuses."""
    return rich_text("rich_text_section", elements)


def rich_text(kind: str, elements: Sequence[Json]) -> list[Json]:
    """Return a rich text block of the elements that have text; no block if none has."""
    filled = [element for element in elements if element["type"] == "link" or element["text"]]
    if not filled:
        return []
    return [{"type": "rich_text", "elements": [{"type": kind, "elements": filled}]}]


MAX_MESSAGE = 1_500
MAX_MESSAGE_IN_THREAD = 2_700
"""The most characters of a message in a thread; with time, name and gap it still fits into one block."""
MESSAGES_PER_BLOCK = 20
MAX_REPLIES = 3
"""The most replies; longer transcripts become a file, because nobody reads ten long posts in a thread."""
BESIDE_FILE = 4_000
"""The characters of the excerpt that is shown beside a file with the transcript."""
MARK_ROOM = 100
"""The characters reserved for the line that counts the messages left out."""

Line = list[Json]
"""The rich text elements of one message."""


@dataclass(frozen=True, slots=True)
class Replies:
    """The blocks of each reply in a thread, and whether they contain the whole transcript."""

    blocks: tuple[list[Json], ...]
    whole: bool = True


def quoted_excerpt(
    messages: Sequence[TranscriptMessage], room: int, language: str, *, in_file: bool = False
) -> list[Json]:
    """Return the beginning and end of a transcript that fit into `room`, with a line that counts the rest."""
    lines = _Lines()
    shown = post_excerpt(messages, room - MARK_ROOM, lines.cost)
    mark = left_out_line(shown.left_out, language, in_file=in_file) if shown.left_out else ""
    return [block for block, _ in _quotes(_shown_lines(shown, lines, mark))]


def replies(messages: Sequence[TranscriptMessage], language: str) -> Replies:
    """Return the transcript in up to MAX_REPLIES posts, or an excerpt in one post if it is too long."""
    posts = _all_in_replies(messages)
    if posts is not None:
        return Replies(tuple(posts))
    beside_file = quoted_excerpt(messages, BESIDE_FILE, language, in_file=True)
    return Replies((beside_file,), whole=False)


def _all_in_replies(messages: Sequence[TranscriptMessage]) -> list[list[Json]] | None:
    """Return the blocks of each reply; None if the transcript or one of its messages is too long."""
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


def in_short(blocks: Sequence[Json]) -> str:
    """Return the start of a reply on one line, for push messages."""
    quoted = blocks[0]["elements"][0]["elements"]
    return tidy_line("".join(element["text"] for element in quoted), 150) or "…"


# -- lines and blocks --------------------------------------------------------------------------------------


class _Lines(dict[int, Line]):
    """The line of each message, by the message's identity, built when first needed."""

    def of(self, message: TranscriptMessage) -> Line:
        """Return the line of a message, which must live as long as this object."""
        if (line := self.get(id(message))) is None:
            line = self[id(message)] = _line(message, MAX_MESSAGE)
        return line

    def cost(self, message: TranscriptMessage) -> int:
        return _cost(self.of(message))


def _shown_lines(shown: Excerpt, lines: _Lines, mark: str) -> Iterator[Line]:
    yield from map(lines.of, shown.head)
    if mark:
        yield [italic(f"{mark}\n")]
    yield from map(lines.of, shown.tail)


def _quotes(lines: Iterable[Line]) -> Iterator[tuple[Json, int]]:
    """Yield blocks of quoted lines, each with its length, none longer than a block may be."""
    for portion in _portions(lines):
        elements = [element for line in portion for element in line]
        # A final line break would show as an empty line at the end of the quote.
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
    """Return a message as a line: `14:05 Marta Nowak: Hello`; events are in italics."""
    text = shortened(message.text, limit)
    time = f"{message.time}  " if message.time else ""
    gap = [italic(f"⏳ {tidy_line(message.gap, 60)}\n")] if message.gap else []
    if message.author is Author.SYSTEM:
        return [*gap, italic(f"{time}{text}\n")]
    content = f": {text}" if "\n" not in text else f":\n{text}"
    name = tidy_line(message.name, 60)
    return [*gap, plain(f"{time}{_sign(message)}"), bold(name), plain(f"{content}\n")]


def _sign(message: TranscriptMessage) -> str:
    """Return a sign that shows whether the author is of the team, a bot or the visitor."""
    return SIGNS.get(message.author, "")


def _cost(line: Line) -> int:
    return sum(width(element["text"]) for element in line)
