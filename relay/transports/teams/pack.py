"""Converts a notification to the bytes of a Teams post, small enough for a flow to process.

Text that people typed is in `TextRun`s, where Teams interprets no Markdown and no mentions, so
nothing needs escaping.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from relay.chat import Author
from relay.languages import language_called
from relay.links import is_safe
from relay.notification import (
    DigestContents,
    DigestLine,
    Json,
    Notification,
    Tone,
    TranscriptMessage,
)
from relay.transports.teams.card import (
    MAX_BYTES,
    MAX_FACT,
    MAX_LINES,
    MAX_QUOTED,
    answer_of,
    as_line,
    block,
    facts_of,
    fits,
    footer_of,
    head_of,
    in_envelope,
    lines_of,
    muted_of,
    open_url,
    post_of,
    quoted_size,
    run,
    shortened,
    url_of,
    visited_pages,
    words_of,
)
from relay.transports.transcript_excerpt import (
    SIGNS,
    left_out_line,
    more_chats_line,
    post_excerpt,
    quotes_all,
)

MAX_MESSAGE = 1_200
_INKS: dict[Tone, dict[str, str]] = {
    Tone.BAD: {"color": "Attention"},
    Tone.GOOD: {"color": "Good"},
    Tone.NEUTRAL: {},
}


def pack(notification: Notification) -> bytes:
    """Return a post as UTF-8 JSON, with as much of the transcript as fits, or without it, or only with its head.

    Never larger than a flow can process, because Teams would drop it silently.
    """
    notification = notification.set_apart(rtl=language_called(notification.language).rtl)
    if notification.brief:
        words, muted = words_of(notification), muted_of(notification)
        return _smallest(notification, [*words, *facts_of(notification), *muted], words)
    if notification.override and fits(own := _own(notification, notification.override)):
        return own
    if notification.digest:
        return _digest(notification, notification.digest)
    return _chat_post(notification)


def _own(notification: Notification, card: Json) -> bytes:
    """Return the post of a card that its template's author wrote."""
    body = [*card.get("body", []), *muted_of(notification)]
    return in_envelope(notification, {**card, "body": body})


def _chat_post(notification: Notification) -> bytes:
    """Return the post of a chat with as much of its transcript as fits."""
    head, answer = head_of(notification), answer_of(notification)
    ending = [*facts_of(notification), *visited_pages(notification), *footer_of(notification)]
    bare = post_of(notification, [*head, *answer, *ending])
    if not fits(bare):
        return _smallest(notification, [*head, *answer], head)
    transcript = _transcript(notification, _Room.beside(bare))
    if quotes_all(notification):
        head = head_of(notification, lead=False)
    whole = post_of(notification, [*head, *answer, *transcript, *ending])
    return whole if fits(whole) else bare


def _smallest(notification: Notification, *bodies: Sequence[Json]) -> bytes:
    """Return the first post that fits, or one with the title only, which always fits."""
    posts = (post_of(notification, body) for body in (*bodies, words_of(notification)[:1]))
    return next(filter(fits, posts), post_of(notification, []))


@dataclass(frozen=True, slots=True)
class _Room:
    """The bytes left within both size limits."""

    plain: int
    quoted: int

    @classmethod
    def beside(cls, post: bytes) -> "_Room":
        return cls(max(MAX_BYTES - len(post), 1), max(MAX_QUOTED - quoted_size(post), 1))

    def share(self, blocks: list[Json]) -> int:
        """Return the share of the room that the blocks use, by the tighter limit; FULL means all of it."""
        piece = msgspec.json.encode(blocks)
        plain, quoted = len(piece) + COMMAS, quoted_size(piece) + COMMAS
        return max(plain * FULL // self.plain, quoted * FULL // self.quoted) + 1


FULL = 1_000_000
COMMAS = 10
"""The bytes between two messages."""


# -- a digest ----------------------------------------------------------------------------------------------


def _digest(notification: Notification, digest: DigestContents) -> bytes:
    """Return a digest with as many chats as fit, below the names of their rules; the others are counted.

    If not all fit, the visitors' words are left out first.
    """
    post = _digest_post(notification, digest)
    if not fits(post):
        digest = digest.map(lambda line: replace(line, words=""))
        post = _digest_post(notification, digest)
    while digest.lines and not fits(post):
        digest = digest.first(len(digest.lines) - 1)
        post = _digest_post(notification, digest)
    return post if fits(post) else _smallest(notification, words_of(notification))


def _digest_post(notification: Notification, digest: DigestContents) -> bytes:
    body = head_of(notification)
    for section in digest.sections:
        heading = as_line(section.heading, MAX_FACT)
        for group in section.groups:
            if not group.lines:
                continue
            if heading:
                body.append(block(run(heading, isSubtle=True, weight="Bolder"), spacing="Medium"))
            title = run(f"{as_line(group.rule, MAX_FACT)} ({group.count})", weight="Bolder")
            body += [block(title, spacing="Small" if heading else "Medium")]
            body += map(_chat, group.lines)
            heading = ""
    if digest.more:
        more = more_chats_line(digest.more, notification.language)
        body.append(block(run(more, italic=True), spacing="Medium"))
    return post_of(notification, [*body, *footer_of(notification)])


def _chat(line: DigestLine) -> Json:
    """Return a digest's chat: visitor, time, event, severity and the visitor's words; it opens a reply when pressed."""
    stars = f" {line.stars}" if line.stars else ""
    who = run(as_line(line.who, 60), weight="Bolder", **_INKS[line.tone])
    runs = [who, run(f" · {line.came} · {as_line(line.summary, MAX_FACT)}{stars}")]
    if line.also:
        runs.append(run(f" + {as_line(line.also, 100)}", isSubtle=True))
    opens = line.answer is not None and is_safe(url_of(line.answer), "https://")
    if line.answer and opens:
        runs.append(run(f"  ·  {line.answer.label}", color="Accent"))
    blocks = [block(*runs)]
    if line.words:
        blocks.append(block(run(as_line(line.words, MAX_FACT), isSubtle=True)))
    chat: Json = {"type": "Container", "spacing": "Small", "items": blocks}
    return (
        {**chat, "selectAction": open_url(line.answer, line.answer.label)}
        if line.answer and opens
        else chat
    )


# -- the transcript ----------------------------------------------------------------------------------------


def _transcript(notification: Notification, room: _Room) -> list[Json]:
    """Return a panel with as many messages as fit; empty without a transcript."""
    if not notification.transcript:
        return []
    frame = room.share([_panel([_left_out(len(notification.transcript), notification.language)])])
    shown = post_excerpt(
        notification.transcript,
        FULL - frame,
        lambda message: room.share(_message_blocks(message)),
    )
    items = [block for message in shown.head for block in _message_blocks(message)]
    if shown.left_out:
        items.append(_left_out(shown.left_out, notification.language))
    items += [block for message in shown.tail for block in _message_blocks(message)]
    return [_panel(items)]


def _left_out(count: int, language: str) -> Json:
    return block(run(left_out_line(count, language), italic=True, isSubtle=True), spacing="Small")


def _panel(items: list[Json]) -> Json:
    return {
        "type": "Container",
        "style": "emphasis",
        "spacing": "Medium",
        "items": items,
    }


def _message_blocks(message: TranscriptMessage) -> list[Json]:
    """Return a message: `14:05 Marta Nowak: Hello`, and a block for each further line."""
    time = [run(f"{message.time}  ", isSubtle=True)] if message.time else []
    gap = [_gap(message)] if message.gap else []
    text = shortened(message.text, MAX_MESSAGE)
    if message.author is Author.SYSTEM:
        words = " ".join(text.split()) or "-"
        return [*gap, block(*time, run(words, italic=True, isSubtle=True), spacing="Small")]
    sign = SIGNS.get(message.author, "")
    name = run(f"{sign}{as_line(message.name, 60)}: ", weight="Bolder", **_colour(message.author))
    first, *others = [line for _, line in lines_of(text, MAX_LINES)] or ["-"]
    # Consistent with the lines below it, which are mostly code.
    if first.startswith("\N{NO-BREAK SPACE}"):
        first, others = "", [first, *others]
    blocks = [block(*time, name, *([run(first)] if first else ()), spacing="Small")]
    return [*gap, *blocks, *(block(run(line)) for line in others)]


def _gap(message: TranscriptMessage) -> Json:
    words = as_line(message.gap, 60)
    return block(run(f"⏳ {words}", italic=True, isSubtle=True), spacing="Small")


def _colour(author: Author) -> dict[str, str]:
    return {"color": "Accent"} if author is Author.VISITOR else {}
