"""The HTML part of a mail in the relay's own words, in the look of all others: for an alert, and in a broken template's place.

Made of the frame and the pieces that come with the relay; a user's folder is never asked for them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import jinja2

from relay.chat import Visitor
from relay.destination import VISITOR
from relay.files import shipped
from relay.notification import Fact, Tone
from relay.rendering.description import (
    describe_excerpt,
    describe_facts,
    describe_visitor,
    where_replies_go,
)
from relay.rendering.excerpt import Excerpt
from relay.rendering.folders import Folders
from relay.rendering.sandbox import Sandbox
from relay.rendering.words import Words
from relay.text import with_commands

PAGE = "built_in.html"

NOTHING_SAID = Excerpt(head=(), left_out=0, tail=())

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What such a mail says, from top to bottom. None of it is escaped yet."""

    subject: str
    tone: Tone
    badge: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    """Ours, with commands in `backticks`, as in `foot`."""
    quote: str = ""
    """The visitor's words."""
    visitor: Visitor | None = None
    """Whom to answer, if anybody."""
    reply_to: str = VISITOR
    """Where replies go; the values are those of `Destination.reply_to`."""
    facts: tuple[Fact, ...] = ()
    transcript: Excerpt = NOTHING_SAID
    foot: tuple[str, ...] = ()


def built_in_html(page: Page, words: Words) -> str:
    """Empty where it can't be made, which an incomplete installation may come to: then the text part goes out alone."""
    try:
        template = _writer(words).get_template(PAGE)
        return template.render(_described(page, words)).strip() + "\n"
    except Exception:
        log.exception("the built-in wording is sent without its HTML part")
        return ""


@lru_cache(maxsize=16)
def _writer(words: Words) -> Sandbox:
    """By the words, not by the name of their language: after an edit of a catalogue it has others."""
    own = (files("relay.rendering") / PAGE).read_text(encoding="utf-8")
    parts = Folders((shipped("templates"),))

    def source(name: str) -> str | tuple[str, str, Callable[[], bool] | None] | None:
        return own if name == PAGE else parts.source(name)

    return Sandbox(jinja2.FunctionLoader(source), words, autoescape=True)


def _described(page: Page, words: Words) -> dict[str, object]:
    return {
        "language": words.language.name,
        "direction": words.language.locale.text_direction,
        "subject": page.subject,
        "preheader": page.quote or " ".join(page.paragraphs).replace("`", ""),
        "tone": page.tone.value,
        "badge": page.badge,
        "heading": page.heading,
        "paragraphs": [_pieces(paragraph) for paragraph in page.paragraphs],
        "quote": page.quote,
        "visitor": describe_visitor(page.visitor, words, page.quote) if page.visitor else None,
        "reply_to": where_replies_go(page.reply_to, page.visitor) if page.visitor else "",
        "facts": describe_facts(page.facts),
        "transcript_title": words.language.gettext("Transcript"),
        **describe_excerpt(page.transcript),
        "foot": [_pieces(line) for line in page.foot],
    }


def _pieces(text: str) -> list[dict[str, str | bool]]:
    return [{"text": piece, "code": is_command} for piece, is_command in with_commands(text)]
