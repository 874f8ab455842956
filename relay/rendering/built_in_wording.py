"""The built-in wording of notifications, used for alerts and when a template fails.

It uses only code and files that come with the relay, so that a broken template never loses a
notification. Also inlines the CSS of templates, because several email programs ignore `<style>`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import jinja2
from css_inline import CSSInliner
from msgspec.structs import replace

from relay.chat import Chat, Visitor
from relay.destination import VISITOR
from relay.files import shipped
from relay.languages import SOURCE, language_called
from relay.links import mail_link
from relay.mail_address import visitor_address
from relay.notification import (
    Excerpt,
    Fact,
    Link,
    Notification,
    Tone,
    TranscriptMessage,
    transcript_line,
)
from relay.rendering.sandbox import Sandbox
from relay.rendering.template_data import (
    called,
    describe_excerpt,
    describe_facts,
    describe_visitor,
    kind,
    where_replies_go,
)
from relay.rendering.template_folders import Folders
from relay.rendering.transcript import (
    HTML_ROOM,
    TEXT_ROOM,
    Story,
    excerpt,
    local_time,
    story_of,
    tone,
)
from relay.rendering.translation import Words, stars, words_in
from relay.text import clean_line, cut, tidy_line, with_commands

_RULES = re.compile(r"<style\b(?![^>{]*\bdata-css-inline=\"ignore\")", re.IGNORECASE)
"""Finds a `<style>` whose rules must be inlined. Only templates write tags: visitors' text is escaped by now."""

# The inliner must not load or read any file. Rules that
# can't be inlined (@media, :hover) stay in their <style>.
_INLINER = CSSInliner(
    load_remote_stylesheets=False, keep_style_tags=True, remove_inlined_selectors=True
)


def may_have_rules(source: str) -> bool:
    """Whether a template or a rendered document has CSS rules to inline."""
    return _RULES.search(source) is not None


def inlined(html: str) -> str:
    """Return an HTML document with the rules of its `<style>` moved to the elements' style attributes."""
    return _INLINER.inline(html) if may_have_rules(html) else html


PAGE = "built_in.html"


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The contents of an email in the built-in wording, in order. No text is escaped yet."""

    subject: str
    tone: Tone
    badge: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    """Sentences written by the relay; commands are in `backticks`, as in `foot`."""
    quote: str = ""
    """The visitor's words."""
    visitor: Visitor | None = None
    """The visitor to reply to; None if there is none."""
    reply_to: str = VISITOR
    """The recipient of replies, as in `Destination.reply_to`."""
    facts: tuple[Fact, ...] = ()
    transcript: Excerpt = Excerpt()  # noqa: RUF009 - frozen
    foot: tuple[str, ...] = ()


def built_in_html(page: Page, words: Words) -> str:
    """Return the HTML part of the built-in wording.

    Empty if rendering fails, for example in an incomplete installation: the email then has only its
    text part.
    """
    try:
        template = _writer(words).get_template(PAGE)
        return template.render(_described(page, words)).strip() + "\n"
    except Exception:
        log.exception("the built-in wording is sent without its HTML part")
        return ""


@lru_cache(maxsize=16)
def _writer(words: Words) -> Sandbox:
    """Return the sandbox that renders the built-in page in these words.

    Cached by the words rather than by language, since an edited catalogue gives new words.
    """
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


def whole(heading: str, transcript: tuple[TranscriptMessage, ...]) -> str:
    """Return the full transcript as plain text, for attachment to a shortened email."""
    return "\n".join([heading, "", *map(transcript_line, transcript)]) + "\n"


def paragraphs(shown: Excerpt, words: Words) -> Iterator[str]:
    """Yield an excerpt as lines of plain text, with a line that counts the messages left out."""
    yield from map(transcript_line, shown.head)
    if shown.left_out:
        yield f"[{words.left_out(shown.left_out)}]"
    yield from map(transcript_line, shown.tail)


MAX_SUBJECT = 200
MAX_QUOTED = 400
"""The most characters of a question that the transcript shows as well."""
MAX_WHO = 40
"""The most characters of a visitor's name on a link."""


def built_in_notification(
    chat: Chat,
    *,
    rule: str,
    zone: ZoneInfo,
    reason: str,
    template: str = "",
    language: str = SOURCE,
    reply_to: str = VISITOR,
) -> Notification:
    """Return the notification of a chat whose template can't be rendered; its text says so, and why.

    `reason` is the problem in words (`str(BrokenTemplate)`), `template` the name of the broken
    template.
    """
    words = words_in(language)
    story = story_of(chat, zone, words)
    title = headline(chat, words)
    note = template_note(words, template, clean_line(reason))
    facts = tuple(
        Fact(label=label, value=value)
        for label, value in _facts(chat, story, rule, zone, words)
        if value
    )
    shown = excerpt(story.transcript, TEXT_ROOM, words.cut_but_attached)
    page = _page(chat, story, words, facts=facts, note=note, reply_to=reply_to)
    all_shown = shown.whole and page.transcript.whole
    lines = "\n".join(f"{fact.label}: {fact.value}" for fact in facts)
    broken = words.language.gettext("{headline} (template broken)", headline=title)
    notification = Notification(
        subject=tidy_line(broken, MAX_SUBJECT),
        summary=note,
        facts=facts,
        text="\n\n".join([title, note, lines, *paragraphs(shown, words)]) + "\n",
        html=built_in_html(page, words),
        attachment="" if all_shown else whole(title, story.transcript),
        links=answer_link(chat, facts, words),
        built_in=True,
    )
    return add_chat(notification, chat, story, words)


def add_chat(notification: Notification, chat: Chat, story: Story, words: Words) -> Notification:
    """Return the notification with the fields that come from the chat and that no template can change."""
    return replace(
        notification,
        transcript=story.transcript,
        no_address=no_address(chat.visitor, words),
        stars=stars(chat.rating),
        tone=tone(chat),
        language=words.language.name,
        visitor_id=chat.visitor.id,
        visitor_name=chat.visitor.name,
        visitor_email=chat.visitor.email,
    )


def _page(
    chat: Chat, story: Story, words: Words, *, facts: tuple[Fact, ...], note: str, reply_to: str
) -> Page:
    """Return the contents of the email; the note about the broken template, for the administrator, is last."""
    title = headline(chat, words)
    return Page(
        subject=title,
        tone=tone(chat),
        badge=words.language.gettext("Built-in wording"),
        heading=title,
        quote=chat.rating_comment or cut(clean_line(story.question), MAX_QUOTED),
        visitor=chat.visitor,
        reply_to=reply_to,
        facts=facts,
        transcript=excerpt(story.transcript, HTML_ROOM, words.cut_but_attached),
        foot=(note,),
    )


def mark_as_fallback(plain: Notification, failed: str, language: str) -> Notification:
    """Return the notification marked as one that could not be delivered to the destination `failed`."""
    _ = language_called(language).gettext
    line = _("This could not be delivered to {destination}.", destination=failed)
    subject = _("{subject} (instead of {destination})", subject=plain.subject, destination=failed)
    return replace(
        plain,
        subject=tidy_line(subject, MAX_SUBJECT),
        summary=f"{plain.summary} {line}",
        text=f"{line}\n\n{plain.text}" if plain.text else "",
    )


def answer_link(chat: Chat, facts: Iterable[Fact], words: Words) -> tuple[Link, ...]:
    """Return a mailto: link to the visitor, as a tuple; empty if the visitor left no valid address.

    The link's text shows the address unless a fact does.
    """
    address = visitor_address(chat.visitor.email)
    if not address:
        return ()
    is_shown = any(address in fact.value for fact in facts)
    who = cut(called(chat.visitor, words), MAX_WHO) if is_shown else address
    label = words.language.gettext("Reply to {who}", who=who)
    return (Link(label=label, url=mail_link(address)),)


def no_address(visitor: Visitor, words: Words) -> str:
    """Return a sentence saying that the visitor left no valid address; empty if there is one."""
    if visitor_address(visitor.email):
        return ""
    _ = words.language.gettext
    if not visitor.email:
        return _("No email address")
    return _("“{text}” is not an email address", text=cut(visitor.email, MAX_WHO))


def template_note(words: Words, template: str, problem: str) -> str:
    _ = words.language.gettext
    broken = (
        _("The template {template} is broken.", template=_("“{text}”", text=template))
        if template
        else _("The template is broken.")
    )
    fix = _(
        "This is the relay's built-in wording. Fix the template and run `relay check`."
        " What was wrong: {problem}",
        problem=problem,
    )
    return f"{broken} {fix}"


def headline(chat: Chat, words: Words) -> str:
    """Return a chat's subject: its rating, or that it was missed, with the visitor's name."""
    _, who = words.language.gettext, called(chat.visitor, words)
    if chat.rating is not None and not chat.missed:
        return _("Rated {rating}: {who}", rating=words.rating(chat.rating), who=who)
    match kind(chat):
        case "offline":
            return _("Offline message from {who}", who=who)
        case "missed":
            return _("Missed chat: {who}", who=who)
        case _:
            return _("Chat with {who}", who=who)


def _facts(
    chat: Chat, story: Story, rule: str, zone: ZoneInfo, words: Words
) -> Iterator[tuple[str, str]]:
    _ = words.language.gettext
    if chat.rating is not None and chat.missed:  # otherwise the headline says it
        yield _("Rating"), words.rating(chat.rating)
    yield _("Comment"), clean_line(chat.rating_comment)
    yield _("Email"), chat.visitor.email
    yield _("Note"), clean_line(chat.visitor.note)
    if chat.missed and story.waited is not None:
        yield _("Waited"), words.duration(story.waited)
    if chat.began:
        yield _("Began"), words.day_and_clock(local_time(chat.began, zone))
    yield _("Rule"), rule
    yield _("Chat"), _("{id} of account {account}", id=chat.id, account=chat.account)
