"""Mutes: what is held back, by whom, until when and why; made and ended from here."""

from contextlib import suppress
from typing import Any

from litestar import Response
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler

from relay.console.acts import ActingSessions, AlreadyDone, act_of, new_key
from relay.console.destination_page import LONGEST_REASON, end_of
from relay.console.draft_pages import text_in_force
from relay.console.jobs import Job, JobPage, Jobs, TooManyJobs, Work
from relay.console.page import (
    AnyRequest,
    Number,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.visit import visit_of
from relay.outbox.log_of_acts import Act
from relay.outbox.people import Role
from relay.services.child_process import in_child
from relay.services.muting import (
    LONGEST,
    MuteTrial,
    WouldHaveHeld,
    is_about_anything,
    list_mutes,
    make_mute,
    try_mute,
    unmute,
)
from relay.timing.plan import Mute
from relay.web.app import Running

TRIAL = "mute"
"""The kind of a job that tries a mute."""


class MutePage:
    """`/mutes` and what is done there."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""
        return [
            page_route("/mutes", Role.VIEWER, self._mutes),
            form_route("/mutes", Role.EDITOR, self._make),
            form_route("/mutes/{number:int}/end", Role.EDITOR, self._end),
            form_route("/mutes/try", Role.EDITOR, self._try),
        ]

    async def _mutes(self, request: AnyRequest) -> Page:
        rules = self._running.parts.in_force.rules
        kept = await list_mutes(self._running.parts.outbox.sessions, self._running.clock())
        return await self._pages.show(
            request,
            "mutes.html",
            nav="rules",
            mutes=kept,
            rules=[rule.name for rule in rules.rules],
            destinations=list(rules.destinations),
            asked={name: request.query_params.get(name, "") for name in ("rule", "destination")},
            key=new_key(),
        )

    async def _end(self, request: AnyRequest, number: Number) -> Response[bytes]:
        act = act_of(visit_of(request.scope), "unmute", str(number))
        rules, now = self._running.parts.in_force.rules, self._running.clock()
        with suppress(AlreadyDone):
            await unmute(self._acting(act), number, by=act.by, rules=rules, now=now)
        return redirect("/mutes")

    def _acting(self, act: Any) -> ActingSessions:  # noqa: ANN401 - an Act
        return ActingSessions(self._running.parts.outbox.sessions, act, self._running.clock())

    async def _try(self, request: AnyRequest) -> Page:
        visit, running = visit_of(request.scope), self._running
        asked, _ = self._asked(request, is_trial=True)
        work = mute_trial(running, asked)
        try:
            job = self._jobs.start(visit, TRIAL, work, back="/mutes", alone=True)
        except TooManyJobs:
            raise ClientException from None
        return await JobPage(self._jobs, self._pages).begun(request, job)

    def _asked(self, request: AnyRequest, *, is_trial: bool = False) -> tuple[Mute, Act]:
        """The mute that a form asks for, and the act of making it. Raises ClientException."""
        visit, now = visit_of(request.scope), self._running.clock()
        form, rules = visit.form, self._running.parts.in_force.rules
        until, because = (
            end_of(form.get("until", ""), self._running, now),
            form.get("because", "").strip(),
        )
        rule, destination = form.get("rule", ""), form.get("destination", "")
        is_known = rule in {"", *(each.name for each in rules.rules)} and destination in {
            "",
            *rules.destinations,
        }
        if (
            until is None
            or until - now > LONGEST
            or not (because or is_trial)
            or not is_known
            or not (rule or destination)
        ):
            raise ClientException
        act = act_of(visit, "mute", rule or destination, destination if rule else "")
        made = Mute(
            id=0,
            rule=rule,
            destination=destination,
            begins=now,
            until=until,
            because=because[:LONGEST_REASON],
            by=act.by,
            then="nothing" if form.get("then") == "nothing" else "digest",
            urgent_too="urgent" in form,
        )
        if not is_about_anything(made, rules):
            raise ClientException
        return made, act

    async def _make(self, request: AnyRequest) -> Response[bytes]:
        rules, now = self._running.parts.in_force.rules, self._running.clock()
        made, act = self._asked(request)
        with suppress(AlreadyDone):
            await make_mute(self._acting(act), made, rules, origin="console", now=now)
        return redirect("/mutes")


def mute_trial(running: Running, mute: Mute) -> Work:
    """The work of trying a mute on the last seven days; its job's value are the mute and what it would have held back."""

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
        found = await in_child(
            try_mute, trial, answers=WouldHaveHeld, report=lambda _: None, progress=job.progress
        )
        return mute, found

    return work
