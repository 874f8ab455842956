"""Analyses how a chat went, and shortens its transcript to fit a message.

The story has the transcript in the reader's language, the names of the agents, who waited and what
was asked. An excerpt keeps a transcript's beginning and end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import cycle
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from relay.chat import Author, Chat, Message
from relay.notification import Excerpt, Tone, TranscriptMessage, excerpt_of
from relay.rendering.translation import Words, escaped
from relay.text import cut


class Room(Struct, frozen=True):
    """The space for a transcript in a message part, in bytes of UTF-8 after the part's escaping."""

    total: int
    message: int
    """The most characters of one message's text."""
    markup: int
    """The bytes of markup around each message."""
    cost: Callable[[str], int]


MOST_BYTES = 5
"""The most bytes that one character takes, escaped or not."""


def html_bytes(text: str) -> int:
    """Return the bytes that a text takes in HTML: escaped, with a <br> for each line break."""
    return len(escaped(text).encode()) + 4 * text.count("\n")


def text_bytes(text: str) -> int:
    """Return the bytes that a text takes as plain text, with four spaces after each line break."""
    return len(text.encode()) + 4 * text.count("\n")


HTML_ROOM = Room(total=42_000, message=2_400, markup=620, cost=html_bytes)
OVERRIDE_ROOM = Room(total=6_000, message=500, markup=240, cost=text_bytes)
"""At most 25 messages, so that one block for each stays far below Slack's limit."""
TEXT_ROOM = Room(total=185_000, message=150_000, markup=40, cost=text_bytes)


def excerpt(transcript: tuple[TranscriptMessage, ...], room: Room, mark: str) -> Excerpt:
    """Return an excerpt with as many messages as fit, taken alternately from the end and the beginning.

    A message that is too long is cut and ends with `mark`.
    """
    if _fits_in_any_case(transcript, room):
        half = len(transcript) // 2
        return Excerpt(head=transcript[:half], left_out=0, tail=transcript[half:])
    return excerpt_of(
        transcript,
        room.total,
        lambda message: room.markup + room.cost(message.text) + room.cost(message.name),
        cycle((True, False)),
        lambda message: _fitted(message, room, mark),
    )


def _fits_in_any_case(transcript: tuple[TranscriptMessage, ...], room: Room) -> bool:
    """Whether the transcript fits whatever its characters are, without counting bytes."""
    most = [MOST_BYTES * (len(message.text) + len(message.name)) for message in transcript]
    return (
        max(most, default=0) <= room.message and sum(most) + room.markup * len(most) <= room.total
    )


def _fitted(message: TranscriptMessage, room: Room, mark: str) -> TranscriptMessage:
    # Most messages need no counting.
    if len(message.text) * MOST_BYTES <= room.message or room.cost(message.text) <= room.message:
        return message
    return replace(message, text=cut(message.text, room.message, room.cost, mark=mark))


MAX_NAME = 60
"""The most characters of a name: a long one would hide the text beside it."""
LONG_WAIT = timedelta(minutes=2)
"""A wait for an agent that is longer than this is marked in the transcript."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The facts about a chat that need no template."""

    transcript: tuple[TranscriptMessage, ...]
    agents: tuple[str, ...]
    """The names of the people who answered, in the order of their first messages."""
    waited: float | None
    """Seconds from the visitor's first unanswered message to the end of the chat.

    None if nothing was left unanswered or the times are unknown.
    """
    question: str
    """The visitor's first message; in a missed chat, the first that no agent answered."""
    last_words: str
    """The visitor's last message."""


def story_of(chat: Chat, zone: ZoneInfo, words: Words) -> Story:
    """Return the story of a chat for a time zone and a language."""
    texts = [m.text for m in chat.messages if m.author is Author.VISITOR and m.text.strip()]
    pending = _pending(chat)
    pending_texts = [m.text for m in pending if m.text.strip()] if chat.missed else texts
    return Story(
        transcript=tuple(_transcript(chat, zone, words)),
        agents=tuple(
            dict.fromkeys(m.name for m in chat.messages if m.author is Author.AGENT and m.name)
        ),
        waited=_waited(chat, pending),
        question=next(iter(pending_texts or texts), ""),
        last_words=texts[-1] if texts else "",
    )


def tone(chat: Chat) -> Tone:
    """Return the severity of a chat: BAD if missed or rated 2 or less, GOOD if rated 4 or more, else NEUTRAL."""
    if chat.missed or (chat.rating is not None and chat.rating <= 2):
        return Tone.BAD
    return Tone.GOOD if chat.rating is not None and chat.rating >= 4 else Tone.NEUTRAL


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment in a time zone; unchanged if the conversion would leave the calendar's range."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def _pending(chat: Chat) -> list[Message]:
    """Return the visitor's messages since an agent last wrote."""
    pending: list[Message] = []
    for message in chat.messages:
        if message.author is Author.AGENT:
            pending.clear()
        elif message.author is Author.VISITOR:
            pending.append(message)
    return pending


def _waited(chat: Chat, pending: list[Message]) -> float | None:
    since = next((m.sent_at for m in pending if m.sent_at), None)
    until = chat.ended or next((m.sent_at for m in reversed(chat.messages) if m.sent_at), None)
    if chat.offline or since is None or until is None or until < since:
        return None
    return (until - since).total_seconds()


def _transcript(chat: Chat, zone: ZoneInfo, words: Words) -> Iterator[TranscriptMessage]:
    gaps = {} if chat.offline else dict(_gaps(chat.messages, words))
    last_day = None
    for place, message in enumerate(chat.messages):
        author, sent_at = message.author, message.sent_at
        time = ""
        if sent_at:
            local = local_time(sent_at, zone)
            new_day = last_day not in (None, local.date())
            time = words.day_and_clock(local, year=False) if new_day else words.clock(local)
            last_day = local.date()
        yield TranscriptMessage(
            author=author,
            name="" if author is Author.SYSTEM else _name(message, chat, words),
            text=_text(message, words),
            time=time,
            gap=gaps.get(place, ""),
        )


def _gaps(messages: Sequence[Message], words: Words) -> Iterator[tuple[int, str]]:
    """Yield the long waits in words, each with the index of the message before which it is shown."""
    waiting_since: datetime | None = None
    after_visitor = 0
    for place, message in enumerate(messages):
        if message.author is Author.VISITOR:
            waiting_since = waiting_since or message.sent_at
            after_visitor = place + 1
        elif gap := _gap(message, waiting_since, words):
            yield _longest_silence(messages, after_visitor, place), gap
        if message.author is Author.AGENT:
            waiting_since = None


def _longest_silence(messages: Sequence[Message], first: int, last: int) -> int:
    """Return the index between `first` and `last` of the message with the longest silence before it.

    This shows a wait before "Jana joined" rather than before the answer a moment later.
    """
    silences = {
        place: now - before
        for place in range(max(first, 1), last + 1)
        if (now := messages[place].sent_at) and (before := messages[place - 1].sent_at)
    }
    return max(silences, key=lambda place: silences[place], default=last)


def _gap(message: Message, waiting_since: datetime | None, words: Words) -> str:
    """Return a long wait that this message ends, in words; else an empty text.

    Only an agent's answer or the end of the chat ends a wait, not an automatic message.
    """
    ends_a_wait = message.author is Author.AGENT or (
        message.author is Author.SYSTEM and message.text.startswith("close.")
    )
    if not ends_a_wait or waiting_since is None or message.sent_at is None:
        return ""
    wait = message.sent_at - waiting_since
    return words.no_answer(wait.total_seconds()) if wait > LONG_WAIT else ""


def _text(message: Message, words: Words) -> str:
    """Return a message's text in the reader's language.

    The hook has no attachments: a message that was only an attachment has no text and is described.
    """
    if message.author is Author.SYSTEM:
        return words.system_message(message.text, cut(message.name, MAX_NAME))
    return message.text if message.text.strip() else words.attachment


def _name(message: Message, chat: Chat, words: Words) -> str:
    match message.author:
        case Author.VISITOR:
            name = message.name or chat.visitor.name or words.visitor
        case Author.AGENT:
            name = message.name or words.agent
        case Author.AUTOMATIC:
            name = message.name or words.automatic
        case _:
            name = message.name or words.unknown
    return cut(name, MAX_NAME)
