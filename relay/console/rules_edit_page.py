"""The page that edits the rules file as text: stores a draft, checks, compares and publishes it, or offers it as a patch."""

from litestar import Response
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from relay.console.file_access import request_author, rules_file, why_rules_are_read_only
from relay.console.jobs import Jobs
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.languages import N_
from relay.outbox.rules_versions import Draft
from relay.outbox.user_accounts import Role
from relay.rules import Problem
from relay.rules.compare_rules import Change
from relay.rules.line_edits import line_of_rule
from relay.services import in_thread
from relay.services.publish_rules import (
    Changed,
    FileIsReadOnly,
    ForAdmins,
    NotPublished,
    NotUsable,
    NotWritten,
    RulesFile,
    RulesText,
)
from relay.services.rules_history import hash_of
from relay.services.text_diff import (
    DiffLine,
    as_written,
    compared,
    git_patch,
    merged,
    to_text,
    with_newlines,
)
from relay.web.app import Running

MOST_PROBLEMS = 50
AROUND = 2
"""How many lines are shown before and after a problem's line."""
REFUSED = {
    "admins": N_(
        "Not published: only an admin may change destinations, alerts_to and recipient_domains."
    ),
    "unusable": N_("Not published: the relay could not use these rules."),
    "read-only": N_("Not published: the file can't be changed from here."),
    "disk": N_("Not published: the disk did not take it."),
}


class Excerpt(Struct, frozen=True):
    """The lines around a problem."""

    line: int
    lines: tuple[tuple[int, str], ...]
    """The shown lines of the file, each with its number."""
    mark: str
    """Blanks up to the problem's column; empty where it has none."""


class Editing(Struct, frozen=True, kw_only=True):
    """The page's view of one user's editing."""

    file: RulesText
    text: str
    base: str
    """The hash of the text that was edited."""
    original: bytes
    source: bytes
    """The bytes of the text as they would be written to the file."""
    is_draft: bool
    others: list[Draft]
    diff: list[DiffLine]
    changes: list[Change] | None
    """The changes of the text; None where one of the two texts can't be used."""
    message: str = ""
    is_checked: bool = False
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    more: tuple[str, ...] = ()
    """Problems without a line in the text."""
    refused: str = ""
    """A key of REFUSED."""

    @property
    def mark(self) -> str:
        """What tells this draft from another one; empty where nothing was changed."""
        return hash_of(self.text.encode()) if self.is_draft else ""


class RulesEditPage:
    """`/rules/edit`, and the draft as a patch."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/rules/edit", Role.EDITOR, self._edit),
            form_route("/rules/edit", Role.EDITOR, self._change),
            page_route("/rules/edit/news", Role.EDITOR, self._news),
            page_route("/rules/edit/patch", Role.EDITOR, self._patch),
        ]

    async def _edit(self, request: AnyRequest) -> Page:
        self._jobs.spare.prepare()
        editing = await self._begun(request)
        if self._running.parts.reload.problems and not editing.is_draft:
            editing = await self._checked(editing)
        return await self._show(request, editing)

    async def _news(self, request: AnyRequest) -> Page:
        file = await self._file.read()
        base = request.query_params.get("base", "")
        return await self._pages.show(
            request,
            "rules_news.html",
            base=base,
            file=file,
            newest=next(iter(await self._file.history.versions(most=1)), None),
            others=await self._others(request),
        )

    async def _patch(self, request: AnyRequest) -> Page:
        editing = await self._begun(request)
        now, name = editing.file.source, self._running.ready.settings.rules.name
        made = await in_thread(lambda _: git_patch(now, as_written(editing.text, now), name))
        return Response(
            made,
            media_type="text/x-patch; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="rules.patch"'},
        )

    @property
    def _file(self) -> RulesFile:
        return rules_file(self._running)

    async def _others(self, request: AnyRequest) -> list[Draft]:
        own = request_author(request).name
        return [each for each in await self._file.history.drafts() if each.user != own]

    async def _begun(self, request: AnyRequest) -> Editing:
        """The user's draft, or else the file's text."""
        file, own = await self._file.read(), request_author(request).name
        drafts = await self._file.history.drafts()
        draft = next((each for each in drafts if each.user == own), None)
        text, base = (draft.text, draft.base_hash) if draft else (to_text(file.source), file.hash)
        others = [each for each in drafts if each.user != own]
        return await self._compared(file, text, base, others)

    async def _compared(
        self, file: RulesText, text: str, base: str, others: list[Draft]
    ) -> Editing:
        original = file.source
        if base != file.hash and (version := await self._file.history.version(base)):
            original = version[1]
        source, diff = await in_thread(
            lambda _: (as_written(text, original), compared(to_text(original), text))
        )
        changes = await self._file.changes(original, source) if diff else []
        return Editing(
            file=file,
            text=text,
            base=base,
            original=original,
            source=source,
            is_draft=bool(diff),
            others=others,
            diff=diff,
            changes=changes,
        )

    async def _change(self, request: AnyRequest) -> Page:
        form, author = caller_of(request.scope).form, request_author(request)
        act, text = form.get("act", ""), with_newlines(form.get("text", ""))
        if act == "discard":
            await self._file.history.discard_draft(author.user)
            return redirect("/rules")
        if act not in {"check", "keep", "publish", "merge"} or "text" not in form:
            raise ClientException
        file, others = await self._file.read(), await self._others(request)
        editing = await self._compared(file, text, form.get("base", ""), others)
        editing = replace(editing, message=form.get("message", ""))
        if act == "merge":
            editing = await self._on_top(editing)
        if editing.is_draft:
            await self._file.history.keep_draft(author.user, editing.base, editing.text)
        else:
            await self._file.history.discard_draft(author.user)
        if act == "keep":
            return redirect("/rules/edit")
        if act == "publish":
            return await self._publish(request, editing)
        return await self._show(request, await self._checked(editing))

    async def _on_top(self, editing: Editing) -> Editing:
        """The user's changes merged into the present file, if they do not conflict with other changes; else unchanged."""
        base, theirs = to_text(editing.original), to_text(editing.file.source)
        text = await in_thread(lambda _: merged(base, theirs, editing.text))
        if text is None:
            return editing
        message = editing.message
        editing = await self._compared(editing.file, text, editing.file.hash, editing.others)
        return replace(editing, message=message)

    async def _publish(self, request: AnyRequest, editing: Editing) -> Page:
        try:
            published = await self._file.publish(
                editing.source, editing.base, request_author(request), editing.message
            )
        except Changed as error:
            return await self._conflict(request, editing, error.theirs)
        except NotPublished as error:
            return await self._refuse(request, editing, error)
        await self._running.parts.reload.wait_until_read(published.hash)
        beside = f"&beside={published.overwritten}" if published.overwritten else ""
        return redirect(f"/rules?done=publish{beside}")

    async def _refuse(self, request: AnyRequest, editing: Editing, error: NotPublished) -> Page:
        status, words = 422, "unusable"
        match error:
            case ForAdmins():
                status, words = 403, "admins"
                editing = replace(editing, problems=error.problems, is_checked=True)
            case FileIsReadOnly():
                status, words = 409, "read-only"
            case NotWritten():
                status, words = 503, "disk"
                editing = replace(editing, more=(str(error),))
            case NotUsable():
                editing = await self._checked(editing)
                if not editing.problems:
                    editing = replace(editing, more=(*editing.more, *error.problems))
        return await self._show(request, replace(editing, refused=words), status=status)

    async def _checked(self, editing: Editing) -> Editing:
        """The editing with the result of `relay check`."""
        checked = await self._file.check(editing.source)
        path = str(checked.path)
        problems, warnings = (
            tuple(each for each in entries if each.path == path)
            for entries in (checked.problems, checked.warnings)
        )
        others = [each for each in (*checked.problems, *checked.warnings) if each.path != path]
        return replace(
            editing,
            is_checked=True,
            problems=problems,
            warnings=warnings,
            more=(*checked.templates, *checked.settings, *map(str, others)),
        )

    async def _conflict(self, request: AnyRequest, editing: Editing, theirs: bytes) -> Page:
        base, others = to_text(editing.original), to_text(theirs)
        newest = await self._file.history.version(hash_of(theirs))
        diff, both = await in_thread(
            lambda _: (compared(base, others), merged(base, others, editing.text))
        )
        return await self._pages.show(
            request,
            "rules_conflict.html",
            status=409,
            nav="rules",
            editing=editing,
            their_hash=hash_of(theirs),
            version=newest[0] if newest else None,
            their_diff=diff,
            their_changes=await self._file.changes(editing.original, theirs),
            their_text=others,
            base_text=base,
            can_merge=both is not None,
        )

    async def _show(self, request: AnyRequest, editing: Editing, status: int = 200) -> Page:
        newest = await self._file.history.versions(most=1)
        language, rule = self._pages.language(request), request.query_params.get("rule", "")
        why = editing.file.read_only
        return await self._pages.show(
            request,
            "rules_edit.html",
            status=status,
            nav="rules",
            editing=editing,
            newest=next(iter(newest), None),
            why_not=why_rules_are_read_only(self._running, why, language),
            refused=language.gettext(REFUSED[editing.refused]) if editing.refused else "",
            rules_path=self._running.ready.settings.rules,
            problems=editing.problems[:MOST_PROBLEMS],
            warnings=editing.warnings[:MOST_PROBLEMS],
            excerpts=_excerpts(editing),
            chat=request.query_params.get("chat", ""),
            rule=rule,
            is_new=request.query_params.get("done", "") == "new",
            begins=await in_thread(lambda _: line_of_rule(editing.source, rule)) if rule else 0,
        )


def _excerpts(editing: Editing) -> list[Excerpt]:
    """The lines around each problem, once for each line with problems."""
    lines, excerpts = editing.text.split("\n"), dict[int, Excerpt]()
    for problem in (*editing.problems[:MOST_PROBLEMS], *editing.warnings[:MOST_PROBLEMS]):
        at = problem.line
        if problem.private or not 0 < at <= len(lines) or at in excerpts:
            continue
        first, last = max(at - AROUND, 1), min(at + AROUND, len(lines))
        around = tuple((number, lines[number - 1]) for number in range(first, last + 1))
        excerpts[at] = Excerpt(at, around, " " * max(problem.column - 1, 0))
    return list(excerpts.values())
