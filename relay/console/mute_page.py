"""The page of mutes: what is held back, by whom, until when and why. Makes and ends mutes."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from litestar import Response
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler

from relay.console.destination_page import LONGEST_REASON, NO_REASON, end_of
from relay.console.draft_pages import text_in_force
from relay.console.jobs import Job, JobPage, Jobs, Work
from relay.console.logged_acts import ActingSessions, AlreadyDone, act_of, new_key
from relay.console.page import (
    AnyRequest,
    FormRefused,
    Number,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.request_context import caller_of
from relay.languages import N_
from relay.outbox.audit_log import Act
from relay.outbox.user_accounts import Role
from relay.services.child_process import in_child
from relay.services.muting import (
    LONGEST,
    MuteTrial,
    WouldHaveHeld,
    can_hold_back,
    list_mutes,
    make_mute,
    try_mute,
    unmute,
)
from relay.timing.plan import Mute
from relay.web.app import Running

TRIAL = "mute"
"""The kind of jobs that try a mute."""
_HOLDS_NOTHING = N_(
    "The rules in force send nothing that this mute would hold back. Perhaps somebody has just changed them."
)


class MutePage:
    """`/mutes` and its forms."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/mutes", Role.VIEWER, self._mutes),
            form_route("/mutes", Role.EDITOR, self._make),
            form_route("/mutes/{number:int}/end", Role.EDITOR, self._end),
            form_route("/mutes/try", Role.EDITOR, self._try),
        ]

    async def _mutes(self, request: AnyRequest) -> Page:
        return await self._show(request, request.query_params)

    async def _show(
        self, request: AnyRequest, fields: Mapping[str, str], refused: FormRefused | None = None
    ) -> Page:
        """The page. `fields`: values of the form's fields; `refused`: why the form was refused."""
        rules = self._running.parts.in_force.rules
        kept = await list_mutes(self._running.parts.outbox.sessions, self._running.clock())
        return await self._pages.show(
            request,
            "mutes.html",
            nav="rules",
            mutes=kept,
            rules=[rule.name for rule in rules.rules],
            destinations=list(rules.destinations),
            fields={name: fields.get(name, "") for name in ("rule", "destination", "because")},
            refused=refused,
            status=refused.status_code if refused else 200,
            key=new_key(),
        )

    async def _end(self, request: AnyRequest, number: Number) -> Response[bytes]:
        act = act_of(caller_of(request.scope), "unmute", str(number))
        rules, now = self._running.parts.in_force.rules, self._running.clock()
        with suppress(AlreadyDone):
            await unmute(self._acting(act), number, by=act.by, rules=rules, now=now)
        await self._running.parts.in_force.apply_mutes_and_pauses()
        return redirect("/mutes")

    def _acting(self, act: Any) -> ActingSessions:  # noqa: ANN401 - an Act
        return ActingSessions(self._running.parts.outbox.sessions, act, self._running.clock())

    async def _try(self, request: AnyRequest) -> Page:
        caller, running = caller_of(request.scope), self._running
        mute, _ = self._mute_of_form(request, is_trial=True)
        work = mute_trial(running, mute)
        job = self._jobs.start(caller, TRIAL, work, back="/mutes", alone=True)
        return await JobPage(self._jobs, self._pages).begun(request, job)

    def _mute_of_form(self, request: AnyRequest, *, is_trial: bool = False) -> tuple[Mute, Act]:
        """The mute that a form describes, and the act of making it. Raises FormRefused, and ClientException for an invalid form."""
        caller, now = caller_of(request.scope), self._running.clock()
        form, rules = caller.form, self._running.parts.in_force.rules
        rule, destination = form.get("rule", ""), form.get("destination", "")
        until = self._until(form, now)
        _refuse_incomplete(form, is_trial=is_trial)
        act = act_of(caller, "mute", rule or destination, destination if rule else "")
        mute = Mute(
            id=0,
            rule=rule,
            destination=destination,
            begins=now,
            until=until,
            because=form.get("because", "").strip()[:LONGEST_REASON],
            by=act.by,
            then="nothing" if form.get("then") == "nothing" else "digest",
            urgent_too="urgent" in form,
        )
        if not can_hold_back(mute, rules):
            raise FormRefused(_HOLDS_NOTHING)
        return mute, act

    def _until(self, form: Mapping[str, str], now: datetime) -> datetime:
        until = end_of(form.get("until", ""), self._running, now)
        if until is None or until - now > LONGEST:
            raise ClientException
        return until

    async def _make(self, request: AnyRequest) -> Response[bytes]:
        rules, now = self._running.parts.in_force.rules, self._running.clock()
        try:
            mute, act = self._mute_of_form(request)
        except FormRefused as refused:
            return await self._show(request, caller_of(request.scope).form, refused)
        with suppress(AlreadyDone):
            await make_mute(self._acting(act), mute, rules, origin="console", now=now)
        await self._running.parts.in_force.apply_mutes_and_pauses()
        return redirect("/mutes")


def _refuse_incomplete(form: Mapping[str, str], *, is_trial: bool) -> None:
    """Raise FormRefused for a mute of nothing, and for one without a reason, unless it is a trial."""
    if not (form.get("rule") or form.get("destination")):
        raise FormRefused(N_("Choose a rule, a destination, or both."))
    if not (is_trial or form.get("because", "").strip()):
        raise FormRefused(NO_REASON)


def mute_trial(running: Running, mute: Mute) -> Work:
    """The work of a job that tries a mute on the last seven days; its value holds the mute and what it would have held back."""

    async def work(job: Job) -> tuple[Mute, WouldHaveHeld]:
        settings = running.ready.settings
        trial = MuteTrial(
            database=settings.database,
            rules=await text_in_force(running),
            path=settings.rules,
            templates=settings.templates,
            mute=mute,
            now=running.clock(),
        )
        held = await in_child(
            try_mute, trial, answers=WouldHaveHeld, report=lambda _: None, progress=job.progress
        )
        return mute, held

    return work
