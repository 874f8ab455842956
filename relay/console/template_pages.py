"""Pages of template files: each beside the shipped one, checked, previewed, saved, and reset."""

from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.acts import act_of
from relay.console.draft_pages import PreviewMails
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.sentence_pages import SentencePages
from relay.console.visit import visit_of
from relay.console.wording_parts import PreviewParts, Refusal, refusal_of, template_folder, why_not
from relay.outbox.people import Role
from relay.rendering.folders import MAX_SIZE
from relay.services.publish_rules import Changed, NotPublished
from relay.services.rules_history import SHORT, hash_of
from relay.services.template_files import NoSuchFile, TemplateFiles, TemplateText
from relay.services.text_diff import as_written, shown
from relay.services.wording_preview import WordingPreviews, template_for
from relay.web.app import Running

Word = FromPath[str]


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
        return [
            page_route("/templates", Role.ADMIN, self._list),
            page_route("/templates/{name:str}/{file:str}", Role.ADMIN, self._template),
            form_route("/templates/{name:str}/{file:str}", Role.ADMIN, self._change_named),
        ]

    async def _list(self, request: AnyRequest) -> Page:
        files = self._templates.files
        return await self._pages.show(
            request,
            "templates.html",
            nav="rules",
            files=await self._templates.every(),
            **why_not(files, files.why_not(), None, self._pages, request),
        )

    async def _template(self, request: AnyRequest, name: Word, file: Word) -> Page:
        found = await self._found(f"{name}/{file}")
        return await self._show(request, found, text_in(found))

    async def _change_named(self, request: AnyRequest, name: Word, file: Word) -> Page:
        return await self._change(request, await self._found(f"{name}/{file}"))

    @property
    def _templates(self) -> TemplateFiles:
        return TemplateFiles(template_folder(self._running), self._parts.previews)

    async def _found(self, name: str) -> TemplateText:
        try:
            return await self._templates.read(name)
        except NoSuchFile:
            raise NotFoundException from None

    async def _change(self, request: AnyRequest, found: TemplateText) -> Page:
        form, name = visit_of(request.scope).form, found.about.name
        act, text = form.get("act", ""), form.get("text", "").replace("\r\n", "\n")
        if act == "preview":
            return await self._show(request, found, text, is_preview=True)
        if act not in {"save", "reset"} or (act == "save" and "text" not in form):
            raise ClientException
        data = None if act == "reset" else as_written(text, found.own.source or found.shipped)
        base = form.get("base", "")
        words = "reset template" if data is None else "change template"
        doing = act_of(
            visit_of(request.scope), words, name, change_detail(base, data), each_time=True
        )
        try:
            await self._templates.change(name, data, base, doing)
        except NotPublished as error:
            if isinstance(error, Changed):
                found = await self._found(name)
            return await self._show(request, found, text, refusal=refusal_of(error))
        return redirect(f"/templates/{name}?done={act}")

    async def _show(
        self,
        request: AnyRequest,
        found: TemplateText,
        text: str,
        *,
        is_preview: bool = False,
        refusal: Refusal | None = None,
    ) -> Page:
        visit, name, own = visit_of(request.scope), found.about.name, found.own
        is_too_long = len(text.encode("utf-8", "replace")) > MAX_SIZE
        problems = list(refusal.problems) if refusal else []
        if is_too_long and not refusal:
            problems = await self._templates.problems(name, text)
        language = visit.form.get("language") or self._running.parts.in_force.rules.language
        drafts = {} if is_too_long else {name: text}
        preview = await self._parts.show(
            request, drafts, template=template_for(name), language=language
        )
        template = "wording_preview.html" if is_preview and visit.is_partial else "template.html"
        return await self._pages.show(
            request,
            template,
            nav="rules",
            status=refusal.status if refusal else 200,
            about=found.about,
            own=own,
            text=text,
            shipped=shown(found.shipped),
            problems=problems,
            refusal=refusal,
            done=request.query_params.get("done", ""),
            **why_not(self._templates.files, own.read_only, own.path, self._pages, request),
            **preview,
        )


def change_detail(base: str, data: bytes | None) -> str:
    """The log of acts' detail for a changed file: the beginnings of its hashes before and after; empty for a reset."""
    return f"{base[:SHORT]} -> {hash_of(data)[:SHORT]}" if data is not None else ""


def text_in(found: TemplateText) -> str:
    """The user's own text, or else the shipped one."""
    return shown(found.own.source if found.own.hash else found.shipped)


def wording_routes(
    running: Running, pages: Pages, mails: PreviewMails, previews: WordingPreviews
) -> list[HTTPRouteHandler]:
    """All pages of sentences and of template files."""
    parts = PreviewParts(running, mails, previews)
    return [
        *SentencePages(running, pages, parts).routes(),
        *TemplatePages(running, pages, parts).routes(),
    ]
