"""`/jobs/...`: one piece of long work, watched and stopped."""

from typing import Any

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.jobs import Job, Jobs
from relay.console.page import READ, AnyRequest, Page, Pages, redirect
from relay.console.visit import visit_of
from relay.outbox.people import Role

Id = FromPath[str]
ENDS_POLLING = 286
"""The status by which htmx asks no more."""


class JobPage:
    """`/jobs/ID` and `/jobs/ID/stop`."""

    def __init__(self, jobs: Jobs, pages: Pages) -> None:
        self._jobs, self._pages = jobs, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""

        @route("/jobs/{id_:str}", http_method=READ, opt={"role": Role.VIEWER})
        async def look(request: Request[Any, Any, Any], id_: Id) -> Page:
            visit = visit_of(request.scope)
            job = self._jobs.find(visit, id_)
            if job:
                return await self.show(request, job)
            if visit.is_partial:
                return await self._pages.show(request, "job_gone.html", status=ENDS_POLLING)
            raise NotFoundException

        @route("/jobs/{id_:str}/stop", http_method=HttpMethod.POST, opt={"role": Role.VIEWER})
        async def stop(request: Request[Any, Any, Any], id_: Id) -> Response[bytes]:
            visit = visit_of(request.scope)
            job = self._jobs.find(visit, id_)
            if job is None:
                raise NotFoundException
            await self._jobs.stop(job)
            return await self.begun(request, job)

        return [look, stop]

    async def show(self, request: AnyRequest, job: Job) -> Page:
        """The job as a page, or as a part of one."""
        is_partial = visit_of(request.scope).is_partial
        template = "job_part.html" if is_partial else "job.html"
        more: dict[str, Any] = {}
        if job.look_up:
            more |= await job.look_up(self._pages.language(request))
        return await self._pages.show(request, template, job=job, **more)

    async def begun(self, request: AnyRequest, job: Job) -> Page:
        """What answers a form that has begun or ended a job: the part for htmx, else a redirect to its page."""
        if visit_of(request.scope).is_partial:
            return await self.show(request, job)
        return redirect(f"/jobs/{job.id}")
