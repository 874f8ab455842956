"""Jobs: long work such as a backtest, begun by one request, and watched and stopped by others.

A job lives in the memory of the relay that began it; its result is never stored. It ends with the session or API
token that began it, or with the relay.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from relay.clock import Clock
from relay.console.page import (
    AnyRequest,
    FormRefused,
    Page,
    Pages,
    Text,
    form_route,
    page_route,
    redirect,
)
from relay.console.request_context import Caller, caller_of
from relay.languages import N_
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.user_accounts import Role
from relay.services.child_process import ChildFailed, SpareChild

MOST_OF_A_CALLER = 4
"""How many jobs one session or token may have at the same time."""
KEPT_FOR = timedelta(minutes=15)
"""How long a job is kept after its end."""
MOST_KEPT = 50
STOP_POLLING = 286
"""The status with which htmx stops polling."""
CHECK_INTERVAL = 1.0
"""Seconds between two checks whether a job's session or API token is still valid."""

log = logging.getLogger(__name__)


class State(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    """Waits for another job of its kind, of which only one runs at a time."""
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class TooManyJobs(FormRefused):
    """Raised where somebody has as many jobs as may run at the same time."""

    status_code = 429

    def __init__(self) -> None:
        super().__init__(N_("You have too many things under way. Wait until one has ended."))


@dataclass(slots=True, eq=False)
class Job:
    """A job. Its work may call `report` and `progress`."""

    id: str
    kind: str
    """Names the template that shows it: `job_KIND.html`."""
    caller: Caller
    """The caller that began it."""
    back: str
    """The path of the page on which it was begun."""
    state: State = State.WAITING
    done: int = 0
    total: int = 0
    value: Any = None
    """The result so far. Ids rather than visitors' words, as what was erased meanwhile must not be shown."""
    why: str = ""
    """Why it failed."""
    ended_at: datetime | None = None
    key: str = ""
    """The key of the form that began it."""
    look_up: Callable[[AnyRequest], Awaitable[Mapping[str, object]]] | None = None
    """Reads more values for the template, each time that the job is shown."""
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, with a result or without."""
        return self.ended_at is not None

    def report(self, value: object) -> None:
        """Set the result so far."""
        self.value = value

    def progress(self, done: int, total: int) -> None:
        """Set how many steps are done, and of how many."""
        self.done, self.total = done, total


Work = Callable[[Job], Awaitable[object]]
"""Does a job. Its result, unless None, is the job's final value. It is cancelled if the job is stopped."""


class Jobs:
    """All jobs of one relay."""

    def __init__(self, is_open: Callable[[Caller], Awaitable[bool]], clock: Clock) -> None:
        """`is_open`: whether the session or API token of a job's caller is still valid."""
        self._is_open = is_open
        self._clock = clock
        self.spare = SpareChild("relay.services.live_backtest")
        """A child process for backtests, started in advance while somebody edits the rules."""
        self._jobs: dict[str, Job] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def refuse_too_many(self, caller: Caller, stopped: str = "") -> None:
        """Raise TooManyJobs where a session or token has as many jobs as may run at the same time.

        `start` calls it. For work that must not be done twice, it is called before that work, and `start` after it with
        `is_counted`. `stopped`: the kind of the jobs that don't count, as they are being stopped.
        """
        if sum(each.kind != stopped for each in self._running(caller)) >= MOST_OF_A_CALLER:
            raise TooManyJobs

    def _running(self, caller: Caller) -> list[Job]:
        self._forget_old()
        mine = (each for each in self._jobs.values() if _owner(each.caller) == _owner(caller))
        return [each for each in mine if not each.is_over]

    def start(
        self,
        caller: Caller,
        kind: str,
        work: Work,
        *,
        back: str,
        alone: bool = False,
        is_counted: bool = False,
        key: str = "",
        look_up: Callable[[AnyRequest], Awaitable[Mapping[str, object]]] | None = None,
    ) -> Job:
        """Begin a job, which runs `work` after the request has been answered. Raises TooManyJobs.

        `back`: the path of the page to return to. `key`: of the form, so that a form sent twice begins one job.
        `look_up`: more values for the job's page. `alone`: only one of its kind runs at a time. Another of the same
        user is stopped; those of others are waited for. `is_counted`: `refuse_too_many` was called before.
        """
        if alone:
            for each in self._running(caller):
                if each.kind == kind:
                    self._cancel(each)
        if not is_counted:
            self.refuse_too_many(caller, stopped=kind if alone else "")
        id_ = secrets.token_urlsafe(12)
        job = Job(id_, kind, replace(caller, form={}), back, key=key, look_up=look_up)
        self._jobs[job.id] = job
        turn = self._turns.setdefault(kind, asyncio.Lock()) if alone else contextlib.nullcontext()
        job.task = asyncio.get_running_loop().create_task(self._run(job, work, turn))
        job.task.add_done_callback(lambda _: self._finish(job))
        return job

    def find(self, caller: Caller, id_: str) -> Job | None:
        """The job, if it was begun by this session or token; else None."""
        job = self._jobs.get(id_)
        return job if job and _owner(job.caller) == _owner(caller) else None

    def find_by_key(self, caller: Caller, key: str) -> Job | None:
        """The job that a form with this key has begun in this session, so that a form sent twice begins one job; else None."""
        jobs = (each for each in self._jobs.values() if key and each.key == key)
        return next((each for each in jobs if _owner(each.caller) == _owner(caller)), None)

    async def stop(self, job: Job) -> None:
        """Cancel a job, and wait until it has ended. What it has done stays done."""
        self._cancel(job)
        if job.task:
            await asyncio.wait([job.task])

    async def close(self) -> None:
        """Cancel all jobs, and wait until the last has ended."""
        for job in self._jobs.values():
            self._cancel(job)
        tasks = [job.task for job in self._jobs.values() if job.task]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.spare.close()
        self._jobs.clear()

    def _cancel(self, job: Job) -> None:
        if job.task and not job.is_over:
            job.task.cancel()

    async def _run(
        self,
        job: Job,
        work: Work,
        turn: "asyncio.Lock | contextlib.nullcontext[None]",
    ) -> None:
        watching = asyncio.get_running_loop().create_task(self._watch(job))
        try:
            async with turn:
                job.state = State.RUNNING
                value = await work(job)
            job.value = job.value if value is None else value
            job.state = State.DONE
        except (ChildFailed, StorageRefused, StorageUnavailable, TimeoutError) as error:
            job.state, job.why = State.FAILED, str(error) or "no answer in time"
        except Exception as error:
            job.state, job.why = State.FAILED, f"the relay failed ({type(error).__name__})"
            log.exception("%s of the console failed", job.kind)
        finally:
            watching.cancel()

    def _finish(self, job: Job) -> None:
        job.ended_at = self._clock()
        if job.state not in (State.DONE, State.FAILED):
            job.state = State.STOPPED

    async def _watch(self, job: Job) -> None:
        """Cancel the job when its session or API token is no longer valid."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            with contextlib.suppress(StorageUnavailable, StorageRefused, TimeoutError):
                if not await self._is_open(job.caller):
                    self._cancel(job)
                    return

    def _forget_old(self) -> None:
        over = [each for each in self._jobs.values() if each.ended_at]
        old = self._clock() - KEPT_FOR
        for place, each in enumerate(reversed(over)):
            if place >= MOST_KEPT or (each.ended_at and each.ended_at < old):
                del self._jobs[each.id]


def _owner(caller: Caller) -> tuple[str, int]:
    """The session or token of a caller."""
    if caller.token:
        return "token", caller.token.id
    return "session", caller.session.id if caller.session else 0


class JobPage:
    """The page of a job: `/jobs/ID`, and `/jobs/ID/stop`."""

    def __init__(self, jobs: Jobs, pages: Pages) -> None:
        self._jobs, self._pages = jobs, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/jobs/{id_:str}", Role.VIEWER, self._look),
            form_route("/jobs/{id_:str}/stop", Role.VIEWER, self._stop),
        ]

    async def _look(self, request: AnyRequest, id_: Text) -> Page:
        caller = caller_of(request.scope)
        job = self._jobs.find(caller, id_)
        if job:
            return await self.show(request, job)
        if caller.is_partial:
            return await self._pages.show(request, "job_gone.html", status=STOP_POLLING)
        raise NotFoundException

    async def _stop(self, request: AnyRequest, id_: Text) -> Response[bytes]:
        caller = caller_of(request.scope)
        job = self._jobs.find(caller, id_)
        if job is None:
            raise NotFoundException
        await self._jobs.stop(job)
        return await self.begun(request, job)

    async def show(self, request: AnyRequest, job: Job) -> Page:
        """The job as a page, or as a part of one for htmx."""
        is_partial = caller_of(request.scope).is_partial
        template = "job_part.html" if is_partial else "job.html"
        more: dict[str, Any] = {}
        job = replace(job)  # as it is now: what it looks up must not belong to an older value
        if job.look_up:
            more |= await job.look_up(request)
        return await self._pages.show(request, template, job=job, **more)

    async def begun(self, request: AnyRequest, job: Job) -> Page:
        """The answer to a form that has begun or stopped a job: its part for htmx, else a redirect to its page."""
        if caller_of(request.scope).is_partial:
            return await self.show(request, job)
        return redirect(f"/jobs/{job.id}")
