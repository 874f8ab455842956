"""Parts for the editor of the rules file: problems, completions, and trials of the draft. Nothing is published here."""

import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from litestar import Response
from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from relay.console.delivery_pages import framed_mail
from relay.console.file_access import request_author, rules_file
from relay.console.jobs import Job, JobPage, Jobs, Work
from relay.console.notification_look import Look, packed_look
from relay.console.page import AnyRequest, Page, Pages, Text, form_route, page_route
from relay.console.request_context import Caller, caller_of
from relay.languages import LANGUAGES
from relay.outbox.history import stored_hooks
from relay.outbox.user_accounts import Role
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import RuleBook, RulesError
from relay.rules.json_schema import json_schema
from relay.runtime.startup import read_rule_book, template_folders, template_names
from relay.services import in_thread
from relay.services.case_run import CaseRun, case_file_of, read_suite, run_cases
from relay.services.child_process import SpareChild, in_child
from relay.services.draft_check import check_draft, flaws_of
from relay.services.draft_trial import ChatTrial, NoSuchChat, find_hook, try_on_chat
from relay.services.live_backtest import Numbers, Trial, try_on_past
from relay.services.publish_rules import ForAdmins, NotUsable, RulesFile
from relay.services.rules_history import hash_of
from relay.services.text_diff import as_written, compared, to_text, with_newlines
from relay.transports.registry import TRANSPORTS
from relay.web.app import Running

PERIODS = {
    "1h": timedelta(hours=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
MOST_KEPT = 60
"""How many emails of previews are kept."""


class ShownLook(Struct, frozen=True):
    """One delivery that the draft would make, as its medium shows it."""

    destination: str
    recipient: str
    """The recipient; empty where the destination has only itself as one."""
    rule: str
    look: Look
    mail_at: str
    """The path from which an email's frame is loaded; empty for other media."""


@dataclass(frozen=True, slots=True)
class _KeptMail:
    caller: Caller
    hook: int
    html: str


class Written(Struct, frozen=True):
    """The text of an editor's form."""

    base: str
    """The hash of the text that was edited."""
    text: str
    original: bytes
    source: bytes
    """The bytes as they would be written to the file."""

    @property
    def is_draft(self) -> bool:
        """Whether the text differs from the one that was edited."""
        return self.source != self.original

    @property
    def mark(self) -> str:
        """What tells this draft from another one; empty where nothing was changed."""
        return hash_of(self.text.encode()) if self.is_draft else ""


class PreviewMails:
    """The emails of previews, for the frames that show them; each only for the session that made it, and while its chat exists."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _KeptMail] = OrderedDict()

    def keep(self, caller: Caller, hook: int, html: str) -> str:
        """Keep an email and return its path; beyond MOST_KEPT the oldest is dropped. `hook`: 0 for a sample chat."""
        name = secrets.token_urlsafe(12)
        self._kept[name] = _KeptMail(caller, hook, html)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return f"/previews/{name}"

    def find(self, caller: Caller, name: str) -> tuple[int, str] | None:
        """The number of an email's hook, and its HTML; None for an email of another session."""
        kept = self._kept.get(name)
        if kept is None or caller.session is None or kept.caller.session is None:
            return None
        is_own = kept.caller.session.id == caller.session.id
        return (kept.hook, kept.html) if is_own else None


class DraftPages:
    """`/rules/check`, `/rules/schema.json`, `/rules/draft`, `/rules/try/...` and `/previews/...`."""

    def __init__(
        self,
        running: Running,
        pages: Pages,
        jobs: Jobs,
        workers: RenderPool,
        mails: PreviewMails,
    ) -> None:
        """`workers` render drafts, separate from those that render deliveries."""
        self._running, self._pages, self._jobs = running, pages, jobs
        self._workers = workers
        self._mails = mails

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            form_route("/rules/check", Role.EDITOR, self._check),
            page_route("/rules/schema.json", Role.EDITOR, self._schema),
            form_route("/rules/draft", Role.EDITOR, self._draft),
            form_route("/rules/try/chat", Role.EDITOR, self._try_chat),
            form_route("/rules/try/cases", Role.EDITOR, self._try_cases),
            form_route("/rules/try/past", Role.EDITOR, self._try_past),
            page_route("/previews/{name:str}", Role.EDITOR, self._mail),
        ]

    async def _schema(self) -> Response[bytes]:
        settings = self._running.ready.settings

        def work(_: object) -> bytes:
            names = template_names(template_folders(settings))
            return json.dumps(json_schema(TRANSPORTS, names, LANGUAGES)).encode()

        return Response(await in_thread(work), media_type="application/json")

    async def _draft(self, request: AnyRequest) -> Page:
        caller, author = caller_of(request.scope), request_author(request)
        written, seen = await self._written(caller), caller.form.get("kept")
        drafts = await self._file.history.drafts()
        own = next((hash_of(each.text.encode()) for each in drafts if each.user == author.name), "")
        await self._keep(request, written)
        return await self._pages.show(
            request,
            "draft_kept.html",
            editing=written,
            is_of_another_tab=bool(own) and seen is not None and own not in {seen, written.mark},
        )

    @property
    def _file(self) -> RulesFile:
        return rules_file(self._running)

    async def _written(self, caller: Caller) -> Written:
        """The text of the form. Raises ClientException for a form without one."""
        if "text" not in caller.form:  # and none is kept in place of the draft
            raise ClientException
        base, text = caller.form.get("base", ""), with_newlines(caller.form["text"])
        version = await self._file.history.version(base) if base else None
        original = version[1] if version else (await self._file.read()).source
        return Written(base, text, original, as_written(text, original))

    async def _keep(self, request: AnyRequest, written: Written) -> None:
        """Store the text as the user's draft, or discard the draft if the text equals the one that was edited."""
        author, history = request_author(request), self._file.history
        if not written.is_draft:
            await history.discard_draft(author.user)
        elif written.base:
            await history.keep_draft(author.user, written.base, written.text)

    async def _check(self, request: AnyRequest) -> Page:
        self._jobs.spare.prepare()
        running, path = self._running, self._running.ready.settings.rules
        written = await self._written(caller_of(request.scope))
        check = await check_draft(written.source, path, running.variables, running.clock())
        refused, author = tuple[str, ...](), request_author(request)
        if not check.count:
            try:
                await self._file.refuse_unusable(written.source, author, written.original)
            except ForAdmins as error:
                check = replace(check, errors=flaws_of(error.problems, written.source, path))
            except NotUsable as error:
                refused = error.problems
        diff = await in_thread(lambda _: compared(to_text(written.original), written.text))
        return await self._pages.show(
            request,
            "draft_problems.html",
            check=check,
            refused=refused,
            path=str(path),
            diff=diff,
            changes=await self._file.changes(written.original, written.source) if diff else [],
        )

    # -- try -----------------------------------------------------------------------------------------------------

    async def _book(self, caller: Caller) -> RuleBook:
        """The rules of the draft. Raises RulesError."""
        settings, source = self._running.ready.settings, (await self._written(caller)).source
        return await in_thread(lambda _: read_rule_book(source, str(settings.rules), settings))

    async def _show(
        self,
        request: AnyRequest,
        kind: str,
        *,
        follows: bool = False,
        **values: Any,  # noqa: ANN401 - what templates show
    ) -> Page:
        """The result of a trial: a part for htmx, else a page, before which the draft is stored.

        `follows`: the part is requested again when the user has gone on typing.
        """
        caller = caller_of(request.scope)
        if not caller.is_partial:
            await self._keep(request, await self._written(caller))
        template = "try_part.html" if caller.is_partial else "try_page.html"
        return await self._pages.show(
            request, template, nav="rules", kind=kind, follows=follows, **values
        )

    async def _try_chat(self, request: AnyRequest) -> Page:
        caller, running = caller_of(request.scope), self._running
        name = caller.form.get("chat", "")
        try:
            hook = await find_hook(running.parts.outbox.sessions, name)
            trial = await try_on_chat(
                hook,
                running.parts.in_force.rules,
                await self._book(caller),
                running.ready.settings,
                self._workers,
            )
        except RulesError:
            return await self._show(request, "broken", follows=True)
        except NoSuchChat:
            return await self._show(request, "no_chat", name=name, follows=True)
        shown = self._looks(trial, caller)
        return await self._show(request, "chat", trial=trial, shown=shown, follows=True)

    def _looks(self, trial: ChatTrial, caller: Caller) -> list[ShownLook]:
        looks = []
        for rendered in trial.shown:
            delivery, notification = rendered.delivery, rendered.notification
            transport = rendered.destination.transport
            look = packed_look(notification, transport, delivery.created_at, rendered.trouble)
            recipient = "" if delivery.recipient == delivery.destination else delivery.recipient
            mail_at = ""
            if look.transport == "email":
                mail_at = self._mails.keep(caller, trial.hook.id, notification.html)
            looks.append(ShownLook(delivery.destination, recipient, delivery.rule, look, mail_at))
        return looks

    async def _try_cases(self, request: AnyRequest) -> Page:
        path = self._running.ready.settings.rules
        case_file = case_file_of(path)
        try:
            book = await self._book(caller_of(request.scope))
        except RulesError:
            return await self._show(request, "broken")
        try:
            run: CaseRun = await run_cases(await read_suite(case_file, path, path), book)
        except RulesError as error:
            is_there = await in_thread(lambda _: case_file.exists())
            problems = [str(each) for each in error.problems] if is_there else []
            return await self._show(request, "no_cases", file=str(case_file), problems=problems)
        return await self._show(request, "cases", run=run)

    async def _try_past(self, request: AnyRequest) -> Response[bytes]:
        caller, running = caller_of(request.scope), self._running
        before, written = await text_in_force(running), await self._written(caller)
        try:
            await self._book(caller)
        except RulesError:
            return await self._show(request, "broken")
        period = PERIODS.get(caller.form.get("period", ""), PERIODS["7d"])
        work = past_trial(running, before, written.source, period, self._jobs.spare)
        if not caller.is_partial:
            await self._keep(request, written)
        job = self._jobs.start(caller, "past", work, back="/rules/edit", alone=True)
        return await JobPage(self._jobs, self._pages).begun(request, job)

    async def _mail(self, request: AnyRequest, name: Text) -> Response[bytes]:
        kept = self._mails.find(caller_of(request.scope), name)
        if kept is None:
            raise NotFoundException
        hook, html = kept
        find_hooks = partial(stored_hooks, ids=[hook])
        if hook and not await self._running.parts.outbox.read(find_hooks):
            raise NotFoundException  # erased meanwhile
        return framed_mail(html)


def past_trial(
    running: Running, before: bytes, after: bytes, period: timedelta | None, spare: SpareChild
) -> Work:
    """The work of a job that tries a text of the rules on past chats, compared with another; its value holds the numbers so far."""
    settings = running.ready.settings
    trial = Trial(
        database=settings.database,
        before=before,
        after=after,
        path=settings.rules,
        templates=settings.templates,
        since=running.clock() - period if period else None,
    )

    async def work(job: Job) -> Numbers:
        return await in_child(
            try_on_past,
            trial,
            answers=Numbers,
            spare=spare,
            report=job.report,
            progress=job.progress,
        )

    return work


async def text_in_force(running: Running) -> bytes:
    """The text of the rules in force."""
    file = rules_file(running)
    version = await file.history.version(running.parts.in_force.rules.hash)
    return version[1] if version else (await file.read()).source
