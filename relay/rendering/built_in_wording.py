"""The built-in wording: plain code, so that a broken template never loses a notification."""

from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.chat import Chat, Visitor
from relay.destination import VISITOR
from relay.languages import SOURCE, language_called
from relay.links import mail_link
from relay.mail_address import visitor_address
from relay.notification import Fact, Link, Notification
from relay.rendering.built_in_page import Page, built_in_html
from relay.rendering.description import called, kind
from relay.rendering.excerpt import HTML_ROOM, TEXT_ROOM, excerpt
from relay.rendering.plain_transcript import paragraphs, whole
from relay.rendering.story import Story, local_time, tell, tone
from relay.rendering.words import Words, stars, words_in
from relay.text import clean_line, cut, tidy_line

MAX_SUBJECT = 200
MAX_QUOTED = 400
"""Characters of a question that the transcript has, too."""
MAX_WHO = 40
"""Of the visitor's name on a link."""


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
    """What goes out when the template can't be rendered; its text says so, and why.

    `reason` is the problem in words (`str(BrokenTemplate)`), `template` the name of the broken template.
    """
    words = words_in(language)
    story = tell(chat, zone, words)
    headline = _headline(chat, words)
    note = _note(words, template, clean_line(reason))
    facts = tuple(
        Fact(label=label, value=value)
        for label, value in _facts(chat, story, rule, zone, words)
        if value
    )
    shown = excerpt(story.transcript, TEXT_ROOM, words.cut_but_attached)
    page = _page(chat, story, words, facts=facts, note=note, reply_to=reply_to)
    all_shown = shown.whole and page.transcript.whole
    lines = "\n".join(f"{fact.label}: {fact.value}" for fact in facts)
    broken = words.language.gettext("{headline} (template broken)", headline=headline)
    told = Notification(
        subject=tidy_line(broken, MAX_SUBJECT),
        summary=f"{headline}. {note}",
        facts=facts,
        text="\n\n".join([headline, note, lines, *paragraphs(shown, words)]) + "\n",
        html=built_in_html(page, words),
        attachment="" if all_shown else whole(headline, story.transcript),
        links=answer_link(chat, facts, words),
        built_in=True,
    )
    return with_chat(told, chat, story, words)


def with_chat(told: Notification, chat: Chat, story: Story, words: Words) -> Notification:
    """`told` and whatever no template has a say in."""
    return replace(
        told,
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
    """The chat first: that a template is broken is for whoever looks after the relay."""
    headline = _headline(chat, words)
    return Page(
        subject=headline,
        tone=tone(chat),
        badge=words.language.gettext("Built-in wording"),
        heading=headline,
        quote=chat.rating_comment or cut(clean_line(story.question), MAX_QUOTED),
        visitor=chat.visitor,
        reply_to=reply_to,
        facts=facts,
        transcript=excerpt(story.transcript, HTML_ROOM, words.cut_but_attached),
        foot=(note,),
    )


def in_place_of(told: Notification, failed: str, language: str) -> Notification:
    """Marked as one that `failed`, another destination, was to be told and could not."""
    _ = language_called(language).gettext
    line = _("This could not be delivered to {destination}.", destination=failed)
    subject = _("{subject} (instead of {destination})", subject=told.subject, destination=failed)
    return replace(
        told,
        subject=tidy_line(subject, MAX_SUBJECT),
        summary=f"{told.summary} {line}",
        text=f"{line}\n\n{told.text}" if told.text else "",
    )


def answer_link(chat: Chat, facts: Iterable[Fact], words: Words) -> tuple[Link, ...]:
    """To the visitor's mailbox, where one was left. Its address is told: by a fact, or else here."""
    address = visitor_address(chat.visitor.email)
    if not address:
        return ()
    is_told = any(address in fact.value for fact in facts)
    who = cut(called(chat.visitor, words), MAX_WHO) if is_told else address
    label = words.language.gettext("Reply to {who}", who=who)
    return (Link(label=label, url=mail_link(address)),)


def no_address(visitor: Visitor, words: Words) -> str:
    """What a post says where `answer_link` gives none; else empty."""
    if visitor_address(visitor.email):
        return ""
    _ = words.language.gettext
    if not visitor.email:
        return _("No email address")
    return _("“{text}” is not an email address", text=cut(visitor.email, MAX_WHO))


def _note(words: Words, template: str, problem: str) -> str:
    _ = words.language.gettext
    broken = (
        _("The template {template} is broken.", template=repr(template))
        if template
        else _("The template is broken.")
    )
    mend = _(
        "This is the relay's built-in wording. Fix the template and run `relay check`."
        " What was wrong: {problem}",
        problem=problem,
    )
    return f"{broken} {mend}"


def _headline(chat: Chat, words: Words) -> str:
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
    if chat.rating is not None and chat.missed:  # else the headline says it
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
