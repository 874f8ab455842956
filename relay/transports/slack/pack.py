"""Converts a notification to Slack messages within all of Slack's limits (docs.slack.dev/reference/block-kit).

Only the mention from the rules file is markup; all other text is escaped, or is in a place without markup.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from relay.languages import language_called
from relay.links import is_safe, label
from relay.notification import (
    DigestContents,
    DigestLine,
    Json,
    Link,
    Notification,
    Tone,
    transcript_line,
)
from relay.text import cut, tidy, tidy_line, with_commands
from relay.transports.slack.blocks import (
    MARK_ROOM,
    MAX_BLOCKS,
    MAX_SECTION,
    MAX_VISIBLE,
    bold,
    code,
    escape,
    escaped_width,
    in_short,
    italic,
    paragraph,
    plain,
    quoted_excerpt,
    replies,
    shortened,
    visible,
    width,
)
from relay.transports.transcript_excerpt import facts_left_out_line, more_chats_line, quotes_all

MOST_BLOCKS = 50
"""The most blocks that Slack accepts in a template's own JSON; the relay's messages have fewer."""
MAX_HEADER = 150
MAX_FOOTER = 500
MAX_TEXT = 3_000
MAX_LINKS = 5
MAX_FACTS = 20
MAX_FACT = 300
MAX_LABEL = 60

_SIGNS = {Tone.BAD: "🔴", Tone.GOOD: "🟢", Tone.NEUTRAL: "💬"}


@dataclass(frozen=True, slots=True)
class Thread:
    """The messages of a bot: the main message with visitor, reason and severity, and the transcript as replies."""

    lead: Json
    replies: tuple[Json, ...] = ()
    title: str = ""
    file: str = ""
    """The whole transcript, if the replies leave something out; else empty."""


def pack(notification: Notification, *, mention: str = "") -> Json:
    """Return the notification as one message for a webhook: `text`, `blocks` and no link previews.

    `mention` is `here`, `channel`, or the ID of a user (U..., W...) or user group (S...).
    """
    if notification.brief:
        return _message(_plain_text(notification, _mention(mention)), [])
    call = _mention(mention)
    if own := _own(notification, call):
        return own
    notification = _set_apart(notification)
    if notification.digest:
        return _digest(notification, notification.digest, call)
    opening, answer = _top(notification, call), _answer(notification)
    ending = _bottom(notification)
    room = MAX_VISIBLE - visible([*opening, *answer, *ending])
    quoted = quoted_excerpt(notification.transcript, room, notification.language)
    if quotes_all(notification):
        blocks = [*_top(notification, call, lead=False), *quoted, *answer, *ending]
    else:
        blocks = [*opening, *answer, *quoted, *ending]
    return _message(_top_level(notification, call), blocks)


def pack_thread(notification: Notification, *, mention: str = "", posted: int = 0) -> Thread:
    """Return the notification as a bot's messages. `posted` messages of the transcript are in the thread already."""
    call = _mention(mention)
    if notification.brief:
        return Thread(_message(_plain_text(notification, call), []))
    own = _own(notification, call)
    notification = _set_apart(notification)
    if notification.digest:
        return Thread(_digest(notification, notification.digest, call))
    blocks = [*_top(notification, call), *_answer(notification), *_bottom(notification)]
    lead = own or _message(_top_level(notification, call), blocks)
    new = notification.transcript[posted:]
    if not new:
        return Thread(lead)
    posts = replies(new, notification.language)
    return Thread(
        lead,
        tuple(_message(escape(in_short(blocks)), blocks) for blocks in posts.blocks),
        title=_subject(notification),
        file="" if posts.whole else _file(notification),
    )


def _set_apart(notification: Notification) -> Notification:
    return notification.set_apart(rtl=language_called(notification.language).rtl)


def _own(notification: Notification, call: str) -> Json | None:
    """Return the template's `slack.json` with the mention; None if there is none, or no room for the mention."""
    own = notification.override
    if own is None:
        return None
    # Below the author's header, as in the relay's messages.
    place = 1 if own["blocks"][0]["type"] == "header" else 0
    around = own["blocks"][:place], own["blocks"][place:]
    blocks = [*around[0], *_called(call), *around[1], *_muted(notification)]
    text = own.get("text")
    line = f"{call} {text}".strip() if text else _top_level(notification, call)
    return _message(line, blocks) if len(blocks) <= MOST_BLOCKS else None


def _message(text: str, blocks: list[Json]) -> Json:
    message: Json = {"text": text, "unfurl_links": False, "unfurl_media": False}
    return {**message, "blocks": blocks} if blocks else message


def _top(notification: Notification, call: str, *, lead: bool = True) -> list[Json]:
    """Return the head of a message: the visitor, the severity and, with `lead`, the summary."""
    summary = shortened(notification.summary, MAX_SECTION) if lead else ""
    pieces = with_commands(summary)
    elements = [code(text) if is_command else plain(text) for text, is_command in pieces]
    return [_header(notification), *_called(call), *paragraph(elements)]


# -- a digest ----------------------------------------------------------------------------------------------


def _digest(notification: Notification, digest: DigestContents, call: str) -> Json:
    """Return a digest: a list of chats below the name of each rule. As many chats as fit; the others are counted."""
    around = [*_top(notification, call), *_footer(notification)]
    room = MAX_VISIBLE - visible(around) - MARK_ROOM
    if _cost(digest) > room:  # all chats without the visitors' words rather than only some of them
        digest = digest.map(lambda line: replace(line, words=""))
    while digest.lines and (_cost(digest) > room or len(_chats(digest)) > MAX_BLOCKS):
        digest = digest.first(len(digest.lines) - 1)
    more = more_chats_line(digest.more, notification.language) if digest.more else ""
    blocks = [*_top(notification, call), *_chats(digest), *paragraph([italic(more)])]
    return _message(_top_level(notification, call), [*blocks, *_footer(notification)])


def _chats(digest: DigestContents) -> list[Json]:
    blocks: list[Json] = []
    for section in digest.sections:
        heading = shortened(section.heading, MAX_FACT)
        for group in section.groups:
            title = bold(f"{tidy_line(group.rule, MAX_FACT)} ({group.count})")
            above = [italic(f"{heading}\n"), title] if heading else [title]
            for lines in _parts(group.lines):
                bullets = [_section(_chat(line)) for line in lines]
                listed = {"type": "rich_text_list", "style": "bullet", "elements": bullets}
                parts = [*([_section(above)] if above else []), listed]
                blocks.append({"type": "rich_text", "elements": parts})
                above, heading = [], ""
    return blocks


def _parts(lines: Sequence[DigestLine]) -> Iterator[list[DigestLine]]:
    """Yield the lines in groups that each fit into one block."""
    part: list[DigestLine] = []
    room = MAX_SECTION - 2 * MAX_FACT
    for line in lines:
        cost = sum(width(element.get("text", "")) for element in _chat(line))
        if part and cost > room:
            yield part
            part, room = [], MAX_SECTION - 2 * MAX_FACT
        part.append(line)
        room -= cost
    if part:
        yield part


def _section(elements: Sequence[Json]) -> Json:
    return {"type": "rich_text_section", "elements": elements}


def _chat(line: DigestLine) -> list[Json]:
    """Return a digest's chat: visitor, time, event, severity, the visitor's words, other rules and a reply link."""
    stars = f" {line.stars}" if line.stars else ""
    elements = [
        plain(f"{_SIGNS[line.tone]} "),
        bold(tidy_line(line.who, MAX_LABEL)),
        plain(f" · {line.came} · {shortened(line.summary, MAX_FACT)}{stars}"),
    ]
    if line.words:
        elements.append(italic(f"\n{shortened(line.words, MAX_FACT)}"))
    if line.also:
        elements.append(plain(f"\n+ {tidy_line(line.also, MAX_FACT)}"))
    answer = _joined([line.answer]) if line.answer else []
    return [*elements, *([plain("  ·  "), *answer] if answer else ())]


def _cost(digest: DigestContents) -> int:
    """Return how many characters of MAX_VISIBLE the chats of a digest use."""
    return sum(
        width(element.get("text", ""))
        for block in _chats(digest)
        for part in block["elements"]
        for section in (part["elements"] if part["type"] == "rich_text_list" else [part])
        for element in section["elements"]
    )


def _answer(notification: Notification) -> list[Json]:
    """Return the reply links, or the reason why there are none, for a prominent place beside the visitor's words."""
    links = _joined([link for link in notification.links if not link.visited])
    return paragraph(links or [italic(tidy_line(notification.no_address, MAX_FACT))])


def _bottom(notification: Notification) -> list[Json]:
    """Return the blocks below the transcript, which are only for reference."""
    return [
        *paragraph(_facts(notification)),
        *paragraph(_visited(notification)),
        *_footer(notification),
    ]


def _facts(notification: Notification) -> list[Json]:
    """Return the facts, one per line, as many as one block can hold; the rest is counted."""
    elements: list[Json] = []
    room, left_out = MAX_SECTION - MAX_LABEL, len(notification.facts)
    for fact in notification.facts[:MAX_FACTS]:
        label = tidy_line(fact.label, MAX_LABEL) or "-"
        value = shortened(fact.value, MAX_FACT) or "-"
        room -= width(label) + width(value) + 3
        if room < 0:
            break
        elements += [plain("\n" if elements else ""), bold(f"{label}:"), plain(f" {value}")]
        left_out -= 1
    if more := left_out + notification.facts_left_out:
        elements.append(italic(f"\n{facts_left_out_line(more, notification.language)}"))
    return elements


def _footer(notification: Notification) -> list[Json]:
    return [*_small(notification.footer), *_muted(notification)]


def _muted(notification: Notification) -> list[Json]:
    return _small(notification.muted.text) if notification.muted else []


def _small(line: str) -> list[Json]:
    text = escape(cut(tidy_line(line), MAX_FOOTER, escaped_width))
    small = {"type": "plain_text", "text": text, "emoji": False}
    return [{"type": "context", "elements": [small]}] if text else []


# -- the parts ---------------------------------------------------------------------------------------------


def _subject(notification: Notification) -> str:
    return tidy_line(notification.subject) or tidy_line(notification.summary) or "Smartsupp"


def _header(notification: Notification) -> Json:
    stars = f"  {notification.stars}" if notification.stars else ""
    subject = f"{_SIGNS[notification.tone]} {_subject(notification)}"
    text = escape(cut(subject, MAX_HEADER - width(stars), escaped_width)) + stars
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _mention(name: str) -> str:
    if name in {"here", "channel"}:
        return f"<!{name}>"
    if name.startswith("S"):
        return f"<!subteam^{name}>"
    return f"<@{name}>" if name else ""


def _called(call: str) -> list[Json]:
    """Return the mention as a separate block: in the top-level text alone it notifies nobody."""
    if not call:
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": call, "verbatim": True}}]


def _top_level(notification: Notification, call: str) -> str:
    """Return the text for push messages and screen readers, which begins with visitor and event."""
    parts = tidy_line(notification.subject), tidy_line(notification.summary, MAX_TEXT)
    text = " · ".join(part for part in parts if part)
    return _called_out(call, text or "Smartsupp")


def _plain_text(notification: Notification, call: str) -> str:
    """Return the notification without blocks, for a server that refused them."""
    return _called_out(call, f"{_subject(notification)}\n{shortened(notification.text, MAX_TEXT)}")


def _called_out(call: str, words: str) -> str:
    text = escape(cut(words.strip(), MAX_TEXT - 100, escaped_width))
    return f"{call} {text}" if call else text


def _visited(notification: Notification) -> list[Json]:
    pages = _joined([link for link in notification.links if link.visited])
    heading = language_called(notification.language).gettext("Pages visited")
    return [bold(f"{heading}: "), *pages] if pages else []


def _joined(links: Sequence[Link]) -> list[Json]:
    """Return the links as text. Buttons are not used: without an app, Slack reports a click on one as failed."""
    elements: list[Json] = []
    for link in links[:MAX_LINKS]:
        if not is_safe(link.url, "https://", "http://", "mailto:"):
            continue
        if elements:
            elements.append(plain("  ·  "))
        elements.append({"type": "link", "url": link.url, "text": label(link, 100)})
    return elements


def _file(notification: Notification) -> str:
    facts = [f"{tidy_line(fact.label)}: {tidy_line(fact.value)}" for fact in notification.facts]
    head = "\n".join([_subject(notification), "", *facts]).strip()
    lines = [tidy(transcript_line(message)) for message in notification.transcript]
    return "\n".join([head, "", *lines]) + "\n"
