"""A chat as the plain data that templates see: dicts, lists, text, numbers, yes and no, nothing. No methods.

Everything but the text of a message is on one line: a visitor can't break out of a fact or a subject.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from relay.chat import Author, Chat, Page, Variable, Visitor
from relay.destination import NOBODY, VISITOR
from relay.links import answer_link, host, mail_link, web_link
from relay.mail_address import visitor_address
from relay.notification import Fact, TranscriptMessage
from relay.rendering.story import MAX_NAME, Excerpt, Story, local_time, tone
from relay.rendering.words import Words
from relay.text import clean_line, cut

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
MAX_PAGES = 8
MAX_VARIABLES = 100
"""More than any medium shows."""
MAX_VALUE = 300
MAX_NOTE = 1_000


class Values(dict[str, Plain]):
    """The visitor's variables: one that this visitor doesn't have is empty, not a mistake."""

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
) -> dict[str, Plain]:
    """What every file of a template can say. `reference` tells what each of it means."""
    visitor = describe_visitor(chat.visitor, words, clean_line(story.question))
    return {
        "rule": rule,
        "language": words.language.name,
        "direction": words.language.locale.text_direction,
        "public_url": public_url,
        "chat": _chat(chat, story, zone),
        "visitor": visitor,
        "reply_to": where_replies_go(reply_to, chat.visitor),
        "variables": _labelled(chat.visitor.variables, words),
        "pages": [_page(page) for page in reversed(chat.pages[-MAX_PAGES:])],
        "earlier_pages": max(0, len(chat.pages) - MAX_PAGES),
        "timezone": str(zone),
        "tone": tone(chat).value,
    }


def describe_told(
    subject: str, summary: str, facts: Iterable[Fact], facts_left_out: int
) -> dict[str, Plain]:
    """What the footer and the bodies can say besides: what the other files wrote."""
    return {
        "subject": subject,
        "summary": summary,
        "facts": describe_facts(facts),
        "facts_left_out": facts_left_out,
    }


def describe_facts(facts: Iterable[Fact]) -> list[Plain]:
    return [{"label": fact.label, "value": fact.value} for fact in facts]


def describe_excerpt(excerpt: Excerpt) -> dict[str, Plain]:
    """The transcript as templates get it, as far as a part has room for it."""
    return {
        "transcript": {
            "head": _messages(excerpt.head),
            "left_out": excerpt.left_out,
            "tail": _messages(excerpt.tail, _just_before_the_tail(excerpt)),
        }
    }


def kind(chat: Chat) -> str:
    """What sort of chat it was: `offline`, `missed` or `finished`."""
    if chat.offline:
        return "offline"
    return "missed" if chat.missed else "finished"


def called(visitor: Visitor, words: Words, *, unknown: str = "") -> str:
    """How to call the visitor, in at most MAX_NAME characters: `unknown`, or as within a sentence, where nothing is known."""
    known = visitor.name or visitor_address(visitor.email)
    return cut(known or unknown or words.a_visitor, MAX_NAME)


def _chat(chat: Chat, story: Story, zone: ZoneInfo) -> dict[str, Plain]:
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
        "unanswered": story.unanswered,
        "bot_only": story.unanswered and Author.AUTOMATIC in {m.author for m in chat.messages},
        "agents": list(story.agents),
        "waited": story.waited,
        "question": clean_line(story.question),
        "last_words": clean_line(story.last_words),
    }


def where_replies_go(reply_to: str, visitor: Visitor) -> str:
    """An address, or nothing. `reply_to`: what the destination says, as `Destination.reply_to`."""
    if reply_to == VISITOR:
        return visitor_address(visitor.email)
    return "" if reply_to == NOBODY else reply_to


def describe_visitor(visitor: Visitor, words: Words, question: str) -> dict[str, Plain]:
    """All that Smartsupp said of them, and how to call and to answer them."""
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
            {key: _one_line(variable.value) for key, variable in visitor.variables.items()}
        ),
    }


def _labelled(variables: Mapping[str, Variable], words: Words) -> list[Plain]:
    """As facts name them: a colon within a label would end it too early."""
    return [
        {
            "key": key,
            "label": clean_line(variable.label.replace(":", " "), 60) or words.variable,
            "value": _one_line(variable.value),
        }
        for key, variable in list(variables.items())[:MAX_VARIABLES]
    ]


def beyond(variables: Mapping[str, Variable]) -> int:
    """How many of the visitor's variables no template sees."""
    return max(0, len(variables) - MAX_VARIABLES)


def _one_line(value: str | float) -> str | int | float | bool:
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
    """`again`: the same person as before, whose name need not be said twice; `continued`: in the same minute, too."""
    described: list[Plain] = []
    for message in transcript:
        again = (
            before is not None
            and not message.gap
            and (before.author, before.name) == (message.author, message.name)
        )
        described.append(
            {
                "author": message.author.value,
                "name": message.name,
                "text": message.text,
                "time": message.time,
                "gap": message.gap,
                "again": again,
                "continued": again and before is not None and before.time == message.time,
            }
        )
        before = message
    return described


def _local(moment: datetime | None, zone: ZoneInfo) -> str | None:
    return local_time(moment, zone).isoformat() if moment else None


def _seconds(span: timedelta | None) -> float | None:
    """A length of time that somebody could have waited: a negative one says nothing."""
    return span.total_seconds() if span is not None and span >= timedelta(0) else None
