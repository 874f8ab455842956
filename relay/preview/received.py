"""What the catchers have received, ready to be shown, and a way to wait for more."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from email import errors, message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr

from relay.preview.lookalike.mail_inbox import inbox_words, page_height
from relay.preview.lookalike.markup import Node, words
from relay.text import clean_line, cut

KEPT = 200
"""How many messages of each kind are kept; older ones are dropped."""

# What the standard library's mail parser raises on broken input, beside its own errors.
_BROKEN = (errors.MessageError, LookupError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtMail:
    """An email as it was sent, and what a mail program would show of it."""

    number: int
    arrived: datetime
    recipients: tuple[str, ...]
    """The addresses of the envelope, which decide who gets it."""
    subject: str = ""
    sender: str = ""
    to: str = ""
    reply_to: str = ""
    html: str = ""
    text: str = ""
    source: str = ""
    wire: bytes = b""
    """The bytes as they were sent."""

    @property
    def sender_name(self) -> str:
        """The sender as an inbox shows it: the name, or the address where there is none."""
        return parseaddr(self.sender)[0] or self.sender

    @property
    def first_words(self) -> str:
        """The first words of the email, which an inbox shows after the subject."""
        return inbox_words(self.html) if self.html else cut(clean_line(self.text), 110)

    def height(self, width: int) -> int:
        """The approximate height of the email's HTML in a window of this width, in pixels."""
        return page_height(self.html, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtFile:
    """A text file that was uploaded to Slack."""

    name: str
    title: str
    text: str

    def holding(self, text: str) -> "CaughtFile":
        """Return the file with this text."""
        return replace(self, text=text)

    def called(self, title: str) -> "CaughtFile":
        """Return the file with this title, or its name without one."""
        return replace(self, title=title or self.name)


@dataclass(slots=True, kw_only=True)
class CaughtPost:
    """A Slack message, with its thread."""

    arrived: datetime
    place: str
    """The webhook's path or the channel's id."""
    message: Node
    source: str
    """The JSON, indented."""
    wire: bytes = b""
    """The JSON as it was sent."""
    stamp: str = ""
    """Slack's `ts`, which identifies the post in its channel."""
    replies: list["CaughtPost"] = field(default_factory=list)
    files: list[CaughtFile] = field(default_factory=list)
    changed: bool = False

    @property
    def shown_in_channel(self) -> bool:
        """Whether a reply is also shown in the channel, not only in its thread."""
        return self.message.get("reply_broadcast") is True

    @property
    def toast(self) -> str:
        """The text of the desktop notification, where it differs from the post itself; else empty."""
        return words(self.message.get("text")) if self.message.get("blocks") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtBody:
    """A JSON message that was posted to a webhook of any service but Slack."""

    transport: str
    """The transport's name, as the rules file says it."""
    arrived: datetime
    place: str
    """The webhook's path."""
    message: Node
    source: str
    """The JSON, indented."""
    wire: bytes = b""
    """The JSON as it was sent."""


class Received:
    """Everything received so far, oldest first. Used from one event loop."""

    def __init__(self) -> None:
        self.mails: deque[CaughtMail] = deque(maxlen=KEPT)
        self.posts: deque[CaughtPost] = deque(maxlen=KEPT)
        self.bodies: deque[CaughtBody] = deque(maxlen=KEPT)
        self.total = 0
        """The number of messages ever received, one for each delivery: without transcripts in Slack's threads."""
        self._more = asyncio.Event()

    def add_mail(self, source: bytes, recipients: tuple[str, ...], arrived: datetime) -> None:
        """Keep an email, and count it."""
        number = self.mails[-1].number + 1 if self.mails else 1
        self.mails.append(read_mail(source, recipients, number=number, arrived=arrived))
        self._count()

    def add_post(self, post: CaughtPost) -> None:
        """Add a post, or a reply where it names the thread of one."""
        root = self.thread(words(post.message.get("thread_ts")))
        if root is None:
            self.posts.append(post)
        else:
            root.replies.append(post)
        self._count(1 if root is None or post.shown_in_channel else 0)

    def thread(self, stamp: str) -> CaughtPost | None:
        """The post with this time stamp, to which a thread belongs; None where there is none."""
        return next((post for post in self.posts if stamp and post.stamp == stamp), None)

    def change_post(self, stamp: str, message: Node, source: str) -> bool:
        """Change a post; returns whether it exists."""
        post = self.thread(stamp)
        if post is None:
            return False
        post.message, post.source, post.changed = message, source, True
        return True

    @property
    def post_count(self) -> int:
        """How many posts are kept, including replies that are shown in their channels."""
        news = [reply for post in self.posts for reply in post.replies if reply.shown_in_channel]
        return len(self.posts) + len(news)

    def add_body(self, body: CaughtBody) -> None:
        """Keep a webhook's message, and count it."""
        self.bodies.append(body)
        self._count()

    def take(self) -> tuple[list[CaughtMail], list[CaughtPost], list[CaughtBody]]:
        """Remove and return everything that is kept."""
        taken = list(self.mails), list(self.posts), list(self.bodies)
        for kept in (self.mails, self.posts, self.bodies):
            kept.clear()
        return taken

    async def until(self, enough: Callable[["Received"], bool]) -> None:
        """Wait until `enough` returns true; it is called again whenever something arrives."""
        while not enough(self):
            await self._more.wait()

    def _count(self, new: int = 1) -> None:
        self.total += new
        self._more.set()
        self._more = asyncio.Event()


def read_mail(
    source: bytes, recipients: tuple[str, ...], *, number: int, arrived: datetime
) -> CaughtMail:
    """Parse an email. Never raises: an unreadable part is empty or `(can't be read)`."""
    message = message_from_bytes(source, policy=policy.default)
    return CaughtMail(
        number=number,
        arrived=arrived,
        recipients=recipients,
        subject=_header(message, "Subject"),
        sender=_header(message, "From"),
        to=_header(message, "To"),
        reply_to=_header(message, "Reply-To"),
        html=_body(message, "html"),
        text=_body(message, "plain"),
        source=source.decode("utf-8", "replace"),
        wire=source,
    )


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except _BROKEN:
        return "(can't be read)"


def _body(message: EmailMessage, kind: str) -> str:
    try:
        part = message.get_body(preferencelist=(kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part else ""
    except _BROKEN:
        return "(can't be read)"
