"""Rendering and reading notifications: what a mail program makes of them, and nothing hidden."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relay.chat import Author, Chat, Message
from relay.files import shipped
from relay.notification import Notification
from relay.rendering.digest_wording import digest_notification
from relay.rendering.template_checks import made_up_digest, read_made_up
from relay.rendering.templates import Templates

PRAGUE = ZoneInfo("Europe/Prague")
SAMPLES = Path(__file__).parents[2] / "relay" / "demo" / "samples"
SHIPPED = Templates(shipped("templates"))
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
every_template = pytest.mark.parametrize("name", SHIPPED.names)


def told(
    name: str, chat: Chat, templates: Templates = SHIPPED, *, language: str = "en"
) -> Notification:
    return templates.render(name, chat, rule="Night watch", language=language, zone=PRAGUE)


def digest(language: str = "en", *, late: bool = False) -> Notification:
    """Of the made-up chats; `late`: of a few that were muted, and due long ago."""
    return digest_notification(
        SHIPPED, made_up_digest(late=late), language=language, zone=PRAGUE, read=read_made_up
    )


def a_talk(*said: tuple[float, Author, str] | tuple[float, Author, str, str]) -> Chat:
    """A chat of messages: seconds after noon in Prague, author, text, and a name where it matters."""
    messages = tuple(
        Message(
            sent_at=NOON + timedelta(seconds=entry[0]),
            author=entry[1],
            text=entry[2],
            name=entry[3] if len(entry) == 4 else "",
        )
        for entry in said
    )
    return Chat(account="1", id="2", began=NOON, messages=messages)


class MailPage(HTMLParser):
    """What a mail program makes of the HTML: its tags, its links, its visible text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag in ("br", "td"):
            self.texts.append("\n")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


OUR_TAGS = {"html", "head", "meta", "title", "style", "body", "div", "table", "tr", "th", "td", "h1", "h2", "p", "a", "span", "bdi", "br"}  # fmt: skip
OUR_ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "style", "role", "width", "height", "cellpadding",
    "cellspacing", "border", "bgcolor", "align", "valign", "href", "dir", "aria-hidden", "data-css-inline",
    "aria-label", "aria-roledescription", "scope", "colspan",
}  # fmt: skip


def shown(html: str) -> MailPage:
    """The page, once it is sure that nobody but the template's author has written markup."""
    page = MailPage(html)
    assert set(page.tags) <= OUR_TAGS
    assert page.attributes <= OUR_ATTRIBUTES
    assert all(link.startswith(("https://", "http://", "mailto:")) for link in page.links)
    assert page.tags.count("html") == page.tags.count("body") == page.tags.count("h1") == 1
    return page
