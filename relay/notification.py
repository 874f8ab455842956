"""What one recipient gets to read, before a transport packs it."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from relay.chat import Author, Chat
from relay.text import isolated


class Tone(StrEnum):
    """How bad it is: colours and pictograms hang on it."""

    BAD = "bad"
    GOOD = "good"
    NEUTRAL = "neutral"


class Fact(Struct, frozen=True, kw_only=True):
    """A label and its value, one line each."""

    label: str
    value: str


class Link(Struct, frozen=True, kw_only=True):
    """A link that a notification shows: an http(s) or mailto address, made or checked by the relay."""

    label: str
    url: str
    visited: bool = False
    """A page that the visitor was on: what it is called, and where it leads, is the visitor's to say."""


class TranscriptMessage(Struct, frozen=True, kw_only=True):
    """One message of the transcript in the reader's language and zone, ready to be shown.

    `text` is what somebody typed: a transport must escape it. For `Author.SYSTEM` it is the
    event in words ("Jana joined") and `name` is empty.
    """

    author: Author
    name: str
    """Never empty for a person: "Visitor" where the hook has no name."""
    text: str
    time: str = ""
    """Clock time in the reader's zone, such as "14:05"; empty where unknown."""
    gap: str = ""
    """How long the visitor had waited before it, in words; empty unless it was long."""


class DigestLine(Struct, frozen=True, kw_only=True):
    """One chat of a digest, in the reader's language and zone. Texts are cleaned but not escaped."""

    account: str
    id: str
    who: str
    what: str
    """What happened, on one line: "Missed chat · 4 min without an answer"."""
    words: str = ""
    """The visitor's, quoted; empty where there are none."""
    came: str = ""
    """When it came in, such as "Fri 17:05"."""
    arrived: datetime
    rules: tuple[str, ...]
    """Names of the rules that asked for it, the first of the rules file first."""
    why: str = ""
    """Why it waited: `hours`, `send`, `limit`, `once per visitor` or `muted:` and the mute's number."""
    stars: str = ""
    tone: Tone = Tone.NEUTRAL
    answer: Link | None = None
    """To the visitor's mailbox, where an address was left."""

    @property
    def also(self) -> str:
        """The other rules that asked for it, beside the one whose heading it stands below."""
        return ", ".join(self.rules[1:])


class DigestGroup(Struct, frozen=True, kw_only=True):
    """The chats of one rule."""

    rule: str
    count: int
    """How many there are, shown or not."""
    lines: tuple[DigestLine, ...]


class DigestSection(Struct, frozen=True, kw_only=True):
    """The chats that waited for one reason."""

    heading: str
    """The reason in words; empty where it need not be said."""
    groups: tuple[DigestGroup, ...]


class DigestContents(Struct, frozen=True, kw_only=True):
    """What a digest says, from top to bottom."""

    count: int
    """How many chats it is about, shown or not."""
    sections: tuple[DigestSection, ...]
    notes: tuple[str, ...] = ()
    """What stands below the chats: how many were erased meanwhile, what was muted until when."""
    erased: int = 0

    @property
    def lines(self) -> tuple[DigestLine, ...]:
        return tuple(
            line for section in self.sections for group in section.groups for line in group.lines
        )

    @property
    def more(self) -> int:
        """How many of the digest's chats are not shown."""
        return self.count - len(self.lines)

    def map(self, change: Callable[[DigestLine], DigestLine | None]) -> "DigestContents":
        """The contents with each line as `change` makes it, in order; a line that becomes None is left out and counted."""
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
        """The contents with their first `most` lines; the others are counted."""
        numbers = iter(range(self.count))
        return self.map(lambda line: line if next(numbers) < most else None)


class MutedUntil(Struct, frozen=True, kw_only=True):
    """The mute that held a chat's own notification back."""

    by: str
    because: str
    until: datetime
    """When it ended."""
    text: str
    """All of it in the reader's language, on one line: "Was muted until Mon 08:00 by Anna: spam wave"."""


class Notification(Struct, frozen=True, kw_only=True):
    """What one recipient gets to read. Text that a visitor typed is cleaned but not escaped, except in `html`."""

    subject: str
    """One line."""
    summary: str
    """One or two sentences that Slack and Teams lead with."""
    facts: tuple[Fact, ...] = ()
    """The facts, those that matter most first."""
    facts_left_out: int = 0
    """How many more there are, for which no medium has room."""
    transcript: tuple[TranscriptMessage, ...] = ()
    text: str = ""
    """The whole, as plain text."""
    html: str = ""
    """The whole, as an HTML document, already escaped."""
    attachment: str = ""
    """The whole transcript as plain text, where `text` or `html` shows less of it; else empty."""
    links: tuple[Link, ...] = ()
    no_address: str = ""
    """A sentence for posts that there is no address to answer to; empty where there is one."""
    stars: str = ""
    """The rating as stars, such as "★★☆☆☆"; empty where there is none."""
    footer: str = ""
    """One line for the foot of a post to Slack or Teams: when it was, and which rule asked for it."""
    tone: Tone = Tone.NEUTRAL
    language: str = "en"
    visitor_id: str = ""
    """Smartsupp's own, never typed by anybody; empty where the hook has none."""
    visitor_name: str = ""
    visitor_email: str = ""
    """As typed by the visitor: to be validated before it is used as an address."""
    rule: str = ""
    """The name of the rule that asked for it; only where `chat` is."""
    chat: Chat | None = None
    """For transports that hand over the chat itself (`TransportSpec.whole_chat`); None for others and for alerts."""
    digest: DigestContents | None = None
    """The chats of a digest; then there is no transcript."""
    built_in: bool = False
    """The template was broken, and this is the built-in wording."""
    override: dict[str, Any] | None = None
    """What the template's own JSON for this transport came to: finished, every value in its place."""
    muted: MutedUntil | None = None
    """The mute for whose end it waited, to be said at the foot. `text` and `html` say it already."""
    brief: bool = False
    """The server found the whole too long or too odd: to be said as plainly as the medium can."""

    def set_apart(self, *, rtl: bool) -> "Notification":
        """The notification with isolates around each name and text that could turn the words beside it; see `isolated`."""

        def apart(text: str) -> str:
            return isolated(text, rtl=rtl)

        return replace(
            self,
            facts=tuple(
                Fact(label=apart(each.label), value=apart(each.value)) for each in self.facts
            ),
            transcript=tuple(
                replace(each, name=apart(each.name), text=apart(each.text))
                for each in self.transcript
            ),
            links=tuple(replace(each, label=apart(each.label)) for each in self.links),
            digest=self.digest and self.digest.map(lambda line: _line_apart(line, apart)),
        )

    def short(self) -> "Notification":
        """The form for a server that found the whole too long or too rich: no transcript, no HTML."""
        lines = [self.summary, "", *(f"{fact.label}: {fact.value}" for fact in self.facts)]
        if self.digest:
            lines += ["", *(f"- {line.who}: {line.what}" for line in self.digest.lines)]
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
    """What is wrong with a template's own JSON, in words that begin with the place: `blocks[0].text: ...`."""


class Value(str):
    """A part of a text that comes from the chat; the other parts are the author's."""

    __slots__ = ()


class Mixed(tuple[str, ...]):
    """The parts of a text that was rendered."""

    __slots__ = ()


Finish = Callable[[Any, Notification], Json]
"""A transport's own: rendered JSON -> the part of a post that it takes the place of. Raises Misfit."""
