"""The built-in wording: plain code, so that a broken template never loses a notification."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from relay.chat import Author, Chat
from relay.notification import Fact, Link, Notification, TranscriptMessage
from relay.templating import words
from relay.templating.description import called, kind
from relay.templating.excerpt import TEXT_ROOM, excerpt
from relay.templating.filters import indented
from relay.templating.links import mail_address, mail_link
from relay.templating.story import Story, local_time, tell, tone
from relay.text import clean_line

MAX_SUBJECT = 200


def fallback_notification(
    chat: Chat, *, rule: str, zone: ZoneInfo, reason: str, template: str = ""
) -> Notification:
    """What goes out when the template can't be rendered; its text says so, and why.

    `reason` is the problem in words (`str(BrokenTemplate)`), `template` the name of the broken template.
    """
    story = tell(chat, zone)
    headline = _headline(chat)
    note = words.FALLBACK_NOTE.format(
        template=f" {template!r}" if template else "", problem=clean_line(reason)
    )
    facts = tuple(
        Fact(label=label, value=value) for label, value in _facts(chat, story, rule, zone) if value
    )
    body = [
        headline,
        note,
        "\n".join(f"{fact.label}: {fact.value}" for fact in facts),
        *_lines(story),
    ]
    return Notification(
        subject=clean_line(words.FALLBACK_SUBJECT.format(headline=headline), MAX_SUBJECT),
        summary=f"{headline}. {note}",
        facts=facts,
        transcript=story.transcript,
        text="\n\n".join(body) + "\n",
        links=answer_link(chat),
        tone=tone(chat),
        visitor_name=chat.visitor.name,
        visitor_email=chat.visitor.email,
        fallback=True,
    )


def answer_link(chat: Chat) -> tuple[Link, ...]:
    """To the visitor's mailbox, where one was left."""
    address = mail_address(chat.visitor.email)
    if not address:
        return ()
    return (Link(label=words.ANSWER.format(address=address), url=mail_link(address)),)


def _headline(chat: Chat) -> str:
    who = called(chat.visitor)
    if chat.rating is not None and not chat.missed:
        return words.FALLBACK_RATED.format(rating=words.rating(chat.rating), who=who)
    return words.FALLBACK_HEADLINES[kind(chat)].format(who=who)


def _facts(chat: Chat, story: Story, rule: str, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    label = words.FALLBACK_LABELS
    if chat.rating is not None:
        yield label["rating"], words.rating(chat.rating)
    yield label["comment"], clean_line(chat.rating_comment)
    yield label["email"], chat.visitor.email
    yield label["note"], clean_line(chat.visitor.note)
    if chat.missed and story.waited is not None:
        yield label["waited"], words.duration(story.waited)
    if chat.began:
        began = local_time(chat.began, zone)
        yield label["began"], f"{words.day(began)}, {words.clock(began)}"
    yield label["rule"], rule
    yield label["chat"], words.FALLBACK_CHAT.format(id=chat.id, account=chat.account)


def _lines(story: Story) -> Iterator[str]:
    shown = excerpt(story.transcript, TEXT_ROOM)
    yield from map(_line, shown.head)
    if shown.left_out:
        yield words.FALLBACK_LEFT_OUT.format(
            count=words.counted(shown.left_out, *words.FALLBACK_MESSAGE)
        )
    yield from map(_line, shown.tail)


def _line(message: TranscriptMessage) -> str:
    said = (
        message.text
        if message.author is Author.SYSTEM
        else f"{message.name}: {indented(message.text)}"
    )
    gap = f"({message.gap})\n" if message.gap else ""
    return f"{gap}[{message.time}] {said}" if message.time else gap + said
