"""Chooses the messages of a transcript for a Slack or Teams post without room for all: the middle is left out."""

from collections.abc import Callable, Sequence
from itertools import chain, islice, repeat

from relay.chat import Author
from relay.languages import language_called
from relay.notification import Excerpt, Notification, TranscriptMessage, excerpt_of
from relay.text import clean_line

SIGNS = {Author.AGENT: "🎧 ", Author.AUTOMATIC: "🤖 "}
"""The sign before each author's name, so that team and visitor can be told apart without colours."""
OPENING = 2
"""How many messages are kept from the start of a chat, because they show its subject."""
MAX_MESSAGES = 12
"""The most messages of a post: nobody reads a long chat in a shared room."""


def post_excerpt(
    messages: Sequence[TranscriptMessage], budget: int, cost: Callable[[TranscriptMessage], int]
) -> Excerpt:
    """Return the first two messages of a transcript and the last ones, at most MAX_MESSAGES, within `budget`.

    One or two more are shown, since the line that would count them is as long. The budget does not include that line.
    """
    most = len(messages) if len(messages) <= MAX_MESSAGES + 2 else MAX_MESSAGES
    ends = islice(chain(repeat(False, OPENING), repeat(True)), most)  # noqa: FBT003 - itertools' own
    return excerpt_of(messages, budget, cost, ends)


def quotes_all(notification: Notification) -> bool:
    """Whether the summary quotes the only message of the transcript, which then need not be shown again."""
    if len(notification.transcript) != 1:
        return False
    message = clean_line(notification.transcript[0].text)
    return bool(message) and message in clean_line(notification.summary)


def left_out_line(count: int, language: str, *, in_file: bool = False) -> str:
    """Return a line that says how many messages are left out, and whether the rest is in a file or only in Smartsupp."""
    ngettext = language_called(language).ngettext
    if in_file:
        text = ngettext(
            "{count} message left out; the file has the whole chat",
            "{count} messages left out; the file has the whole chat",
            count,
            count=count,
        )
    else:
        text = ngettext(
            "{count} message left out; Smartsupp has the whole chat",
            "{count} messages left out; Smartsupp has the whole chat",
            count,
            count=count,
        )
    return f"… {text} …"


def more_chats_line(count: int, language: str) -> str:
    """Return the line below a digest's chats that says how many more there are."""
    return language_called(language).ngettext(
        "… and {count} more", "… and {count} more", count, count=count
    )


def facts_left_out_line(count: int, language: str) -> str:
    """Return the line below the facts that says how many are left out."""
    text = language_called(language).ngettext(
        "{count} more left out", "{count} more left out", count, count=count
    )
    return f"… {text} …"
