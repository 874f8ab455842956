"""The page that sends again all deliveries that failed for one cause.

It counts them, lets the user confirm, and shows the progress.
"""

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from relay.console.delivery_pages import failed_card
from relay.console.jobs import Job, Jobs, Work
from relay.console.logged_acts import AlreadyDone, act_of, new_key, write_act
from relay.console.page import AnyRequest, Page, Pages, Text, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import FailedGroup, failed_by_cause
from relay.services.resend import ResentMany, resend_failed
from relay.web.app import Running

MOST = 10_000
"""How many failed deliveries, the newest, are looked at."""
KIND = "resend"


class ResendPage:
    """Sending all of a group again: `/deliveries/failed/{group}`."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/deliveries/failed/{group:str}", Role.EDITOR, self._look),
            form_route("/deliveries/failed/{group:str}", Role.EDITOR, self._begin),
        ]

    async def _look(self, request: AnyRequest, group: Text) -> Page:
        return await self._show(request, await self._group(group))

    async def _group(self, wanted: str) -> FailedGroup:
        sessions = self._running.parts.outbox.sessions
        groups, _ = await failed_by_cause(sessions, limit=MOST)
        for group in groups:
            if group.id == wanted:
                return group
        raise NotFoundException

    async def _show(
        self, request: AnyRequest, group: FailedGroup, *, is_miscounted: bool = False
    ) -> Page:
        return await self._pages.show(
            request,
            "resend.html",
            status=422 if is_miscounted else 200,
            nav="deliveries",
            group=failed_card(group, self._pages.language(request)),
            is_miscounted=is_miscounted,
            key=new_key(),
        )

    async def _begin(self, request: AnyRequest, group: Text) -> Response[bytes]:
        caller, now = caller_of(request.scope), self._running.clock()
        sessions, key = self._running.parts.outbox.sessions, caller.form.get("key", "")
        if job := self._jobs.find_by_key(caller, key):
            return redirect(f"/jobs/{job.id}")
        failed = await self._group(group)
        count = len(failed.deliveries)
        if caller.form.get("count", "").strip() != str(count):
            return await self._show(request, failed, is_miscounted=True)
        act = act_of(caller, "send all again", failed.destination, str(count))
        self._jobs.refuse_too_many(caller)
        try:
            await write_act(sessions, act, now)
        except AlreadyDone:  # by another relay, or one that was restarted meanwhile
            return redirect("/deliveries")
        work = resending(self._running, failed, act.by)
        job = self._jobs.start(caller, KIND, work, back="/deliveries", is_counted=True, key=key)
        return redirect(f"/jobs/{job.id}")


def resending(running: Running, group: FailedGroup, by: str) -> Work:
    """The work of a job that sends all deliveries of a group again; its value counts them."""
    sessions, now, rest = running.parts.outbox.sessions, running.clock(), running.rest
    done = ResentMany(len(group.deliveries))
    ids = [each.id for each in reversed(group.deliveries)]

    async def work(job: Job) -> None:
        job.value = done
        try:
            await resend_failed(
                sessions, ids, done, by=by, now=now, rest=rest, progress=job.progress
            )
        finally:
            job.progress(done.queued + done.passed_by, done.total)

    return work
