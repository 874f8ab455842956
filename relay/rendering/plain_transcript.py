"""A transcript as plain text, written without a template: it must come out whatever the template does."""

from collections.abc import Iterator

from relay.chat import Author
from relay.notification import TranscriptMessage
from relay.rendering.excerpt import Excerpt
from relay.rendering.filters import indented
from relay.rendering.words import Words


def whole(heading: str, transcript: tuple[TranscriptMessage, ...]) -> str:
    """All of it, to be attached to a mail that shows less."""
    return "\n".join([heading, "", *map(_line, transcript)]) + "\n"


def paragraphs(shown: Excerpt, words: Words) -> Iterator[str]:
    yield from map(_line, shown.head)
    if shown.left_out:
        yield f"[{words.left_out(shown.left_out)}]"
    yield from map(_line, shown.tail)


def _line(message: TranscriptMessage) -> str:
    text = indented(message.text)
    said = text if message.author is Author.SYSTEM else f"{message.name}: {text}"
    gap = f"({message.gap})\n" if message.gap else ""
    return f"{gap}[{message.time}] {said}" if message.time else gap + said
