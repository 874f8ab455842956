"""Notification -> Slack messages. Pure; inside every limit of Slack's (docs.slack.dev/reference/block-kit).

Only the mention from the rules file is markup; all else is escaped, or stands where Slack reads none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.languages import language_called
from relay.notification import Link, Notification, Tone
from relay.text import clean_line, cut, with_commands
from relay.transports.excerpt import says_all
from relay.transports.links import is_safe, label
from relay.transports.slack.elements import (
    MAX_SECTION,
    MAX_VISIBLE,
    Json,
    bold,
    code,
    escape,
    escaped_width,
    paragraph,
    plain,
    shortened,
    visible,
)
from relay.transports.slack.facts import fact_blocks
from relay.transports.slack.transcript import as_text, in_short, quoted_excerpt, replies

MOST_BLOCKS = 50
"""What Slack takes of a template's own; ours are fewer."""
MAX_HEADER = 150
MAX_FOOTER = 500
MAX_TEXT = 3_000
MAX_LINKS = 5

_SIGNS = {Tone.BAD: "🔴", Tone.GOOD: "🟢", Tone.NEUTRAL: "💬"}


@dataclass(frozen=True, slots=True)
class Thread:
    """What a bot posts: a message that says who, what and how bad, and below it what was said."""

    lead: Json
    replies: tuple[Json, ...] = ()
    title: str = ""
    file: str = ""
    """The whole transcript, where the replies leave something out; else empty."""


def pack(notification: Notification, *, mention: str = "") -> Json:
    """All in one message, for a webhook: `text`, `blocks` and no previews.

    `mention` is `here`, `channel`, or the ID of a user (U..., W...) or a user group (S...).
    """
    if notification.brief:
        return _message(_plain_text(notification, _mention(mention)), [])
    if own := _own(notification, _mention(mention)):
        return own
    call = _mention(mention)
    opening, about, ending = _top(notification, call), _about(notification), _bottom(notification)
    room = MAX_VISIBLE - visible([*opening, *about, *ending])
    quoted = quoted_excerpt(notification.transcript, room, notification.language)
    if says_all(notification):
        blocks = [*_top(notification, call, lead=False), *quoted, *about, *ending]
    else:
        blocks = [*opening, *about, *quoted, *ending]
    return _message(_top_level(notification, call), blocks)


def pack_thread(notification: Notification, *, mention: str = "", told: int = 0) -> Thread:
    """The same for a bot; the first `told` messages of the transcript stand in the thread already."""
    call = _mention(mention)
    if notification.brief:
        return Thread(_message(_plain_text(notification, call), []))
    blocks = [*_top(notification, call), *_about(notification), *_bottom(notification)]
    lead = _own(notification, call) or _message(_top_level(notification, call), blocks)
    new = notification.transcript[told:]
    if not new:
        return Thread(lead)
    found = replies(new, notification.language)
    return Thread(
        lead,
        tuple(_message(escape(in_short(blocks)), blocks) for blocks in found.blocks),
        title=_subject(notification),
        file="" if found.whole else _file(notification),
    )


def _own(notification: Notification, call: str) -> Json | None:
    """What the template's `slack.json` came to; None where there is none, or no room for the mention beside it."""
    own = notification.override
    if own is None:
        return None
    # Below the author's header, as below ours.
    place = 1 if own["blocks"][0]["type"] == "header" else 0
    blocks = [*own["blocks"][:place], *_called(call), *own["blocks"][place:]]
    text = own.get("text")
    said = f"{call} {text}".strip() if text else _top_level(notification, call)
    return _message(said, blocks) if len(blocks) <= MOST_BLOCKS else None


def _message(text: str, blocks: list[Json]) -> Json:
    message: Json = {"text": text, "unfurl_links": False, "unfurl_media": False}
    return {**message, "blocks": blocks} if blocks else message


def _top(notification: Notification, call: str, *, lead: bool = True) -> list[Json]:
    """Who, what, how bad; and with `lead` why, in words."""
    summary = shortened(notification.summary, MAX_SECTION) if lead else ""
    pieces = with_commands(summary)
    said = [code(text) if is_command else plain(text) for text, is_command in pieces]
    return [_header(notification), *_called(call), *paragraph(said)]


def _about(notification: Notification) -> list[Json]:
    """How to answer, and whom."""
    return [*paragraph(_ways_on(notification.links)), *fact_blocks(notification.facts)]


def _bottom(notification: Notification) -> list[Json]:
    """What is only looked up: below a transcript."""
    return [*paragraph(_visited(notification)), *_footer(notification)]


def _footer(notification: Notification) -> list[Json]:
    text = escape(cut(clean_line(notification.footer), MAX_FOOTER, escaped_width))
    small = {"type": "plain_text", "text": text, "emoji": False}
    return [{"type": "context", "elements": [small]}] if text else []


# -- the parts ---------------------------------------------------------------------------------------------


def _subject(notification: Notification) -> str:
    return clean_line(notification.subject) or clean_line(notification.summary) or "Smartsupp"


def _header(notification: Notification) -> Json:
    subject = f"{_SIGNS[notification.tone]} {_subject(notification)}"
    text = escape(cut(subject, MAX_HEADER, escaped_width))
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _mention(name: str) -> str:
    if name in {"here", "channel"}:
        return f"<!{name}>"
    if name.startswith("S"):
        return f"<!subteam^{name}>"
    return f"<@{name}>" if name else ""


def _called(call: str) -> list[Json]:
    """As a block of its own: a mention in the top-level text alone rings nobody's bell."""
    if not call:
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": call, "verbatim": True}}]


def _top_level(notification: Notification, call: str) -> str:
    """What stands in the push message, and what a screen reader reads: who and what come first."""
    parts = clean_line(notification.subject), clean_line(notification.summary, MAX_TEXT)
    said = " · ".join(part for part in parts if part)
    return _called_out(call, said or "Smartsupp")


def _plain_text(notification: Notification, call: str) -> str:
    """All there is to say without blocks, for a far end that found something wrong with them."""
    return _called_out(call, f"{_subject(notification)}\n{shortened(notification.text, MAX_TEXT)}")


def _called_out(call: str, words: str) -> str:
    text = escape(cut(words.strip(), MAX_TEXT - 100, escaped_width))
    return f"{call} {text}" if call else text


def _ways_on(links: Sequence[Link]) -> list[Json]:
    """To answer the visitor, mostly: beside what they said, where it is not overlooked."""
    return _joined([link for link in links if not link.visited])


def _visited(notification: Notification) -> list[Json]:
    pages = _joined([link for link in notification.links if link.visited])
    heading = language_called(notification.language).gettext("Pages visited")
    return [bold(f"{heading}: "), *pages] if pages else []


def _joined(links: Sequence[Link]) -> list[Json]:
    """Text links, no buttons: a click on a button is reported as failed where no app answers it."""
    elements: list[Json] = []
    for link in links[:MAX_LINKS]:
        if not is_safe(link.url, "https://", "http://", "mailto:"):
            continue
        if elements:
            elements.append(plain("  ·  "))
        elements.append({"type": "link", "url": link.url, "text": label(link, 100)})
    return elements


def _file(notification: Notification) -> str:
    facts = [f"{clean_line(fact.label)}: {clean_line(fact.value)}" for fact in notification.facts]
    head = "\n".join([_subject(notification), "", *facts]).strip()
    return f"{head}\n\n{as_text(notification.transcript)}"
