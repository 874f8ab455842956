"""A chat and a folder of words -> what one recipient is told.

Pure: the same chat, folders and arguments always give the same notification. The folders are read when a
template is first used and kept; after an edit, make new `Templates`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2

from relay.chat import Chat
from relay.languages import LANGUAGES
from relay.made_up import made_up_chats
from relay.notification import Fact, Link, Notification
from relay.templating.broken import BrokenTemplate, broken_by
from relay.templating.description import (
    MAX_PAGES,
    Plain,
    describe,
    describe_excerpt,
    describe_told,
)
from relay.templating.excerpt import HTML_ROOM, TEXT_ROOM, Excerpt, Room, excerpt
from relay.templating.fallback import MAX_SUBJECT, answer_link, fallback_notification
from relay.templating.folders import FILES, Folders
from relay.templating.inlining import inlined
from relay.templating.links import host, web_link
from relay.templating.sandbox import Sandbox
from relay.templating.story import Story, tell, tone
from relay.templating.transcript import whole
from relay.templating.words import Words, words_in
from relay.text import clean, clean_line, cut

__all__ = ["FILES", "BrokenTemplate", "Templates", "fallback_notification"]

MAX_SUMMARY = 1_000
MAX_FACTS = 40
MAX_TEXT = 200_000
"""Bytes of UTF-8 of the text part."""
MAX_HTML = 78_000
"""Bytes of UTF-8, styles inlined, that the transcript makes room for; Gmail hides what is beyond about 102 kB."""
MAX_TRIES = 6
"""How often the HTML is written anew with less of the transcript, until it fits."""

Description = dict[str, Plain]


class Templates:
    """The templates of some folders; the first folder wins, file by file."""

    def __init__(self, *folders: Path) -> None:
        self._folders = Folders(folders)
        self._writers: dict[str, _Writer] = {}
        self.names = self._folders.names()

    def check(self, name: str) -> list[str]:
        """Render it for a made-up chat of every kind, in every language.

        Returns each problem once, as `file:line: what`.
        """
        problems: dict[str, None] = {}
        for language in LANGUAGES:
            for chat in made_up_chats().values():
                try:
                    self.render(
                        name, chat, rule="A made-up rule", language=language, zone=ZoneInfo("UTC")
                    )
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
        """Raises BrokenTemplate, and nothing else. Without `bodies`, `text` and `html` stay empty.

        `language` is one of `LANGUAGES`; any other is taken for English.
        """
        draft = self.draft(
            name, chat, rule=rule, language=language, zone=zone, public_url=public_url
        )
        return draft.with_bodies() if bodies else draft.notification

    def draft(
        self,
        name: str,
        chat: Chat,
        *,
        rule: str,
        language: str,
        zone: ZoneInfo,
        public_url: str = "",
    ) -> "Draft":
        """The same in two steps: what every medium needs, and then perhaps the bodies."""
        if name not in self.names:
            known = ", ".join(self.names)
            raise BrokenTemplate(
                name, name, 0, f"there is no template of this name; there are: {known}"
            )
        writer = self._writer(language)
        story = tell(chat, zone, writer.words)
        data = describe(chat, story, writer.words, zone=zone, rule=rule, public_url=public_url)
        subject = writer.one_line(name, "subject.txt", data, MAX_SUBJECT)
        summary = writer.one_line(name, "summary.txt", data, MAX_SUMMARY)
        facts = writer.facts(name, data)
        notification = Notification(
            subject=subject,
            summary=summary,
            facts=facts,
            transcript=story.transcript,
            links=(*answer_link(chat, writer.words), *_page_links(chat)),
            tone=tone(chat),
            language=writer.words.language.name,
            visitor_id=chat.visitor.id,
            visitor_name=chat.visitor.name,
            visitor_email=chat.visitor.email,
        )
        data |= describe_told(subject, summary, facts)
        return Draft(notification, partial(writer.bodies, name, data, story))

    def _writer(self, language: str) -> "_Writer":
        words = words_in(language)
        if (writer := self._writers.get(words.language.name)) is None:
            writer = self._writers[words.language.name] = _Writer(self._folders, words)
        return writer


@dataclass(frozen=True, slots=True)
class Bodies:
    """The two parts of a mail."""

    text: str = ""
    html: str = ""
    complete: bool = True
    """Whether both have room for all of the transcript."""


@dataclass(slots=True)
class Draft:
    """A notification that is without `text` and `html` for now. Kept for as long as its chat is told of."""

    notification: Notification
    write_bodies: Callable[[], Bodies]
    _whole: Notification | None = None

    def with_bodies(self) -> Notification:
        """Written when first asked for. Raises BrokenTemplate."""
        if self._whole is None:
            bodies, short = self.write_bodies(), self.notification
            attachment = "" if bodies.complete else whole(short.subject, short.transcript)
            self._whole = replace(short, text=bodies.text, html=bodies.html, attachment=attachment)
        return self._whole


class _Writer:
    """Writes the files of templates in one language. Raises BrokenTemplate, and nothing else."""

    def __init__(self, folders: Folders, words: Words) -> None:
        self.words = words
        self._folders = folders
        loader = jinja2.FunctionLoader(folders.source)
        self._in_text = Sandbox(loader, words, autoescape=False)
        self._in_html = Sandbox(loader, words, autoescape=True)
        self._compiled: dict[tuple[str, str], jinja2.Template] = {}

    def one_line(self, name: str, file: str, data: Description, limit: int) -> str:
        line = clean_line(self._write(self._in_text, name, file, data), limit)
        if not line:
            raise BrokenTemplate(
                name, self._path(name, file), 0, "comes out empty; it must always say something"
            )
        return line

    def facts(self, name: str, data: Description) -> tuple[Fact, ...]:
        facts = []
        for line in clean(self._write(self._in_text, name, "facts.txt", data)).splitlines():
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

    def bodies(self, name: str, data: Description, story: Story) -> Bodies:
        in_text = self._excerpt(story, TEXT_ROOM)
        text = self._write(self._in_text, name, "body.txt", _with(data, in_text)).strip() + "\n"
        html, in_html = self._html_part(name, data, story)
        return Bodies(
            text=cut(text, MAX_TEXT, lambda piece: len(piece.encode())),
            html=html,
            complete=in_text.whole and in_html.whole,
        )

    def _excerpt(self, story: Story, room: Room) -> Excerpt:
        return excerpt(story.transcript, room, self.words.cut_but_attached)

    def _html_part(self, name: str, data: Description, story: Story) -> tuple[str, Excerpt]:
        """With as much of the transcript as there is room for beside all else."""
        room = HTML_ROOM
        for _ in range(MAX_TRIES):
            shown = self._excerpt(story, room)
            html = self._write(self._in_html, name, "body.html", _with(data, shown)).strip() + "\n"
            size = len(html.encode())
            if size <= MAX_HTML:
                break
            # Rare: facts, pages and note are long, or a template of one's own writes more around each message.
            room = replace(room, total=int(room.total * 0.97 * MAX_HTML / size))
        return html, shown

    def _write(self, sandbox: Sandbox, name: str, file: str, data: Description) -> str:
        try:
            written = self._template(sandbox, name, file).render(data)
            return inlined(written) if sandbox.autoescape else written
        except Exception as error:  # noqa: BLE001 - a user's template may fail in any way; all are told alike
            raise broken_by(error, name, self._path(name, file)) from None

    def _template(self, sandbox: Sandbox, name: str, file: str) -> jinja2.Template:
        if (name, file) not in self._compiled:
            chosen = self._folders.choose(name, file)
            self._compiled[name, file] = sandbox.get_template(chosen)
        return self._compiled[name, file]

    def _path(self, name: str, file: str) -> str:
        return self._folders.path(self._folders.choose(name, file))


def _with(data: Description, shown: Excerpt) -> Description:
    return {**data, **describe_excerpt(shown)}


def _page_links(chat: Chat) -> tuple[Link, ...]:
    """The last pages, each once, the latest first."""
    pages = {page.url: page for page in reversed(chat.pages) if web_link(page.url)}
    return tuple(
        Link(label=page.title or host(page.url), url=page.url, visited=True)
        for page in list(pages.values())[:MAX_PAGES]
    )
