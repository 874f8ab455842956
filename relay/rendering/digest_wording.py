"""Renders a digest as a notification, with the templates in `templates/digest/` or in the built-in wording."""

import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import groupby
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.chat import Chat
from relay.languages import N_, SOURCE
from relay.links import mail_link
from relay.mail_address import visitor_address
from relay.notification import (
    DigestContents,
    DigestGroup,
    DigestLine,
    DigestSection,
    Fact,
    Link,
    Notification,
    Tone,
)
from relay.rendering.built_in_wording import Page, built_in_html, headline, template_note
from relay.rendering.template_data import (
    Plain,
    called,
    describe,
    describe_setting,
    describe_texts,
)
from relay.rendering.template_folders import DIGEST, BrokenTemplate
from relay.rendering.templates import Templates
from relay.rendering.transcript import local_time, story_of, tone
from relay.rendering.translation import Words, stars, words_in
from relay.smartsupp import read_chat
from relay.text import clean_line, tidy, tidy_line
from relay.timing.digest_contents import Digest, Member

MAX_SUBJECT = 200
MAX_SUMMARY = 500
MAX_LINE = 200
MAX_WORDS = 250
MAX_REASON = 200
"""The most characters of a mute's reason and of its author's name."""
_HEADINGS = {
    "hours": N_("Outside the hours of {destination}"),
    "send": N_("Collected"),
    "once per visitor": N_("More from the same visitors"),
    "muted": N_("Muted"),
}
_OTHERS = N_("Others")
READ_FROM_START, READ_FROM_END = 50, 250
"""How many messages are read from a chat's start and end: a digest's line needs few, and long chats
would take minutes.
"""
Read = Callable[[Member], Chat]


def read_member(member: Member) -> Chat:
    """Return the chat of a member; a very long chat lacks the messages in the middle."""
    chat = read_chat(zlib.decompress(member.body), member.updated)
    messages = chat.messages
    if len(messages) > READ_FROM_START + READ_FROM_END:
        messages = (*messages[:READ_FROM_START], *messages[-READ_FROM_END:])
        chat = replace(chat, messages=messages)
    return chat


# -- by the templates -----------------------------------------------------------------------------------------


def digest_notification(
    templates: Templates,
    digest: Digest,
    *,
    language: str,
    zone: ZoneInfo,
    public_url: str = "",
    bodies: bool = True,
    read: Read = read_member,
) -> Notification:
    """Return the notification of a digest.

    If `bodies` is False, `text` and `html` stay empty. Raises BrokenTemplate.
    """
    writer = templates.writer(language)
    words = writer.words

    def line(member: Member) -> tuple[Chat, str, str]:
        chat = read(member)
        story = story_of(chat, zone, words)
        rule = member.rules[0]
        data = describe(
            chat, story, words, zone=zone, rule=rule, public_url=public_url, reply_to=""
        )
        written = tidy(writer.write(writer.in_text, DIGEST, "line.txt", data))
        event, _, quote = written.strip().partition("\n")
        if not event:
            empty = "comes out empty; it must always say something"
            raise BrokenTemplate(DIGEST, writer.path(DIGEST, "line.txt"), 0, empty)
        return chat, tidy_line(event, MAX_LINE), tidy_line(quote, MAX_WORDS)

    contents = _contents(digest, words, zone, line)
    data = _described(digest, contents, words, zone, public_url)
    subject = writer.text_line(DIGEST, "subject.txt", data, MAX_SUBJECT)
    summary = writer.text_line(DIGEST, "summary.txt", data, MAX_SUMMARY)
    data |= describe_texts(subject, summary, (), 0)
    footer = writer.text_line(DIGEST, "footer.txt", data, MAX_SUMMARY, may_be_empty=True)
    data["footer"] = footer
    notification = _notification(contents, words, subject=subject, summary=summary, footer=footer)
    if not bodies:
        return notification
    text = writer.write(writer.in_text, DIGEST, "body.txt", data).strip() + "\n"
    html = writer.write(writer.in_html, DIGEST, "body.html", data).strip() + "\n"
    return replace(notification, text=text, html=html)


def built_in_digest(
    digest: Digest,
    *,
    language: str = SOURCE,
    zone: ZoneInfo,
    reason: str,
    template: str = "",
    read: Read = read_member,
) -> Notification:
    """Return the notification of a digest whose templates can't be used; its text says so, and why."""
    words = words_in(language)

    def line(member: Member) -> tuple[Chat, str, str]:
        chat = read(member)
        return chat, headline(chat, words), ""

    contents = _contents(digest, words, zone, line)
    ngettext = words.language.ngettext
    subject = ngettext("{count} chat", "{count} chats", digest.count, count=digest.count)
    note = template_note(words, template, clean_line(reason))
    facts = tuple(Fact(label=line.came, value=line.summary) for line in contents.lines)
    more = (more_line(words, contents.more),) if contents.more else ()
    lines = "\n".join(f"{fact.label}: {fact.value}" for fact in facts)
    notes = "\n".join((*more, *contents.notes))
    page = Page(
        subject=subject,
        tone=Tone.NEUTRAL,
        badge=words.language.gettext("Built-in wording"),
        heading=subject,
        facts=facts,
        foot=(*more, *contents.notes, note),
    )
    notification = _notification(contents, words, subject=subject, summary=note, footer="")
    return replace(
        notification,
        text="\n\n".join(filter(None, (subject, note, lines, notes))) + "\n",
        html=built_in_html(page, words),
        built_in=True,
    )


def _notification(
    contents: DigestContents, words: Words, *, subject: str, summary: str, footer: str
) -> Notification:
    """Return a notification of the contents; its facts are for a server that refuses longer forms."""
    groups = [group for section in contents.sections for group in section.groups]
    return Notification(
        subject=subject,
        summary=summary,
        facts=tuple(Fact(label=group.rule, value=str(group.count)) for group in groups),
        footer=footer,
        tone=_tone(contents),
        language=words.language.name,
        digest=contents,
    )


def _tone(contents: DigestContents) -> Tone:
    """Return the tone that all chats of a digest share; NEUTRAL if they differ."""
    tones = {line.tone for line in contents.lines}
    return tones.pop() if len(tones) == 1 else Tone.NEUTRAL


def more_line(words: Words, count: int) -> str:
    """Return the line below the chats that says how many more there are."""
    return words.language.ngettext("… and {count} more", "… and {count} more", count, count=count)


# -- what it says ---------------------------------------------------------------------------------------------

Line = Callable[[Member], tuple[Chat, str, str]]
"""Returns a chat's line: the chat, what happened, and the visitor's words."""


def _contents(digest: Digest, words: Words, zone: ZoneInfo, line: Line) -> DigestContents:
    reasons = {group.why for group in digest.groups}
    sections = []
    for why, same_reason in groupby(digest.groups, key=lambda group: group.why):
        groups = list(same_reason)
        count = sum(group.count for group in groups)
        heading = "" if reasons == {"send"} else _heading(digest, why, count, words, zone)
        described = []
        for group in groups:
            lines = tuple(_line(each, line, digest, words, zone) for each in group.members)
            rule = clean_line(group.rule)
            described.append(DigestGroup(rule=rule, count=group.count, lines=lines))
        sections.append(DigestSection(heading=heading, groups=tuple(described)))
    notes = tuple(_notes(digest, words, zone))
    return DigestContents(
        count=digest.count, sections=tuple(sections), notes=notes, erased=digest.erased
    )


def _line(member: Member, line: Line, digest: Digest, words: Words, zone: ZoneInfo) -> DigestLine:
    chat, event, quote = line(member)
    address = visitor_address(chat.visitor.email)
    reply = words.language.gettext("Reply")
    closed_at = local_time(digest.closed_at, zone)
    return DigestLine(
        account=member.account,
        id=member.chat,
        who=called(chat.visitor, words, unknown=words.visitor),
        summary=event,
        words=quote,
        came=words.moment(local_time(member.arrived, zone), closed_at),
        arrived=member.arrived,
        rules=member.rules,
        why=member.why,
        stars=stars(chat.rating),
        tone=tone(chat),
        answer=Link(label=reply, url=mail_link(address)) if address else None,
    )


def _heading(digest: Digest, why: str, count: int, words: Words, zone: ZoneInfo) -> str:
    _, ngettext = words.language.gettext, words.language.ngettext
    if mute := digest.mutes.get(why):
        return _(
            "Muted by {name} until {time}: {reason}",
            name=clean_line(mute.by, MAX_REASON),
            time=_moment(mute.until, digest, words, zone),
            reason=clean_line(mute.because, MAX_REASON),
        )
    kind = why.partition(":")[0]
    if kind == "limit":
        return ngettext(
            "{count} more, beyond the limit",
            "{count} more, beyond the limit",
            count,
            count=count,
        )
    return _(_HEADINGS.get(kind, _OTHERS), destination=digest.destination)


def _notes(digest: Digest, words: Words, zone: ZoneInfo) -> Iterator[str]:
    ngettext = words.language.ngettext
    for why, mute in digest.mutes.items():
        count = sum(group.count for group in digest.groups if group.why == why)
        if count:
            yield ngettext(
                "Was muted until {time} by {name}; {count} chat in the digest above.",
                "Was muted until {time} by {name}; {count} chats in the digest above.",
                count,
                count=count,
                time=_moment(mute.until, digest, words, zone),
                name=clean_line(mute.by, MAX_REASON),
            )
    if digest.erased:
        yield ngettext(
            "{count} chat was erased since.",
            "{count} chats were erased since.",
            digest.erased,
            count=digest.erased,
        )


def _moment(at: datetime, digest: Digest, words: Words, zone: ZoneInfo) -> str:
    """Return a time with its day, even if the day is today."""
    return words.moment(local_time(at, zone), local_time(digest.closed_at, zone), day=True)


def _described(
    digest: Digest, contents: DigestContents, words: Words, zone: ZoneInfo, public_url: str
) -> dict[str, Plain]:
    """Return the data for the files of `digest/`, except `line.txt`, which describes one chat."""
    moment = partial(_moment, digest=digest, words=words, zone=zone)
    described: Plain = {
        "count": digest.count,
        "missed": digest.missed,
        "offline": digest.offline,
        "finished": digest.count - digest.missed - digest.offline,
        "due_since": moment(digest.due_since) if digest.due_since else "",
        "first": moment(digest.first),
        "last": moment(digest.last),
        "sections": [_described_section(section) for section in contents.sections],
        "more": contents.more,
        "erased": digest.erased,
        "notes": list(contents.notes),
    }
    setting = describe_setting(words, zone, public_url, _tone(contents))
    return {**setting, "digest": described, "destination": digest.destination}


def _described_section(section: DigestSection) -> Plain:
    return {
        "heading": section.heading,
        "groups": [
            {
                "rule": group.rule,
                "count": group.count,
                "lines": [_described_line(line) for line in group.lines],
            }
            for group in section.groups
        ],
    }


def _described_line(line: DigestLine) -> Plain:
    return {
        "who": line.who,
        "what": line.summary,
        "words": line.words,
        "came": line.came,
        "also": line.also,
        "stars": line.stars,
        "tone": line.tone.value,
        "address": unquote(line.answer.url.removeprefix("mailto:")) if line.answer else "",
        "answer_link": line.answer.url if line.answer else "",
        "account": line.account,
        "id": line.id,
    }
