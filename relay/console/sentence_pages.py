"""Pages of the relay's sentences: search by language and words, change one beside the shipped one, and preview it."""

import contextlib
from collections.abc import Sequence
from typing import Any

from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.acts import act_of
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.visit import visit_of
from relay.console.wording_parts import PreviewParts, Refusal, refusal_of, template_folder, why_not
from relay.languages import OWN
from relay.languages.writing import NotChanged
from relay.outbox.people import Role
from relay.services import in_thread
from relay.services.publish_rules import NotPublished
from relay.services.sentences import (
    Sentence,
    Sentences,
    UnknownLanguage,
    UnknownSentence,
    Wording,
    in_one_line,
    one_text,
    problems_with,
    sentence_called,
    sentences_with,
)
from relay.web.app import Running

LONGEST_SEARCH = 200
Word = FromPath[str]


class SentencePages:
    """`/wordings`, and the page of each sentence."""

    def __init__(self, running: Running, pages: Pages, parts: PreviewParts) -> None:
        self._running, self._pages, self._parts = running, pages, parts

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            page_route("/wordings", Role.EDITOR, self._list),
            page_route("/wordings/{language:str}/{key:str}", Role.EDITOR, self._sentence),
            form_route("/wordings/{language:str}/{key:str}", Role.EDITOR, self._change_named),
        ]

    async def _sentence(self, request: AnyRequest, language: Word, key: Word) -> Page:
        wording, one = await self._found(language, key)
        return await self._show(request, wording, one, one.own or one.shipped)

    async def _change_named(self, request: AnyRequest, language: Word, key: Word) -> Page:
        return await self._change(request, *await self._found(language, key))

    @property
    def _sentences(self) -> Sentences:
        return Sentences(template_folder(self._running))

    async def _found(self, language: str, key: str) -> tuple[Wording, Sentence]:
        try:
            wording = await self._sentences.read(language)
            return wording, sentence_called(wording, key)
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
        found = sentences_with(wording, words, only_own=only_own)
        file = wording.file
        return await self._pages.show(
            request,
            "sentences.html",
            nav="rules",
            wording=wording,
            languages=await in_thread(lambda _: self._sentences.languages()),
            found=found,
            own=sum(bool(each.own) for each in wording.sentences),
            q=words,
            only_own=only_own,
            **why_not(self._sentences.files, file.read_only, file.path, self._pages, request),
        )

    async def _change(self, request: AnyRequest, wording: Wording, one: Sentence) -> Page:
        form = visit_of(request.scope).form
        act, names = form.get("act", ""), [f"said-{number}" for number in range(len(one.shipped))]
        if act != "reset" and not form.keys() >= set(names):
            raise ClientException
        said = tuple(in_one_line(form.get(name, "")) for name in names)
        if act == "preview":
            return await self._show(request, wording, one, said, is_preview=True)
        if act not in {"save", "reset"}:
            raise ClientException
        changed = ("",) * len(said) if act == "reset" or said == one.shipped else said
        words = "reset wording" if not any(changed) else "change wording"
        subject = f"{wording.tag}/{one.key}"
        doing = act_of(visit_of(request.scope), words, subject, each_time=True)
        try:
            await self._sentences.change(wording.tag, one.key, changed, form.get("base", ""), doing)
        except NotPublished as error:
            return await self._show(request, wording, one, said, refusal=refusal_of(error))
        return redirect(f"/wordings/{wording.tag}/{one.key}?done={act}")

    async def _show(
        self,
        request: AnyRequest,
        wording: Wording,
        one: Sentence,
        said: Sequence[str],
        *,
        is_preview: bool = False,
        refusal: Refusal | None = None,
    ) -> Page:
        visit = visit_of(request.scope)
        problems = await in_thread(lambda _: problems_with(wording, one, said))
        file = wording.file
        shown: dict[str, Any] = {
            "wording": wording,
            "sentence": one,
            "said": said,
            "problems": problems,
            "refusal": refusal,
            "done": request.query_params.get("done", ""),
            **why_not(self._sentences.files, file.read_only, file.path, self._pages, request),
        }
        words = said if any(said) and not problems else one.words
        drafts = {}
        with contextlib.suppress(NotChanged):  # what the user's own templates say may be odd
            drafts = {f"{OWN}/{wording.tag}.po": one_text(wording, one, words)}
        preview = await self._parts.show(
            request, drafts, template="", language=wording.tag, words=words[0]
        )
        template = "wording_preview.html" if is_preview and visit.is_partial else "sentence.html"
        status = refusal.status if refusal else 200
        return await self._pages.show(
            request, template, nav="rules", status=status, **shown, **preview
        )
