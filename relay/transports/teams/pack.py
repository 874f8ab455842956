"""Notification -> the bytes of a Teams post. Pure; inside the size that a flow can hand on.

What people typed stands in `TextRun`s, where Teams reads no Markdown and no mentions: there is nothing to escape
and no link to dress up. Version 1.4 with elements of 1.2 only: flows have refused newer ones.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from relay.chat import Author
from relay.languages import language_called
from relay.links import is_safe, label
from relay.notification import Link, Notification, Tone, TranscriptMessage
from relay.text import cut, tidy, tidy_line, trimmed, with_commands
from relay.transports.excerpt import (
    SIGNS,
    excerpt,
    facts_left_out_line,
    left_out_line,
    most_shown,
    says_all,
)

Json = dict[str, Any]

MAX_BYTES = 18 * 1024
"""Of the post as it is sent, in UTF-8."""
MAX_QUOTED = 24 * 1024
"""Of the post as a flow keeps it: quoted as text within JSON. Teams refuses more than 28 KB, and tells nobody."""
VERSION = "1.4"
"""Flows have refused newer ones."""
MAX_MESSAGE = 1_200
MAX_LINES = 20
"""Of one message: each is a block of its own, as line breaks within a TextRun are not promised to show."""
MAX_FACTS = 20
MAX_FACT = 300
MAX_SUMMARY = 1_000
MAX_SUBJECT = 200
MAX_IN_SHORT = 300
MAX_FOOTER = 300
MAX_ACTIONS = 4
COMPOSE = "https://outlook.office.com/mail/deeplink/compose?to="
"""Begins a mail in Outlook on the web: who reads in Teams has an account there."""
MAX_PAGES = 3
MAX_PAGE_URL = 500

_STYLES = {Tone.BAD: "attention", Tone.GOOD: "good", Tone.NEUTRAL: "accent"}
# The card's own functions ({{DATE(...)}}) and mentions (<at>...</at>), taken apart by a space without width.
_FUNCTION = re.compile(r"\{(?=\{)")
_AT = re.compile(r"<(?=/?at\b)", re.IGNORECASE)
_BLANKS = re.compile(r"\A[ \t]+|\t|  +")
"""What Teams would show as one blank, or as none at the beginning of a line."""


def pack(notification: Notification) -> bytes:
    """A whole post as UTF-8 JSON: with as much of the transcript as fits, else without, else just the head.

    Never larger than a flow can hand on, as nobody would tell us.
    """
    notification = notification.set_apart(rtl=language_called(notification.language).rtl)
    if notification.brief:
        words = _words(notification)
        return _smallest(notification, [*words, *_facts(notification)], words)
    if notification.override and fits(own := in_envelope(notification, notification.override)):
        return own
    head, answer = _head(notification), _answer(notification)
    ending = [*_facts(notification), *_visited(notification), *_footer(notification)]
    bare = _post(notification, [*head, *answer, *ending])
    if not fits(bare):
        return _smallest(notification, [*head, *answer], head)
    transcript = _transcript(notification, _Room.beside(bare))
    if says_all(notification):
        head = _head(notification, lead=False)
    whole = _post(notification, [*head, *answer, *transcript, *ending])
    return whole if fits(whole) else bare


def _smallest(notification: Notification, *bodies: Sequence[Json]) -> bytes:
    """The first of them that fits; else the title, which always does."""
    posts = (_post(notification, body) for body in (*bodies, _words(notification)[:1]))
    return next(filter(fits, posts), _post(notification, []))


def fits(post: bytes) -> bool:
    """Whether a flow can hand it on."""
    return len(post) <= MAX_BYTES and _quoted(post) <= MAX_QUOTED


def _quoted(piece: bytes) -> int:
    return len(json.dumps(piece.decode()))


@dataclass(frozen=True, slots=True)
class _Room:
    """What is left of both limits."""

    plain: int
    quoted: int

    @classmethod
    def beside(cls, post: bytes) -> "_Room":
        return cls(max(MAX_BYTES - len(post), 1), max(MAX_QUOTED - _quoted(post), 1))

    def share(self, blocks: list[Json]) -> int:
        """How much of it they take up, in FULL-ths, by the limit that they use up first."""
        piece = msgspec.json.encode(blocks)
        plain, quoted = len(piece) + COMMAS, _quoted(piece) + COMMAS
        return max(plain * FULL // self.plain, quoted * FULL // self.quoted) + 1


FULL = 1_000_000
COMMAS = 10
"""Bytes between one message and the next."""


def _post(notification: Notification, body: Sequence[Json]) -> bytes:
    return in_envelope(notification, {**frame(notification), "body": body})


def frame(notification: Notification) -> Json:
    """What every card says of itself."""
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "lang": notification.language,
        "msteams": {"width": "Full"},
        "fallbackText": _in_short(notification),
    }


def in_envelope(notification: Notification, card: Json) -> bytes:
    """The post that brings the card, as it is sent."""
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return msgspec.json.encode(
        {"type": "message", "summary": _in_short(notification), "attachments": [attachment]}
    )


# -- the parts ---------------------------------------------------------------------------------------------


def inert(text: str) -> str:
    """Text in which Teams finds nothing to carry out."""
    return _AT.sub("<\u200b", _FUNCTION.sub("{\u200b", tidy(text)))


def _line(text: str, limit: int) -> str:
    return inert(tidy_line(text, limit))


def _title(notification: Notification) -> str:
    return _line(notification.subject, MAX_SUBJECT) or "Smartsupp"


def _in_short(notification: Notification) -> str:
    """For the activity feed, and where no card can be shown."""
    parts = _title(notification), _line(notification.summary, MAX_IN_SHORT)
    return " · ".join(part for part in parts if part)


def _run(text: str, **style: str | bool) -> Json:
    return {"type": "TextRun", "text": text, **style}


def _block(*runs: Json, spacing: str = "None") -> Json:
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": list(runs)}


def _head(notification: Notification, *, lead: bool = True) -> list[Json]:
    """Subject and, with `lead`, summary on the colour of the tone, from edge to edge."""
    style, items = _STYLES[notification.tone], _words(notification)[: None if lead else 1]
    return [{"type": "Container", "style": style, "bleed": True, "items": items}]


def _words(notification: Notification) -> list[Json]:
    """Subject and summary, a block for each line."""
    summary = _shortened(notification.summary, MAX_SUMMARY)
    title = f"{_title(notification)}  {notification.stars}".rstrip()
    return [
        _block(_run(title, size="Large", weight="Bolder")),
        *(
            _block(*_runs(line), spacing="Small" if first else "None")
            for first, line in _lines(summary, MAX_LINES)
        ),
    ]


def _runs(text: str) -> Iterator[Json]:
    for piece, is_command in with_commands(text):
        yield _run(piece, fontType="Monospace") if is_command else _run(piece)


def _facts(notification: Notification) -> list[Json]:
    """Not a FactSet, which reads Markdown: a page's title or a visitor's name may be the value."""
    shown = notification.facts[:MAX_FACTS]
    blocks = [
        _block(
            _run(f"{_line(fact.label, 60)}: ", weight="Bolder"),
            _run(_line(fact.value, MAX_FACT) or "-"),
            spacing="Small" if index else "Medium",
        )
        for index, fact in enumerate(shown)
    ]
    if more := len(notification.facts) - len(shown) + notification.facts_left_out:
        said = facts_left_out_line(more, notification.language)
        blocks.append(_block(_run(said, italic=True, isSubtle=True), spacing="Small"))
    return blocks


def _footer(notification: Notification) -> list[Json]:
    text = _line(notification.footer, MAX_FOOTER)
    return [_block(_run(text, size="Small", isSubtle=True), spacing="Medium")] if text else []


def _answer(notification: Notification) -> list[Json]:
    """Buttons to answer the visitor, or why there are none: where nobody has to look for them."""
    actions = [
        _open(link, _line(label(link, 80), 80))
        for link in notification.links
        if not link.visited and is_safe(_url(link), "https://")
    ][:MAX_ACTIONS]
    if actions:
        return [{"type": "ActionSet", "spacing": "Medium", "actions": actions}]
    text = _line(notification.no_address, MAX_FACT)
    return [_block(_run(text, isSubtle=True), spacing="Medium")] if text else []


def _open(link: Link, title: str) -> Json:
    return {"type": "Action.OpenUrl", "title": title, "url": _url(link)}


def _url(link: Link) -> str:
    """Teams opens no mailto: address (MicrosoftDocs/msteams-docs#3677); Outlook's page takes the same address."""
    scheme, _, address = link.url.partition(":")
    if scheme == "mailto":
        # A plus sign would come out as a blank at the other end.
        return f"{COMPOSE}{quote(unquote(address), safe='@')}"
    return link.url.replace("{", "%7B").replace(
        "}", "%7D"
    )  # or Teams fills in what {{DATE()}} asks for


def _visited(notification: Notification) -> list[Json]:
    """Where the visitor was: links that name the host they lead to, as titles are the visitor's to choose."""
    pages = [_page(link) for link in notification.links if link.visited][:MAX_PAGES]
    if not pages:
        return []
    heading = language_called(notification.language).gettext("Pages visited")
    return [_block(_run(f"{heading}:", weight="Bolder"), spacing="Medium"), *pages]


def _page(link: Link) -> Json:
    """A container, as that can be pressed in every client of Teams; a run of text can't on phones."""
    opens = is_safe(link.url, "https://") and len(link.url) <= MAX_PAGE_URL
    title = _line(label(link, 80), 200)
    run = _run(title, **({"color": "Accent"} if opens else {}))
    page: Json = {"type": "Container", "spacing": "Small", "items": [_block(run)]}
    return {**page, "selectAction": _open(link, title)} if opens else page


def _shortened(text: str, limit: int) -> str:
    return inert(cut(trimmed(tidy(text)), limit))


def _lines(text: str, most: int) -> list[tuple[bool, str]]:
    """Lines that say something, the first one marked. Blanks are such as Teams does not fold."""
    lines = [
        _BLANKS.sub(lambda blanks: "\N{NO-BREAK SPACE}" * len(blanks[0].expandtabs(4)), line)
        for line in map(str.rstrip, text.split("\n"))
        if line
    ]
    if len(lines) > most:
        lines = [*lines[: most - 1], "…"]
    return [(index == 0, line) for index, line in enumerate(lines)]


# -- the transcript ----------------------------------------------------------------------------------------


def _transcript(notification: Notification, room: _Room) -> list[Json]:
    """A panel with as many messages as there is room for; nothing where there is no chat."""
    if not notification.transcript:
        return []
    frame = room.share([_panel([_left_out(len(notification.transcript), notification.language)])])
    shown = excerpt(
        notification.transcript,
        FULL - frame,
        lambda message: room.share(_said(message)),
        most=most_shown(notification.transcript),
    )
    items = [block for message in shown.opening for block in _said(message)]
    if shown.left_out:
        items.append(_left_out(shown.left_out, notification.language))
    items += [block for message in shown.ending for block in _said(message)]
    return [_panel(items)]


def _left_out(count: int, language: str) -> Json:
    return _block(_run(left_out_line(count, language), italic=True, isSubtle=True), spacing="Small")


def _panel(items: list[Json]) -> Json:
    return {
        "type": "Container",
        "style": "emphasis",
        "spacing": "Medium",
        "items": items,
    }


def _said(message: TranscriptMessage) -> list[Json]:
    """`14:05 Marta Nowak: Hello`, and each further line of it as a block."""
    time = [_run(f"{message.time}  ", isSubtle=True)] if message.time else []
    gap = [_gap(message)] if message.gap else []
    text = _shortened(message.text, MAX_MESSAGE)
    if message.author is Author.SYSTEM:
        words = " ".join(text.split()) or "-"
        return [*gap, _block(*time, _run(words, italic=True, isSubtle=True), spacing="Small")]
    sign = SIGNS.get(message.author, "")
    name = _run(f"{sign}{_line(message.name, 60)}: ", weight="Bolder", **_colour(message.author))
    first, *others = [line for _, line in _lines(text, MAX_LINES)] or ["-"]
    if first.startswith("\N{NO-BREAK SPACE}"):  # as the lines below it: code, mostly
        first, others = "", [first, *others]
    blocks = [_block(*time, name, *([_run(first)] if first else ()), spacing="Small")]
    return [*gap, *blocks, *(_block(_run(line)) for line in others)]


def _gap(message: TranscriptMessage) -> Json:
    words = _line(message.gap, 60)
    return _block(_run(f"⏳ {words}", italic=True, isSubtle=True), spacing="Small")


def _colour(author: Author) -> dict[str, str]:
    return {"color": "Accent"} if author is Author.VISITOR else {}
