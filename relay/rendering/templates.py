"""Renders a chat with a folder of templates as a notification.

The result depends only on the chat, the folders and the arguments. Files are read when a template
is first used and are kept; after an edit, make new `Templates`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import jinja2
from msgspec.structs import replace

from relay.chat import Chat
from relay.destination import VISITOR
from relay.languages import Languages
from relay.links import page_links
from relay.notification import Excerpt, Fact, Finish, Json, Misfit, Notification
from relay.rendering.built_in_wording import (
    MAX_SUBJECT,
    add_chat,
    answer_link,
    built_in_notification,
    inlined,
    may_have_rules,
    whole,
)
from relay.rendering.json_template import MarkingSandbox
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.sandbox import Sandbox
from relay.rendering.template_data import (
    MAX_PAGES,
    Description,
    beyond,
    describe,
    describe_excerpt,
    describe_texts,
)
from relay.rendering.template_folders import FILES, BrokenTemplate, Folders, broken_by
from relay.rendering.transcript import (
    HTML_ROOM,
    OVERRIDE_ROOM,
    TEXT_ROOM,
    Story,
    excerpt,
    story_of,
)
from relay.rendering.translation import Words, with_bdi, without_isolates_in_addresses, words_of
from relay.text import ELLIPSIS, cut, tidy, tidy_line, without_isolate

__all__ = ["FILES", "BrokenOverride", "BrokenTemplate", "Templates", "built_in_notification"]

MAX_SUMMARY, MAX_FACTS, MAX_FOOTER = 1_000, 25, 300
MAX_TEXT = 200_000
"""The most bytes of UTF-8 of the text part."""
MAX_HTML = 78_000
"""The most bytes of HTML with inlined styles, where a shorter transcript helps; Gmail hides content beyond 102 kB."""
MAX_TRIES = 6
"""How often the HTML is rendered with a shorter transcript until it fits."""


class BrokenOverride(BrokenTemplate):
    """Raised if only the template's `slack.json` or `teams.json` is broken; has the `notification` without it."""

    def __init__(self, problem: BrokenTemplate, notification: Notification) -> None:
        super().__init__(problem.template, problem.file, problem.line, problem.reason)
        self.notification = notification


class Templates:
    """The templates in several folders; for each file, the first folder that has it is used."""

    def __init__(self, *folders: Path, finish: Mapping[str, Finish] | None = None) -> None:
        """`finish` has, for each transport that allows an override, the function that completes it."""
        self._folders = Folders(folders)
        self._finish = finish or {}
        self._writers: dict[str, Writer] = {}
        self.names = self._folders.names()
        self.languages = Languages(folders)

    def check(self, name: str) -> list[str]:
        """Render a template for a made-up chat of every kind, in every language.

        Returns each problem once, as `file:line: problem`.
        """
        overrides = [each for each in self._finish if self._folders.has(name, f"{each}.json")]
        render = partial(self.render, name, rule="A made-up rule", zone=ZoneInfo("UTC"))
        problems: dict[str, None] = {}
        chats = made_up_chats().values()
        for language, chat, transport in product(self.languages.names, chats, ("", *overrides)):
            try:
                render(chat, language=language, transport=transport, bodies=not transport)
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
        reply_to: str = VISITOR,
        bodies: bool = True,
        transport: str = "",
    ) -> Notification:
        """Return the notification of a chat. If `bodies` is False, `text` and `html` stay empty.

        `language` is one of `languages.names`; any other is treated as English. The override for
        `transport` is included if the template has one. Raises BrokenTemplate.
        """
        draft = self.draft(
            name,
            chat,
            rule=rule,
            language=language,
            zone=zone,
            public_url=public_url,
            reply_to=reply_to,
        )
        return draft.for_transport(transport, bodies=bodies)

    def draft(
        self,
        name: str,
        chat: Chat,
        *,
        rule: str,
        language: str,
        zone: ZoneInfo,
        public_url: str = "",
        reply_to: str = VISITOR,
    ) -> "Draft":
        """Return a draft of a notification, whose bodies are rendered on demand. Raises BrokenTemplate."""
        self._must_be_known(name)
        writer = self.writer(language)
        words, story = writer.words, story_of(chat, zone, writer.words)
        data = describe(
            chat, story, words, zone=zone, rule=rule, public_url=public_url, reply_to=reply_to
        )
        return writer.draft(name, chat, data, story)

    def _must_be_known(self, name: str) -> None:
        if name not in self.names:
            reason = f"there is no template of this name; there are: {', '.join(self.names)}"
            raise BrokenTemplate(name, name, 0, reason)

    def writer(self, language: str) -> "Writer":
        words = words_of(self.languages.called(language))
        if (writer := self._writers.get(words.language.name)) is None:
            writer = Writer(self._folders, words, self._finish)
            self._writers[words.language.name] = writer
        return writer


@dataclass(frozen=True, slots=True)
class Bodies:
    """The text part and the HTML part of an email."""

    text: str = ""
    html: str = ""
    complete: bool = True
    """Whether both parts have the full transcript."""


@dataclass(slots=True)
class Draft:
    """A notification without `text` and `html`, kept while its chat is being sent."""

    notification: Notification
    write_bodies: Callable[[], Bodies]
    write_override: Callable[[str, str], Json | BrokenTemplate | None]
    _whole: Notification | None = None

    def for_transport(self, transport: str, *, bodies: bool, form: str = "") -> Notification:
        """Return the notification for a transport; `form` is the destination's own JSON. Raises BrokenTemplate."""
        notification = self.with_bodies() if bodies else self.notification
        own = self.write_override(transport, form)
        if isinstance(own, BrokenTemplate):
            raise BrokenOverride(own, notification)
        return replace(notification, override=own) if own else notification

    def with_bodies(self) -> Notification:
        """Return the notification with `text` and `html`, rendered at the first call. Raises BrokenTemplate."""
        if self._whole is None:
            bodies, short = self.write_bodies(), self.notification
            attachment = "" if bodies.complete else whole(short.subject, short.transcript)
            self._whole = replace(short, text=bodies.text, html=bodies.html, attachment=attachment)
        return self._whole


def _broken_json(error: Exception, name: str, path: str) -> BrokenTemplate:
    """Return the error of a template's own JSON in the file `path`."""
    if isinstance(error, Misfit):
        return BrokenTemplate(name, path, 0, str(error))
    problem = broken_by(error, name, path)
    at = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    # A line within a JSON text is not a line of the file.
    line = 0 if at and problem.file == path else problem.line
    return BrokenTemplate(name, problem.file, line, f"{at}{problem.reason}")


class Writer:
    """Renders the files of templates in one language. Raises only BrokenTemplate."""

    def __init__(self, folders: Folders, words: Words, finish: Mapping[str, Finish]) -> None:
        self.words = words
        self._folders = folders
        self._finish = finish
        self._has_rules = False
        loader = jinja2.FunctionLoader(self._source)
        self.in_text = Sandbox(loader, words, autoescape=False)
        self.in_html = Sandbox(loader, words, autoescape=True)
        self._in_json = MarkingSandbox(loader, words)
        self._compiled: dict[tuple[str, str], jinja2.Template] = {}
        self._has = cache(folders.has)  # checking the disk takes as long as packing a Slack post

    def _source(self, name: str) -> tuple[str, str, Callable[[], bool] | None] | None:
        source = self._folders.source(name)
        self._has_rules |= source is not None and may_have_rules(source[0])
        return source

    def draft(self, name: str, chat: Chat, data: Description, story: Story) -> Draft:
        """Return the draft of a notification; its texts are added to `data`, for the bodies."""
        subject = self.text_line(name, "subject.txt", data, MAX_SUBJECT)
        summary = self.text_line(name, "summary.txt", data, MAX_SUMMARY)
        facts, left_out = self.facts(name, data, beyond(chat.visitor.variables))
        data |= describe_texts(subject, summary, facts, left_out)
        footer = self.text_line(name, "footer.txt", data, MAX_FOOTER, may_be_empty=True)
        data["footer"] = footer
        texts = Notification(
            subject=subject,
            summary=summary,
            facts=facts,
            facts_left_out=left_out,
            footer=footer,
            links=(*answer_link(chat, facts, self.words), *page_links(chat.pages, MAX_PAGES)),
        )
        notification = add_chat(texts, chat, story, self.words)
        bodies = partial(self.bodies, name, data, story)
        override = partial(self.override, name=name, data=data, story=story)
        return Draft(notification, bodies, partial(override, notification=notification))

    def text_line(
        self, name: str, file: str, data: Description, limit: int, *, may_be_empty: bool = False
    ) -> str:
        line = tidy_line(self.write(self.in_text, name, file, data), limit)
        if not (line or may_be_empty):
            reason = "comes out empty; it must always say something"
            raise BrokenTemplate(name, self.path(name, file), 0, reason)
        return line

    def facts(self, name: str, data: Description, unseen: int) -> tuple[tuple[Fact, ...], int]:
        """Return the facts that a template shows, and how many more exist, with the `unseen` ones."""
        facts = []
        for line in tidy(self.write(self.in_text, name, "facts.txt", data)).splitlines():
            label, colon, value = line.partition(":")
            if line.strip() and not (colon and label.strip()):
                reason = f"writes the line {cut(line, 60)!r}; every line must be `Label: value`"
                raise BrokenTemplate(name, self.path(name, "facts.txt"), 0, reason)
            if value.strip():
                label, value = (without_isolate(tidy_line(each)) for each in (label, value))
                facts.append(Fact(label=label, value=value))
        more = len(facts[MAX_FACTS:])
        return tuple(facts[:MAX_FACTS]), more and more + unseen

    def bodies(self, name: str, data: Description, story: Story) -> Bodies:
        in_text = excerpt(story.transcript, TEXT_ROOM, self.words.cut_but_attached)
        data = {**data, **describe_excerpt(in_text)}
        text = self.write(self.in_text, name, "body.txt", data).strip() + "\n"
        html, in_html = self._html_part(name, data, story, in_text)
        return Bodies(
            text=cut(text, MAX_TEXT, lambda piece: len(piece.encode())),
            html=html,
            complete=in_text.whole and in_html.whole,
        )

    def override(
        self,
        transport: str,
        form: str,
        *,
        name: str,
        data: Description,
        story: Story,
        notification: Notification,
    ) -> Json | BrokenTemplate | None:
        """Return the rendered JSON for a transport, or the error that prevents it; None if the template has none."""
        file = f"{transport}.json"
        has_file = transport in self._finish and file in FILES and self._has(name, file)
        if not (form or has_file):
            return None
        data = {**data, **describe_excerpt(excerpt(story.transcript, OVERRIDE_ROOM, ELLIPSIS))}
        chosen = "the destination's json" if form else self._folders.choose(name, file)
        path = chosen if form else self.path(name, file)
        try:
            source = form or (self._folders.source(chosen) or ("",))[0]
            filled = self._in_json.filled(source, data, chosen, path)
            return self._finish[transport](filled, notification)
        except Exception as error:  # noqa: BLE001 - JSON may be odd in any way
            return _broken_json(error, name, path)

    def _html_part(
        self, name: str, data: Description, story: Story, in_text: Excerpt
    ) -> tuple[str, Excerpt]:
        """Return the HTML part with as much of the transcript as fits. `data` has the excerpt of the text part."""
        room = HTML_ROOM
        for _ in range(MAX_TRIES):
            shown = excerpt(story.transcript, room, self.words.cut_but_attached)
            data = data if shown == in_text else {**data, **describe_excerpt(shown)}
            html = self.write(self.in_html, name, "body.html", data).strip() + "\n"
            if len(html) * 4 <= MAX_HTML or (size := len(html.encode())) <= MAX_HTML:
                break
            # Rare: facts, pages and note are long, or the user's template adds more markup.
            room = replace(room, total=int(room.total * 0.97 * MAX_HTML / size))
        return html, shown

    def write(self, sandbox: Sandbox, name: str, file: str, data: Description) -> str:
        try:
            written = self._template(sandbox, name, file).render(data)
            if sandbox is not self.in_html:
                return without_isolates_in_addresses(written)
            # Most have none, and searching every email would add a tenth to its rendering.
            return with_bdi(inlined(written) if self._has_rules else written)
        except Exception as error:  # noqa: BLE001 - a user's template may fail in any way; all are reported alike
            raise broken_by(error, name, self.path(name, file)) from None

    def _template(self, sandbox: Sandbox, name: str, file: str) -> jinja2.Template:
        if (name, file) not in self._compiled:
            chosen = self._folders.choose(name, file)
            self._compiled[name, file] = sandbox.get_template(chosen)
        return self._compiled[name, file]

    def path(self, name: str, file: str) -> str:
        return self._folders.path(self._folders.choose(name, file))
