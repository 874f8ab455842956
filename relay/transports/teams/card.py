"""Builds the parts of a Teams card. Text that people typed is in `TextRun`s, where Teams interprets no Markdown.

Uses version 1.4 with elements of 1.2 only, because flows have refused newer ones.
"""

import json
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote

import msgspec

from relay.languages import language_called
from relay.links import is_safe, label, without_braces
from relay.notification import Json, Link, Notification, Tone
from relay.text import cut, tidy, tidy_line, trimmed, with_commands
from relay.transports.transcript_excerpt import facts_left_out_line

MAX_BYTES = 18 * 1024
"""The most bytes of a post in UTF-8."""
MAX_QUOTED = 24 * 1024
"""The most bytes of a post quoted as text within JSON, as a flow stores it. Teams drops more than 28 KB silently."""
VERSION = "1.4"
"""The version of the card; flows have refused newer ones."""
MAX_LINES = 20
"""The most lines of a message. Each is a block, since line breaks in a TextRun may not be shown."""
MAX_FACTS = 20
MAX_FACT = 300
MAX_SUMMARY = 1_000
MAX_SUBJECT = 200
MAX_IN_SHORT = 300
MAX_FOOTER = 300
MAX_ACTIONS = 4
COMPOSE = "https://outlook.office.com/mail/deeplink/compose?to="
"""The page of Outlook on the web for a new email; every Teams user has an account there."""
MAX_PAGES = 3
MAX_PAGE_URL = 500

_STYLES = {Tone.BAD: "attention", Tone.GOOD: "good", Tone.NEUTRAL: "accent"}
# A zero-width space separates the characters of functions ({{DATE(...)}}) and mentions (<at>...</at>).
_FUNCTION = re.compile(r"\{(?=\{)")
_AT = re.compile(r"<(?=/?at\b)", re.IGNORECASE)
_BLANKS = re.compile(r"\A[ \t]+|\t|  +")
"""Spaces that Teams would collapse, or remove at the start of a line."""


def fits(post: bytes) -> bool:
    """Whether a card is small enough for a flow to process."""
    return len(post) <= MAX_BYTES and quoted_size(post) <= MAX_QUOTED


def quoted_size(piece: bytes) -> int:
    """Return the bytes of a part of a post when quoted as text within JSON."""
    return len(json.dumps(piece.decode()))


def post_of(notification: Notification, body: Sequence[Json]) -> bytes:
    """Return the post of a card with this body."""
    return in_envelope(notification, {**frame(notification), "body": body})


def frame(notification: Notification) -> Json:
    """Return the parts that every card has, whatever its content."""
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "lang": notification.language,
        "msteams": {"width": "Full"},
        "fallbackText": in_short(notification),
    }


def in_envelope(notification: Notification, card: Json) -> bytes:
    """Return the post that contains the card, as it is sent."""
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return msgspec.json.encode(
        {"type": "message", "summary": in_short(notification), "attachments": [attachment]}
    )


def inert(text: str) -> str:
    """Return text without anything that Teams would execute."""
    return _AT.sub("<\u200b", _FUNCTION.sub("{\u200b", tidy(text)))


def as_line(text: str, limit: int) -> str:
    """Return a text on one line, without anything that Teams would execute."""
    return inert(tidy_line(text, limit))


def title_of(notification: Notification) -> str:
    return as_line(notification.subject, MAX_SUBJECT) or "Smartsupp"


def in_short(notification: Notification) -> str:
    """Return the notification on one line, for the activity feed and for clients without cards."""
    parts = title_of(notification), as_line(notification.summary, MAX_IN_SHORT)
    return " · ".join(part for part in parts if part)


def run(text: str, **style: str | bool) -> Json:
    """Return a piece of text with a style, in which Teams interprets no Markdown."""
    return {"type": "TextRun", "text": text, **style}


def block(*runs: Json, spacing: str = "None") -> Json:
    """Return a paragraph of text runs."""
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": list(runs)}


def head_of(notification: Notification, *, lead: bool = True) -> list[Json]:
    """Return the head of a card: the subject and, with `lead`, the summary, on the colour of the tone."""
    style, items = _STYLES[notification.tone], words_of(notification)[: None if lead else 1]
    return [{"type": "Container", "style": style, "bleed": True, "items": items}]


def words_of(notification: Notification) -> list[Json]:
    """Return the subject and summary of a card, one block per line."""
    summary = shortened(notification.summary, MAX_SUMMARY)
    title = f"{title_of(notification)}  {notification.stars}".rstrip()
    return [
        block(run(title, size="Large", weight="Bolder")),
        *(
            block(*_runs(line), spacing="Small" if first else "None")
            for first, line in lines_of(summary, MAX_LINES)
        ),
    ]


def _runs(text: str) -> Iterator[Json]:
    for piece, is_command in with_commands(text):
        yield run(piece, fontType="Monospace") if is_command else run(piece)


def facts_of(notification: Notification) -> list[Json]:
    """Return the facts of a card.

    FactSet is not used, since it interprets Markdown in values such as a visitor's name.
    """
    shown = notification.facts[:MAX_FACTS]
    blocks = [
        block(
            run(f"{as_line(fact.label, 60)}: ", weight="Bolder"),
            run(as_line(fact.value, MAX_FACT) or "-"),
            spacing="Small" if index else "Medium",
        )
        for index, fact in enumerate(shown)
    ]
    if more := len(notification.facts) - len(shown) + notification.facts_left_out:
        line = facts_left_out_line(more, notification.language)
        blocks.append(block(run(line, italic=True, isSubtle=True), spacing="Small"))
    return blocks


def footer_of(notification: Notification) -> list[Json]:
    return [*_small(notification.footer), *muted_of(notification)]


def muted_of(notification: Notification) -> list[Json]:
    """Return the block about the mute that delayed the notification; empty if there was none."""
    return _small(notification.muted.text) if notification.muted else []


def _small(line: str) -> list[Json]:
    text = as_line(line, MAX_FOOTER)
    return [block(run(text, size="Small", isSubtle=True), spacing="Medium")] if text else []


def answer_of(notification: Notification) -> list[Json]:
    """Return the buttons for a reply to the visitor, or the reason why there are none."""
    actions = [
        open_url(link, as_line(label(link, 80), 80))
        for link in notification.links
        if not link.visited and is_safe(url_of(link), "https://")
    ][:MAX_ACTIONS]
    if actions:
        return [{"type": "ActionSet", "spacing": "Medium", "actions": actions}]
    text = as_line(notification.no_address, MAX_FACT)
    return [block(run(text, isSubtle=True), spacing="Medium")] if text else []


def open_url(link: Link, title: str) -> Json:
    return {"type": "Action.OpenUrl", "title": title, "url": url_of(link)}


def url_of(link: Link) -> str:
    """Return a link's URL for Teams, which opens no mailto: links (MicrosoftDocs/msteams-docs#3677).

    They are replaced by links to Outlook's page.
    """
    scheme, _, address = link.url.partition(":")
    if scheme == "mailto":
        # A plus sign would be read as a space.
        return f"{COMPOSE}{quote(unquote(address), safe='@')}"
    return without_braces(link.url)


def visited_pages(notification: Notification) -> list[Json]:
    """Return links to the pages that the visitor was on, each with its host, because the visitor controls the titles."""
    pages = [_page(link) for link in notification.links if link.visited][:MAX_PAGES]
    if not pages:
        return []
    heading = language_called(notification.language).gettext("Pages visited")
    return [block(run(f"{heading}:", weight="Bolder"), spacing="Medium"), *pages]


def _page(link: Link) -> Json:
    """Return a link as a container, which every Teams client opens; links in text don't work on phones."""
    opens = is_safe(link.url, "https://") and len(link.url) <= MAX_PAGE_URL
    title = as_line(label(link, 80), 200)
    items = [block(run(title, **({"color": "Accent"} if opens else {})))]
    page: Json = {"type": "Container", "spacing": "Small", "items": items}
    return {**page, "selectAction": open_url(link, title)} if opens else page


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters, without anything that Teams would execute."""
    return inert(cut(trimmed(tidy(text)), limit))


def lines_of(text: str, most: int) -> list[tuple[bool, str]]:
    """Return the lines with text, each with whether it is the first. Spaces are replaced by ones that Teams keeps."""
    lines = [
        _BLANKS.sub(lambda blanks: "\N{NO-BREAK SPACE}" * len(blanks[0].expandtabs(4)), line)
        for line in map(str.rstrip, text.split("\n"))
        if line
    ]
    if len(lines) > most:
        lines = [*lines[: most - 1], "…"]
    return [(index == 0, line) for index, line in enumerate(lines)]
