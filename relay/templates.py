"""A chat and a folder of words -> what one recipient is told.

Pure: the same chat, folders and arguments always give the same notification. The folders are read when a
template is first used and kept; after an edit, make new `Templates`.
"""

from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2

from relay.chat import Chat
from relay.made_up import made_up_chats
from relay.notification import Fact, Link, Notification
from relay.templating.broken import BrokenTemplate, broken_by
from relay.templating.description import MAX_PAGES, Plain, describe, describe_excerpt
from relay.templating.excerpt import HTML_ROOM, TEXT_ROOM, Room, excerpt
from relay.templating.fallback import MAX_SUBJECT, answer_link, fallback_notification
from relay.templating.folders import FILES, Folders
from relay.templating.links import host, web_link
from relay.templating.sandbox import Sandbox
from relay.templating.story import Story, tell, tone
from relay.text import clean, clean_line, cut

__all__ = ["FILES", "BrokenTemplate", "Templates", "fallback_notification"]

MAX_SUMMARY = 1_000
MAX_FACTS = 40
MAX_TEXT = 200_000
"""Bytes of UTF-8 of the text part."""
MAX_HTML = 78_000
"""Bytes of UTF-8 that the transcript makes room for; Gmail hides what is beyond about 102 kB."""

Description = dict[str, Plain]


class Templates:
    """The templates of some folders; the first folder wins, file by file."""

    def __init__(self, *folders: Path) -> None:
        self._folders = Folders(folders)
        self._text = Sandbox(self._folders, autoescape=False)
        self._html = Sandbox(self._folders, autoescape=True)
        self._compiled: dict[tuple[str, str], jinja2.Template] = {}
        self.names = self._folders.names()

    def check(self, name: str) -> list[str]:
        """Render it for a made-up chat of every kind. Returns each problem once, as `file:line: what`."""
        problems: dict[str, None] = {}
        for chat in made_up_chats().values():
            try:
                self.render(name, chat, rule="A made-up rule", language="en", zone=ZoneInfo("UTC"))
            except BrokenTemplate as problem:
                problems[str(problem)] = None
        return list(problems)

    def render(
        self,
        name: str,
        chat: Chat,
        *,
        rule: str,
        language: str,
        zone: ZoneInfo,
        public_url: str = "",
        bodies: bool = True,
    ) -> Notification:
        """Raises BrokenTemplate, and nothing else. Without `bodies`, `text` and `html` stay empty."""
        if name not in self.names:
            known = ", ".join(self.names)
            raise BrokenTemplate(
                name, name, 0, f"there is no template of this name; there are: {known}"
            )
        story = tell(chat, zone)
        data = describe(chat, story, zone=zone)
        data |= {"rule": rule, "language": language, "public_url": public_url}
        subject = self._one_line(name, "subject.txt", data, MAX_SUBJECT)
        summary = self._one_line(name, "summary.txt", data, MAX_SUMMARY)
        facts = self._facts(name, data)
        data |= {
            "subject": subject,
            "summary": summary,
            "facts": [{"label": fact.label, "value": fact.value} for fact in facts],
        }
        return Notification(
            subject=subject,
            summary=summary,
            facts=facts,
            transcript=story.transcript,
            text=self._text_part(name, data, story) if bodies else "",
            html=self._html_part(name, data, story) if bodies else "",
            links=(*answer_link(chat), *_page_links(chat)),
            tone=tone(chat),
            language=language,
            visitor_name=chat.visitor.name,
            visitor_email=chat.visitor.email,
        )

    def _one_line(self, name: str, file: str, data: Description, limit: int) -> str:
        line = clean_line(self._write(self._text, name, file, data), limit)
        if not line:
            raise BrokenTemplate(
                name, self._path(name, file), 0, "comes out empty; it must always say something"
            )
        return line

    def _facts(self, name: str, data: Description) -> tuple[Fact, ...]:
        facts = []
        for line in clean(self._write(self._text, name, "facts.txt", data)).splitlines():
            label, colon, value = line.partition(":")
            if line.strip() and not (colon and label.strip()):
                raise BrokenTemplate(
                    name,
                    self._path(name, "facts.txt"),
                    0,
                    f"writes the line {cut(line, 60)!r}; every line must be `Label: value`",
                )
            if value.strip():
                facts.append(Fact(label=clean_line(label), value=clean_line(value)))
        return tuple(facts[:MAX_FACTS])

    def _text_part(self, name: str, data: Description, story: Story) -> str:
        transcript = describe_excerpt(excerpt(story.transcript, TEXT_ROOM))
        text = self._write(self._text, name, "body.txt", {**data, "transcript": transcript})
        return cut(text.strip() + "\n", MAX_TEXT, lambda piece: len(piece.encode()))

    def _html_part(self, name: str, data: Description, story: Story) -> str:
        html = self._html_with(HTML_ROOM, name, data, story)
        excess = len(html.encode()) - MAX_HTML
        if excess > 0:
            # Rare: facts, pages and note are so long that less of the transcript has room beside them.
            less = replace(HTML_ROOM, total=HTML_ROOM.total - excess)
            html = self._html_with(less, name, data, story)
        return html

    def _html_with(self, room: Room, name: str, data: Description, story: Story) -> str:
        transcript = describe_excerpt(excerpt(story.transcript, room))
        html = self._write(self._html, name, "body.html", {**data, "transcript": transcript})
        return html.strip() + "\n"

    def _write(self, sandbox: Sandbox, name: str, file: str, data: Description) -> str:
        try:
            return self._template(sandbox, name, file).render(data)
        except Exception as error:  # noqa: BLE001 - a user's template may fail in any way; all are told alike
            raise broken_by(error, name, self._path(name, file)) from None

    def _template(self, sandbox: Sandbox, name: str, file: str) -> jinja2.Template:
        if (name, file) not in self._compiled:
            chosen = self._folders.choose(name, file)
            self._compiled[name, file] = sandbox.get_template(chosen)
        return self._compiled[name, file]

    def _path(self, name: str, file: str) -> str:
        return self._folders.path(self._folders.choose(name, file))


def _page_links(chat: Chat) -> tuple[Link, ...]:
    """The last pages, each once, the latest first."""
    pages = {page.url: page for page in reversed(chat.pages) if web_link(page.url)}
    return tuple(
        Link(label=page.title or host(page.url), url=page.url)
        for page in list(pages.values())[:MAX_PAGES]
    )
