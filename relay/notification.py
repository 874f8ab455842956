"""The content of a message for one recipient, before a transport converts it to its own format."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from relay.chat import Author, Chat
from relay.text import indented, isolated


class Tone(StrEnum):
    """The severity of a notification, which decides its colour and icon."""

    BAD = "bad"
    GOOD = "good"
    NEUTRAL = "neutral"


class Fact(Struct, frozen=True, kw_only=True):
    """A label and its value, shown on one line."""

    label: str
    value: str


class Link(Struct, frozen=True, kw_only=True):
    """A link in a notification: an http(s) or mailto URL that the relay made or checked."""

    label: str
    url: str
    visited: bool = False
    """Whether the link leads to a page that the visitor was on: its label and URL come from the visitor's browser."""


class TranscriptMessage(Struct, frozen=True, kw_only=True):
    """One message of the transcript in the reader's language and time zone.

    `text` is typed by a visitor or agent: a transport must escape it. For `Author.SYSTEM` it
    describes the event ("Jana joined") and `name` is empty.
    """

    author: Author
    name: str
    """The author's name; "Visitor" if the hook has no name. Empty only for events."""
    text: str
    time: str = ""
    """The time of day in the reader's time zone, such as "14:05"; empty if unknown."""
    gap: str = ""
    """How long the visitor waited before this message, in words; empty if the wait was short."""


def transcript_line(message: TranscriptMessage) -> str:
    """Return a message as plain text: `[14:05] Jana: Hello`, with a wait before it on a line of its own."""
    text = indented(message.text)
    line = text if message.author is Author.SYSTEM else f"{message.name}: {text}"
    gap = f"({message.gap})\n" if message.gap else ""
    return f"{gap}[{message.time}] {line}" if message.time else gap + line


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a transcript, the number of messages left out, and the end."""

    head: tuple[TranscriptMessage, ...] = ()
    left_out: int = 0
    tail: tuple[TranscriptMessage, ...] = ()
    cut_short: bool = False
    """Whether the text of a message was cut."""

    @property
    def whole(self) -> bool:
        """Whether the excerpt is the full transcript."""
        return not (self.left_out or self.cut_short)


def excerpt_of(
    messages: Sequence[TranscriptMessage],
    budget: int,
    cost: Callable[[TranscriptMessage], int],
    ends: Iterable[bool],
    fitted: Callable[[TranscriptMessage], TranscriptMessage] = lambda message: message,
) -> Excerpt:
    """Return as many messages of both ends of a transcript as fit into `budget`.

    `ends` says for each next message whether it is taken from the end, and stops where no more may be shown; `fitted`
    cuts a message that is too long.
    """
    head, tail = list[TranscriptMessage](), list[TranscriptMessage]()
    cut_short = False
    for is_from_end in ends:
        if len(head) + len(tail) == len(messages):
            break
        message = messages[-1 - len(tail)] if is_from_end else messages[len(head)]
        shown = fitted(message)
        budget -= cost(shown)
        if budget < 0:
            break
        (tail if is_from_end else head).append(shown)
        cut_short |= shown is not message
    left_out = len(messages) - len(head) - len(tail)
    return Excerpt(tuple(head), left_out, tuple(reversed(tail)), cut_short)


class DigestLine(Struct, frozen=True, kw_only=True):
    """One chat of a digest in the reader's language and time zone. Texts are cleaned but not escaped."""

    account: str
    id: str
    who: str
    summary: str
    """What happened, on one line: "Missed chat · 4 min without an answer"."""
    words: str = ""
    """The visitor's words, in quotation marks; empty if there are none."""
    came: str = ""
    """When the chat arrived, such as "Fri 17:05"."""
    arrived: datetime
    rules: tuple[str, ...]
    """The rules that selected the chat, in the order of the rules file."""
    why: str = ""
    """Why the chat waited: `hours`, `send`, `limit`, `once per visitor`, or `muted:` and the mute's number."""
    stars: str = ""
    tone: Tone = Tone.NEUTRAL
    answer: Link | None = None
    """A link for a reply to the visitor; None if the visitor left no address."""

    @property
    def also(self) -> str:
        """The other rules that selected the chat, beside the rule of its group."""
        return ", ".join(self.rules[1:])


class DigestGroup(Struct, frozen=True, kw_only=True):
    """The chats of one rule in a section of a digest."""

    rule: str
    count: int
    """How many chats the group has, including those not shown."""
    lines: tuple[DigestLine, ...]


class DigestSection(Struct, frozen=True, kw_only=True):
    """The chats of a digest that waited for one reason."""

    heading: str
    """The reason in words; empty if it need not be shown."""
    groups: tuple[DigestGroup, ...]


class DigestContents(Struct, frozen=True, kw_only=True):
    """The contents of a digest, in the order in which they are shown."""

    count: int
    """How many chats the digest has, including those not shown."""
    sections: tuple[DigestSection, ...]
    notes: tuple[str, ...] = ()
    """Sentences below the chats, such as how many were erased, or until when a mute lasted."""
    erased: int = 0

    @property
    def lines(self) -> tuple[DigestLine, ...]:
        """The shown chats of all sections, in order."""
        return tuple(
            line for section in self.sections for group in section.groups for line in group.lines
        )

    @property
    def more(self) -> int:
        """How many of the digest's chats are not shown."""
        return self.count - len(self.lines)

    def map(self, change: Callable[[DigestLine], DigestLine | None]) -> "DigestContents":
        """Return the contents with `change` applied to each line; lines that become None are removed and counted."""
        sections = tuple(
            replace(
                section,
                groups=tuple(
                    replace(group, lines=tuple(filter(None, map(change, group.lines))))
                    for group in section.groups
                ),
            )
            for section in self.sections
        )
        return replace(self, sections=sections)

    def first(self, most: int) -> "DigestContents":
        """Return the contents with only the first `most` lines; the others are counted."""
        numbers = iter(range(self.count))
        return self.map(lambda line: line if next(numbers) < most else None)


class MutedUntil(Struct, frozen=True, kw_only=True):
    """The mute that delayed the notification of a chat."""

    by: str
    because: str
    until: datetime
    """When the mute ended."""
    text: str
    """A description in the reader's language: "Was muted until Mon 08:00 by Anna: spam wave"."""


class Notification(Struct, frozen=True, kw_only=True):
    """The content of a message for one recipient. A visitor's text is cleaned but not escaped, except in `html`."""

    subject: str
    """The subject, on one line."""
    summary: str
    """One or two sentences that begin a Slack or Teams post."""
    facts: tuple[Fact, ...] = ()
    """Facts about the chat, most important first."""
    facts_left_out: int = 0
    """How many further facts were left out because no transport has room for them."""
    transcript: tuple[TranscriptMessage, ...] = ()
    text: str = ""
    """The whole notification as plain text."""
    html: str = ""
    """The whole notification as an HTML document, with all text escaped."""
    attachment: str = ""
    """The full transcript as plain text, if `text` or `html` shortens it; else empty."""
    links: tuple[Link, ...] = ()
    no_address: str = ""
    """A sentence saying that the visitor left no address for a reply; empty if there is an address."""
    stars: str = ""
    """The rating as stars, such as "★★☆☆☆"; empty if there is none."""
    footer: str = ""
    """The last line of a Slack or Teams post: the chat's time and the rule that matched."""
    tone: Tone = Tone.NEUTRAL
    language: str = "en"
    visitor_id: str = ""
    """Smartsupp's ID of the visitor; empty if the hook has none."""
    visitor_name: str = ""
    visitor_email: str = ""
    """The email address as typed by the visitor: validate it before use."""
    rule: str = ""
    """The name of the rule that matched; set only together with `chat`."""
    chat: Chat | None = None
    """The chat itself, for transports with `TransportSpec.whole_chat`; None for other transports and for alerts."""
    digest: DigestContents | None = None
    """The contents of a digest, which has no transcript; None for a single chat."""
    built_in: bool = False
    """Whether the built-in wording was used because the template failed."""
    override: dict[str, Any] | None = None
    """The rendered JSON of the template for this transport; None if the template has none."""
    muted: MutedUntil | None = None
    """The mute that delayed this notification, for the footer; `text` and `html` mention it already."""
    brief: bool = False
    """Whether the server refused the full message: a transport then sends its plainest form."""

    def set_apart(self, *, rtl: bool) -> "Notification":
        """Return the notification with Unicode isolates around texts that could reorder the words beside them.

        `rtl` is for a reader whose language is written from right to left.
        """

        def apart(text: str) -> str:
            return isolated(text, rtl=rtl)

        return replace(
            self,
            facts=tuple(
                Fact(label=apart(fact.label), value=apart(fact.value)) for fact in self.facts
            ),
            transcript=tuple(
                replace(message, name=apart(message.name), text=apart(message.text))
                for message in self.transcript
            ),
            links=tuple(replace(link, label=apart(link.label)) for link in self.links),
            digest=self.digest and self.digest.map(lambda line: _line_apart(line, apart)),
        )

    def short(self) -> "Notification":
        """Return a short form without transcript and HTML, for a server that refused the full message."""
        lines = [self.summary, "", *(f"{fact.label}: {fact.value}" for fact in self.facts)]
        if self.digest:
            lines += ["", *(f"- {line.who}: {line.summary}" for line in self.digest.lines)]
        if self.muted:
            lines += ["", self.muted.text]
        text = "\n".join(lines).strip() + "\n"
        return replace(
            self, transcript=(), html="", attachment="", text=text, override=None, brief=True
        )


def _line_apart(line: DigestLine, apart: Callable[[str], str]) -> DigestLine:
    answer = line.answer and replace(line.answer, label=apart(line.answer.label))
    return replace(line, who=apart(line.who), words=apart(line.words), answer=answer)


# -- a template's own JSON -----------------------------------------------------------------------------------

Json = dict[str, Any]


class Misfit(Exception):
    """Raised for template JSON that the transport can't use.

    The text begins with the place: `blocks[0].text: ...`.
    """


class Value(str):
    """A part of a rendered text that comes from the chat, not from the template's author."""

    __slots__ = ()


class Mixed(tuple[str, ...]):
    """The parts of a rendered text, in order; those from the chat are `Value`s."""

    __slots__ = ()


def mapped(node: Any, change: Callable[[Any, str], Any], at: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return JSON in which each text is replaced by the result of `change`, which gets it and its place (`blocks[0].text`).

    A text is a `str` or a `Mixed`.
    """
    if isinstance(node, dict):
        return {k: mapped(each, change, f"{at}.{k}".strip(".")) for k, each in node.items()}
    if isinstance(node, list):
        return [mapped(each, change, f"{at}[{n}]") for n, each in enumerate(node)]
    return change(node, at) if isinstance(node, (str, Mixed)) else node


Finish = Callable[[Any, Notification], Json]
"""A transport's function that converts rendered JSON into the part of a post that it replaces. Raises Misfit."""
