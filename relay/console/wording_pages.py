"""The pages of wording: the relay's sentences by language, and the files of templates; each is changed beside the shipped one, and previewed."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.draft_pages import PreviewMails, ShownLook
from relay.console.file_access import Refusal, refusal_of, template_folder, why_not
from relay.console.logged_acts import act_of
from relay.console.notification_look import packed_look
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import Caller, caller_of
from relay.languages import OWN
from relay.languages.catalogue_writer import NotChanged
from relay.outbox.audit_log import Act
from relay.outbox.user_accounts import Role
from relay.rendering.template_folders import MAX_SIZE
from relay.services import in_thread
from relay.services.draft_trial import NoSuchChat
from relay.services.publish_rules import Changed, NotPublished
from relay.services.rules_history import SHORT, hash_of
from relay.services.sentences import (
    Sentence,
    Sentences,
    UnknownLanguage,
    UnknownSentence,
    Wording,
    draft_catalogue,
    find_sentence,
    problems_with,
    sentences_with,
    without_line_breaks,
)
from relay.services.template_files import NoSuchFile, TemplateFiles, TemplateText
from relay.services.text_diff import as_written, to_text
from relay.services.wording_preview import SAMPLES, WordingPreviews, chosen_chats, template_for
from relay.smartsupp import UnreadableHook
from relay.transports.registry import REGISTRATIONS
from relay.web.app import Running

LONGEST_SEARCH = 200
Word = FromPath[str]


class PreviewParts:
    """Shows a chat with edited texts, as each medium would show it."""

    def __init__(self, running: Running, mails: PreviewMails, previews: WordingPreviews) -> None:
        self._running, self._mails, self.previews = running, mails, previews

    async def show(
        self,
        request: AnyRequest,
        drafts: Mapping[str, str],
        *,
        template: str,
        language: str,
        words: str = "",
    ) -> dict[str, Any]:
        """Values for `wording_preview.html`. `drafts`: files that are used before the saved ones.

        If no chat was chosen yet, shows the first sample chat whose notification contains `words`.
        """
        caller = caller_of(request.scope)
        chat, sample = caller.form.get("chat", ""), caller.form.get("sample", "")
        choice: dict[str, Any] = {"samples": SAMPLES, "sample": sample, "chat": chat, "shown": []}
        try:
            sessions, clock = self._running.parts.outbox.sessions, self._running.clock
            hook, bodies, now = await chosen_chats(sessions, chat, sample, clock())
            preview = await self.previews.show(
                drafts,
                bodies,
                now,
                template=template,
                language=language,
                zone=self._running.parts.in_force.rules.timezone,
                words=words,
            )
        except (NoSuchChat, UnreadableHook):
            return {**choice, "no_chat": True}
        shown = []
        for medium in preview.media:
            notification = medium.notification
            look = packed_look(notification, medium.transport, medium.made_at, medium.trouble)
            mail_at = ""
            if look.transport == "email":
                mail_at = self._mails.keep(caller, hook, notification.html)
            service = REGISTRATIONS[medium.transport].service
            shown.append(ShownLook(service, "", "", look, mail_at))
        sample = sample or SAMPLES[preview.chosen]
        return {
            **choice,
            "sample": sample,
            "shown": shown,
            "has_sentence": preview.has_words,
            "is_single": len(bodies) == 1,
        }


class SentencePages:
    """`/wordings`, and the page of each sentence."""

    def __init__(self, running: Running, pages: Pages, parts: PreviewParts) -> None:
        self._running, self._pages, self._parts = running, pages, parts

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/wordings", Role.EDITOR, self._list),
            page_route("/wordings/{language:str}/{key:str}", Role.EDITOR, self._sentence),
            form_route("/wordings/{language:str}/{key:str}", Role.EDITOR, self._change),
        ]

    async def _sentence(self, request: AnyRequest, language: Word, key: Word) -> Page:
        wording, sentence = await self._sentence_named(language, key)
        return await self._show(request, wording, sentence, sentence.own or sentence.shipped)

    @property
    def _sentences(self) -> Sentences:
        return Sentences(template_folder(self._running))

    async def _sentence_named(self, language: str, key: str) -> tuple[Wording, Sentence]:
        try:
            wording = await self._sentences.read(language)
            return wording, find_sentence(wording, key)
        except (UnknownLanguage, UnknownSentence):
            raise NotFoundException from None

    async def _list(self, request: AnyRequest) -> Page:
        query = request.query_params
        tag = query.get("language") or self._running.parts.in_force.rules.language
        words, only_own = query.get("q", "")[:LONGEST_SEARCH], query.get("own") == "yes"
        try:
            wording = await self._sentences.read(tag)
        except UnknownLanguage:
            raise ClientException from None
        sentences = sentences_with(wording, words, only_own=only_own)
        file = wording.file
        return await self._pages.show(
            request,
            "sentences.html",
            nav="rules",
            wording=wording,
            languages=await in_thread(lambda _: self._sentences.languages()),
            sentences=sentences,
            own=sum(bool(each.own) for each in wording.sentences),
            q=words,
            only_own=only_own,
            **why_not(self._sentences.files, file.read_only, file.path, self._pages, request),
        )

    async def _change(self, request: AnyRequest, language: Word, key: Word) -> Page:
        wording, sentence = await self._sentence_named(language, key)
        form = caller_of(request.scope).form
        act, key, base = form.get("act", ""), sentence.key, form.get("base", "")
        names = [f"said-{number}" for number in range(len(sentence.shipped))]
        if act != "reset" and not form.keys() >= set(names):
            raise ClientException
        texts = tuple(without_line_breaks(form.get(name, "")) for name in names)
        if act == "preview":
            return await self._show(request, wording, sentence, texts, is_preview=True)
        if act not in {"save", "reset"}:
            raise ClientException
        changed = ("",) * len(texts) if act == "reset" or texts == sentence.shipped else texts
        doing = act_on_sentence(caller_of(request.scope), wording.tag, key, changed)
        try:
            await self._sentences.change(wording.tag, key, changed, base, doing)
        except NotPublished as error:
            return await self._show(request, wording, sentence, texts, refusal=refusal_of(error))
        return redirect(f"/wordings/{wording.tag}/{key}?done={act}")

    async def _show(
        self,
        request: AnyRequest,
        wording: Wording,
        sentence: Sentence,
        texts: Sequence[str],
        *,
        is_preview: bool = False,
        refusal: Refusal | None = None,
    ) -> Page:
        caller = caller_of(request.scope)
        problems = await in_thread(lambda _: problems_with(wording, sentence, texts))
        file = wording.file
        shown: dict[str, Any] = {
            "wording": wording,
            "sentence": sentence,
            "texts": texts,
            "problems": problems,
            "refusal": refusal,
            "done": request.query_params.get("done", ""),
            **why_not(self._sentences.files, file.read_only, file.path, self._pages, request),
        }
        words = texts if any(texts) and not problems else sentence.words
        drafts = {}
        with contextlib.suppress(NotChanged):  # what the user's own templates say may be odd
            drafts = {f"{OWN}/{wording.tag}.po": draft_catalogue(wording, sentence, words)}
        preview = await self._parts.show(
            request, drafts, template="", language=wording.tag, words=words[0]
        )
        template = "wording_preview.html" if is_preview and caller.is_partial else "sentence.html"
        status = refusal.status if refusal else 200
        return await self._pages.show(
            request, template, nav="rules", status=status, **shown, **preview
        )


class TemplatePages:
    """`/templates`, and the page of each file."""

    def __init__(
        self,
        running: Running,
        pages: Pages,
        parts: PreviewParts,
    ) -> None:
        self._running, self._pages, self._parts = running, pages, parts

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/templates", Role.ADMIN, self._list),
            page_route("/templates/{name:str}/{file:str}", Role.ADMIN, self._template),
            form_route("/templates/{name:str}/{file:str}", Role.ADMIN, self._change),
        ]

    async def _list(self, request: AnyRequest) -> Page:
        files = self._templates.files
        return await self._pages.show(
            request,
            "templates.html",
            nav="rules",
            files=await self._templates.every(),
            **why_not(
                files, await in_thread(lambda _: files.why_read_only()), None, self._pages, request
            ),
        )

    async def _template(self, request: AnyRequest, name: Word, file: Word) -> Page:
        template = await self._file_named(f"{name}/{file}")
        return await self._show(request, template, text_in(template))

    @property
    def _templates(self) -> TemplateFiles:
        return TemplateFiles(template_folder(self._running), self._parts.previews)

    async def _file_named(self, name: str) -> TemplateText:
        try:
            return await self._templates.read(name)
        except NoSuchFile:
            raise NotFoundException from None

    async def _change(self, request: AnyRequest, name: Word, file: Word) -> Page:
        template = await self._file_named(f"{name}/{file}")
        form, name = caller_of(request.scope).form, template.about.name
        act, text = form.get("act", ""), form.get("text", "").replace("\r\n", "\n")
        if act == "preview":
            return await self._show(request, template, text, is_preview=True)
        if act not in {"save", "reset"} or (act == "save" and "text" not in form):
            raise ClientException
        data = None if act == "reset" else as_written(text, template.own.source or template.shipped)
        base = form.get("base", "")
        doing = act_on_template(caller_of(request.scope), name, base, data)
        try:
            await self._templates.change(name, data, base, doing)
        except NotPublished as error:
            if isinstance(error, Changed):
                template = await self._file_named(name)
            return await self._show(request, template, text, refusal=refusal_of(error))
        return redirect(f"/templates/{name}?done={act}")

    async def _show(
        self,
        request: AnyRequest,
        edited: TemplateText,
        text: str,
        *,
        is_preview: bool = False,
        refusal: Refusal | None = None,
    ) -> Page:
        caller, name, own = caller_of(request.scope), edited.about.name, edited.own
        is_too_long = len(text.encode("utf-8", "replace")) > MAX_SIZE
        problems = list(refusal.problems) if refusal else []
        if is_too_long and not refusal:
            problems = await self._templates.problems(name, text)
        language = caller.form.get("language") or self._running.parts.in_force.rules.language
        drafts = {} if is_too_long else {name: text}
        preview = await self._parts.show(
            request, drafts, template=template_for(name), language=language
        )
        template = "wording_preview.html" if is_preview and caller.is_partial else "template.html"
        return await self._pages.show(
            request,
            template,
            nav="rules",
            status=refusal.status if refusal else 200,
            about=edited.about,
            own=own,
            text=text,
            shipped=to_text(edited.shipped),
            problems=problems,
            refusal=refusal,
            done=request.query_params.get("done", ""),
            **why_not(self._templates.files, own.read_only, own.path, self._pages, request),
            **preview,
        )


def act_on_sentence(caller: Caller, tag: str, key: str, texts: Sequence[str]) -> Act:
    """The log entry for a sentence that gets these texts; with empty ones it is reset."""
    words = "change wording" if any(texts) else "reset wording"
    return act_of(caller, words, f"{tag}/{key}", each_time=True)


def act_on_template(caller: Caller, name: str, base: str, data: bytes | None) -> Act:
    """The log entry for a template's file that gets this text, with the beginnings of its hashes before and after; None: it is reset."""
    if data is None:
        return act_of(caller, "reset template", name, each_time=True)
    detail = f"{base[:SHORT]} -> {hash_of(data)[:SHORT]}"
    return act_of(caller, "change template", name, detail, each_time=True)


def text_in(template: TemplateText) -> str:
    """The user's own text, or else the shipped one."""
    return to_text(template.own.source if template.own.hash else template.shipped)


def wording_routes(
    running: Running, pages: Pages, mails: PreviewMails, previews: WordingPreviews
) -> list[HTTPRouteHandler]:
    """All pages of sentences and of template files."""
    parts = PreviewParts(running, mails, previews)
    return [
        *SentencePages(running, pages, parts).routes(),
        *TemplatePages(running, pages, parts).routes(),
    ]
