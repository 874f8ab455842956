"""As much of a transcript as a part of a mail has room for: the middle goes first, and the reader is told."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from relay.notification import TranscriptMessage
from relay.rendering.escaping import escaped
from relay.text import cut


class Room(Struct, frozen=True):
    """What fits. All sizes are bytes of UTF-8, after the escaping that the part needs."""

    total: int
    message: int
    """Of one message's text."""
    markup: int
    """What stands around each message."""
    cost: Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning, how many messages were left out, and the end."""

    head: tuple[TranscriptMessage, ...]
    left_out: int
    tail: tuple[TranscriptMessage, ...]
    cut_short: bool = False
    """Whether a message that is shown lacks its end."""

    @property
    def whole(self) -> bool:
        return not (self.left_out or self.cut_short)


MOST_BYTES = 5
"""That a character costs, escaped or not."""


def html_bytes(text: str) -> int:
    """Escaped, with a <br> for each line break."""
    return len(escaped(text).encode()) + 4 * text.count("\n")


def text_bytes(text: str) -> int:
    """With the four blanks that set off a line within a message."""
    return len(text.encode()) + 4 * text.count("\n")


HTML_ROOM = Room(total=42_000, message=2_400, markup=620, cost=html_bytes)
OVERRIDE_ROOM = Room(total=6_000, message=500, markup=240, cost=text_bytes)
"""At most 25 messages, so that one block for each stays far below what Slack takes."""
TEXT_ROOM = Room(total=185_000, message=150_000, markup=40, cost=text_bytes)


def excerpt(transcript: tuple[TranscriptMessage, ...], room: Room, mark: str) -> Excerpt:
    """Takes from the end and the beginning by turns, the end first, until the room is used up.

    A message that is too long for itself ends with `mark`.
    """
    if _fits_in_any_case(transcript, room):
        half = len(transcript) // 2
        return Excerpt(head=transcript[:half], left_out=0, tail=transcript[half:])
    first, last, left = 0, len(transcript), room.total
    shown: dict[int, TranscriptMessage] = {}
    from_end = True
    while first < last:
        place = last - 1 if from_end else first
        message = _fitted(transcript[place], room, mark)
        left -= room.markup + room.cost(message.text) + room.cost(message.name)
        if left < 0:
            break
        shown[place] = message
        first, last = (first, last - 1) if from_end else (first + 1, last)
        from_end = not from_end
    return Excerpt(
        head=tuple(shown[place] for place in range(first)),
        left_out=last - first,
        tail=tuple(shown[place] for place in range(last, len(transcript))),
        cut_short=any(message is not transcript[place] for place, message in shown.items()),
    )


def _fits_in_any_case(transcript: tuple[TranscriptMessage, ...], room: Room) -> bool:
    """Whether it needs no counting, whatever is written in it: most chats are far shorter than a mail."""
    most = [MOST_BYTES * (len(message.text) + len(message.name)) for message in transcript]
    return (
        max(most, default=0) <= room.message and sum(most) + room.markup * len(most) <= room.total
    )


def _fitted(message: TranscriptMessage, room: Room, mark: str) -> TranscriptMessage:
    # Most messages need no counting.
    if len(message.text) * MOST_BYTES <= room.message or room.cost(message.text) <= room.message:
        return message
    return replace(message, text=cut(message.text, room.message, room.cost, mark=mark))
