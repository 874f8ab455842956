"""Which messages of a transcript are shown where a medium has no room for all: the middle is left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.chat import Author
from relay.languages import language_called
from relay.notification import Notification, TranscriptMessage
from relay.text import clean_line

SIGNS = {Author.AGENT: "🎧 ", Author.AUTOMATIC: "🤖 "}
"""Before a name: so that one's own people and the visitor are told apart without colours, and by who knows neither."""
OPENING = 2
"""Messages kept from the start of a chat: they tell what it was about."""
MAX_MESSAGES = 12
"""Most messages of a post: nobody reads a long chat in a room with others."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The start, how many were left out, and the end."""

    opening: tuple[TranscriptMessage, ...]
    left_out: int = 0
    ending: tuple[TranscriptMessage, ...] = ()


def excerpt(
    messages: Sequence[TranscriptMessage],
    budget: int,
    cost: Callable[[TranscriptMessage], int],
    *,
    most: int,
) -> Excerpt:
    """An excerpt of messages: as many as `budget` pays for and at most `most`, the first two and the last ones.

    The line that says how many were left out is the caller's to pay for.
    """
    # Only the ends are ever weighed: a chat of thousands costs no more than one of `most`.
    if len(messages) <= most and sum(map(cost, messages)) <= budget:
        return Excerpt(tuple(messages))
    opening = 0
    while opening < min(OPENING, len(messages), most):
        budget -= cost(messages[opening])
        if budget < 0:
            break
        opening += 1
    start = len(messages)
    while budget >= 0 and start > opening and opening + len(messages) - start < most:
        budget -= cost(messages[start - 1])
        if budget < 0:
            break
        start -= 1
    return Excerpt(tuple(messages[:opening]), start - opening, tuple(messages[start:]))


def most_shown(messages: Sequence[TranscriptMessage]) -> int:
    """How many messages of a transcript a post shows.

    One or two more are shown rather than counted: the line that counts them is as long.
    """
    return len(messages) if len(messages) <= MAX_MESSAGES + 2 else MAX_MESSAGES


def says_all(notification: Notification) -> bool:
    """Whether the transcript is the one message that the summary quotes whole: then it need not be said twice."""
    if len(notification.transcript) != 1:
        return False
    said = clean_line(notification.transcript[0].text)
    return bool(said) and said in clean_line(notification.summary)


def left_out_line(count: int, language: str, *, in_file: bool = False) -> str:
    """A line that says how many messages are left out, and where the rest is: in a file beside it, or only with Smartsupp."""
    ngettext = language_called(language).ngettext
    if in_file:
        said = ngettext(
            "{count} message left out; the file has the whole chat",
            "{count} messages left out; the file has the whole chat",
            count,
            count=count,
        )
    else:
        said = ngettext(
            "{count} message left out; Smartsupp has the whole chat",
            "{count} messages left out; Smartsupp has the whole chat",
            count,
            count=count,
        )
    return f"… {said} …"


def more_chats_line(count: int, language: str) -> str:
    """The line below the chats of a digest that says how many more there are."""
    return language_called(language).ngettext(
        "… and {count} more", "… and {count} more", count, count=count
    )


def facts_left_out_line(count: int, language: str) -> str:
    """The line below the facts that are shown that says how many are left out."""
    said = language_called(language).ngettext(
        "{count} more left out", "{count} more left out", count, count=count
    )
    return f"… {said} …"
