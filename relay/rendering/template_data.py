"""Converts a chat to the plain data that templates see: dicts, lists, text, numbers, booleans and None.

All text but that of messages is on one line, so that a visitor can't break out of a fact or a
subject.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from relay.chat import Chat, Page, Variable, Visitor, bot_only, unanswered
from relay.destination import NOBODY, VISITOR
from relay.links import answer_link, host, mail_link, web_link
from relay.mail_address import visitor_address
from relay.notification import Excerpt, Fact, Tone, TranscriptMessage
from relay.rendering.transcript import MAX_NAME, Story, local_time, tone
from relay.rendering.translation import Words
from relay.text import clean_line, cut

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
Description = dict[str, Plain]
MAX_PAGES = 8
MAX_VARIABLES = 100
"""The most variables of a visitor that templates see; no transport shows more."""
MAX_VALUE = 300
MAX_NOTE = 1_000


class Values(dict[str, Plain]):
    """The visitor's variables; a missing one is an empty text, not an error."""

    def __missing__(self, key: str) -> Plain:
        return ""


def describe(
    chat: Chat,
    story: Story,
    words: Words,
    *,
    zone: ZoneInfo,
    rule: str,
    public_url: str,
    reply_to: str,
) -> Description:
    """Return the data that every file of a template can use; `template_reference` explains each name."""
    return {
        **describe_setting(words, zone, public_url, tone(chat)),
        "rule": rule,
        "chat": _chat(chat, story, zone),
        "visitor": describe_visitor(chat.visitor, words, clean_line(story.question)),
        "reply_to": where_replies_go(reply_to, chat.visitor),
        "variables": _labelled(chat.visitor.variables, words),
        "pages": [_page(page) for page in reversed(chat.pages[-MAX_PAGES:])],
        "earlier_pages": max(0, len(chat.pages) - MAX_PAGES),
    }


def describe_setting(words: Words, zone: ZoneInfo, public_url: str, tone: Tone) -> Description:
    """Return the data that the templates of chats and of digests can use alike."""
    return {
        "language": words.language.name,
        "direction": words.language.locale.text_direction,
        "public_url": public_url,
        "timezone": str(zone),
        "tone": tone.value,
    }


def describe_texts(
    subject: str, summary: str, facts: Iterable[Fact], facts_left_out: int
) -> Description:
    """Return the data that the footer and bodies can use in addition: the output of the template's other files."""
    return {
        "subject": subject,
        "summary": summary,
        "facts": describe_facts(facts),
        "facts_left_out": facts_left_out,
    }


def describe_facts(facts: Iterable[Fact]) -> list[Plain]:
    return [{"label": fact.label, "value": fact.value} for fact in facts]


def describe_excerpt(excerpt: Excerpt) -> Description:
    """Return an excerpt of the transcript as data for templates."""
    return {
        "transcript": {
            "head": _messages(excerpt.head),
            "left_out": excerpt.left_out,
            "tail": _messages(excerpt.tail, _just_before_the_tail(excerpt)),
        }
    }


def kind(chat: Chat) -> str:
    """Return the kind of the chat: `offline`, `missed` or `finished`."""
    if chat.offline:
        return "offline"
    return "missed" if chat.missed else "finished"


def called(visitor: Visitor, words: Words, *, unknown: str = "") -> str:
    """Return a name for the visitor, at most MAX_NAME characters.

    Without name and address it is `unknown`, or "a visitor" in the reader's language.
    """
    name = visitor.name or visitor_address(visitor.email)
    return cut(name or unknown or words.a_visitor, MAX_NAME)


def _chat(chat: Chat, story: Story, zone: ZoneInfo) -> Description:
    return {
        "account": chat.account,
        "id": chat.id,
        "kind": kind(chat),
        "began": _local(chat.began, zone),
        "ended": _local(chat.ended, zone),
        "missed": chat.missed,
        "offline": chat.offline,
        "dropped": chat.dropped,
        "completed": chat.completed,
        "triggered": chat.triggered,
        "answered_chat": chat.answered_chat,
        "duration": _seconds(chat.duration),
        "first_response": _seconds(chat.first_response),
        "average_response": _seconds(chat.average_response),
        "message_count": chat.message_count,
        "word_count": chat.word_count,
        "rating": chat.rating,
        "rating_comment": clean_line(chat.rating_comment, MAX_NOTE),
        "unanswered": unanswered(chat),
        "bot_only": bot_only(chat),
        "agents": list(story.agents),
        "waited": story.waited,
        "question": clean_line(story.question),
        "last_words": clean_line(story.last_words),
    }


def where_replies_go(reply_to: str, visitor: Visitor) -> str:
    """Return the address for replies, or an empty string. `reply_to` has the form of `Destination.reply_to`."""
    if reply_to == VISITOR:
        return visitor_address(visitor.email)
    return "" if reply_to == NOBODY else reply_to


def describe_visitor(visitor: Visitor, words: Words, question: str) -> Description:
    """Return the data about the visitor: Smartsupp's fields, a name, and a link for a reply."""
    address = visitor_address(visitor.email)
    return {
        "id": visitor.id,
        "name": visitor.name,
        "called": called(visitor, words),
        "email": visitor.email,
        "address": address,
        "mail_link": mail_link(address) if address else "",
        "answer_link": answer_link(address, words.answer_subject, question) if address else "",
        "note": clean_line(visitor.note, MAX_NOTE),
        "group": visitor.group,
        "ip": visitor.ip,
        "city": visitor.city,
        "country_code": visitor.country_code,
        "country": visitor.country,
        "platform": visitor.platform,
        "user_agent": visitor.user_agent,
        "referer": visitor.referer,
        "variables": Values(
            {key: _clean_value(variable.value) for key, variable in visitor.variables.items()}
        ),
    }


def _labelled(variables: Mapping[str, Variable], words: Words) -> list[Plain]:
    """Return the variables for templates, with labels without colons: in a fact, a colon ends the label."""
    return [
        {
            "key": key,
            "label": clean_line(variable.label.replace(":", " "), 60) or words.variable,
            "value": _clean_value(variable.value),
        }
        for key, variable in list(variables.items())[:MAX_VARIABLES]
    ]


def beyond(variables: Mapping[str, Variable]) -> int:
    """Return how many of the visitor's variables are not passed to templates."""
    return max(0, len(variables) - MAX_VARIABLES)


def _clean_value(value: str | float) -> str | int | float | bool:
    return clean_line(value, MAX_VALUE) if isinstance(value, str) else value


def _page(page: Page) -> Plain:
    return {
        "url": page.url,
        "title": page.title,
        "host": host(page.url),
        "link": web_link(page.url),
    }


def _just_before_the_tail(excerpt: Excerpt) -> TranscriptMessage | None:
    return excerpt.head[-1] if excerpt.head and not excerpt.left_out else None


def _messages(
    transcript: tuple[TranscriptMessage, ...], before: TranscriptMessage | None = None
) -> list[Plain]:
    """Return the messages as data for templates: `again` if the previous message has the same author, `continued` if it has the same minute, too."""
    described: list[Plain] = []
    for message in transcript:
        again = (
            before is not None
            and not message.gap
            and (before.author, before.name) == (message.author, message.name)
        )
        entry: Plain = {
            "author": message.author.value,
            "name": message.name,
            "text": message.text,
            "time": message.time,
            "gap": message.gap,
            "again": again,
            "continued": again and before is not None and before.time == message.time,
        }
        described.append(entry)
        before = message
    return described


def _local(moment: datetime | None, zone: ZoneInfo) -> str | None:
    return local_time(moment, zone).isoformat() if moment else None


def _seconds(span: timedelta | None) -> float | None:
    """Return a time span in seconds; None if it is negative or unknown."""
    return span.total_seconds() if span is not None and span >= timedelta(0) else None
