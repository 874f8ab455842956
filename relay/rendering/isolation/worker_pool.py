"""A pool of rendering workers that starts them on demand and replaces lost ones."""

import asyncio
import contextlib
import logging
import signal
import time
from collections import defaultdict, deque
from pathlib import Path

from relay.clock import Deadline
from relay.rendering.isolation.foreman_process import ForemanProcess, Pending, WorkerLine
from relay.rendering.isolation.protocol import (
    Answer,
    Check,
    Checked,
    Ended,
    Failed,
    Limits,
    Render,
    RenderDigest,
    Rendered,
)

RENDERING = Limits(computing=1.0, waiting=10.0)
DIGEST_RENDERING = Limits(computing=5.0, waiting=20.0)
"""The limits of a digest, which may have 50 chats."""
CHECKING = Limits(computing=3.0, waiting=60.0)
WORKERS = 2
"""The most workers; one that hangs does not delay the others."""
BATCH = 8
"""The most requests sent to a worker at once: fewer switches between processes cost less."""
WELL_BEFORE_TRUSTED = 32
"""How often a template that exceeded its limits must succeed alone before it is trusted again."""
MOST_MEMORY = 160 * 1024 * 1024
"""A worker that ever used this many bytes is replaced, because Python does not return its memory."""
IDLE = 120.0
"""Seconds without work after which the pool ends its workers, to save memory between chats."""
PATIENCE = 5.0
"""Seconds beyond the limits after which a worker must have ended."""

log = logging.getLogger(__name__)


class RenderingEnded(Exception):
    """Raised if a request was not completed; the text gives the reason as a sentence about the template."""


class WorkerLost(RenderingEnded):
    """Raised if a worker ended without exceeding a limit: the template or a lack of memory is the cause."""


class RenderPool:
    """Renders notifications in worker processes, which are ended if they take too long or too much memory.

    One worker at a time renders a template, and all templates that recently exceeded limits share
    one worker, so that others always get one. Requests for one template are sent to its worker
    together.
    """

    def __init__(self, folders: tuple[Path, ...], *, idle: float = IDLE) -> None:
        """`idle`: seconds without work after which the processes are ended."""
        self._idle = idle
        self._folders = folders
        self._foreman = ForemanProcess(folders)
        self._waiting: defaultdict[str, deque[Pending]] = defaultdict(deque)
        self._serving: dict[str, asyncio.Task[None]] = {}
        """A task for each template with waiting requests."""
        self._room = asyncio.Semaphore(WORKERS)
        self._suspects: dict[str, int] = {}
        """Templates that exceeded their limits, and how often they must still succeed."""
        self._suspects_turn = asyncio.Lock()
        self._workers: dict[WorkerLine, ForemanProcess] = {}
        """The workers, each with the foreman that forked it."""
        self._resting: list[WorkerLine] = []
        self._under_way = 0
        self._deadlines: dict[Limits, Deadline] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()
        """The tasks that wait for foremen no longer used."""

    async def render(self, request: Render | RenderDigest) -> Rendered:
        """Return a worker's rendering. Raises RenderingEnded."""
        loop = asyncio.get_running_loop()
        pending = Pending(request, loop.create_future())
        self._waiting[request.template].append(pending)
        if request.template not in self._serving:
            self._serving[request.template] = loop.create_task(self._serve(request.template))
        answer = await pending.answer
        if isinstance(answer, Rendered):
            return answer
        raise RenderingEnded(_problem(answer))

    async def check(
        self,
        template: str,
        *,
        in_no_hurry: bool = False,
        transport: str = "",
        forms: tuple[str, ...] = (),
        front: str = "",
    ) -> list[str]:
        """Test a template with made-up chats and return its problems, each as `file:line: problem` where known.

        `in_no_hurry` runs the test at the lowest priority, in a worker of its own. Files in `front` take precedence over
        all others. With `forms`, the JSON texts of destinations, tests these instead: returns the
        problem of each, empty if there is none, or why they can't be tested.
        """
        request = Check(
            limits=CHECKING,
            template=template,
            transport=transport,
            forms=forms,
            in_no_hurry=in_no_hurry,
            front=front,
        )
        pending = Pending(request, asyncio.get_running_loop().create_future())
        named = "" if forms else f"template {template!r}: "
        try:
            await self._ask([pending], apart=in_no_hurry)
        except RenderingEnded as ended:
            return [f"{named}{ended}"]
        answer = pending.answer.result()
        return answer.problems if isinstance(answer, Checked) else [f"{named}{_problem(answer)}"]

    async def close(self) -> None:
        """End all processes. Waiting requests get no answer."""
        tasks = list(self._serving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in list(self._workers):
            self._release(worker)
        if self._sweeping:
            self._sweeping.cancel()
        self._end(self._foreman)
        await asyncio.gather(*self._endings)

    # -- one template --------------------------------------------------------------------------------------

    async def _serve(self, template: str) -> None:
        waiting = self._waiting[template]
        try:
            while waiting:
                suspect = template in self._suspects
                async with self._turn(suspect=suspect), self._room:
                    size = 1 if suspect else BATCH
                    batch = [waiting.popleft() for _ in range(min(len(waiting), size))]
                    batch.sort(key=_takes_long)  # a post need not wait for an email
                    await self._serve_batch(template, batch)
        finally:
            del self._serving[template]

    def _turn(self, *, suspect: bool) -> contextlib.AbstractAsyncContextManager[None]:
        return self._suspects_turn if suspect else contextlib.nullcontext()

    async def _serve_batch(self, template: str, batch: list[Pending]) -> None:
        was_suspect = template in self._suspects
        try:
            await self._ask(batch)
        except RenderingEnded as ended:
            self._suspects[template] = WELL_BEFORE_TRUSTED
            unanswered = [pending for pending in batch if not pending.answer.done()]
            if len(batch) > 1 or (isinstance(ended, WorkerLost) and not was_suspect):
                # Asking each alone shows which of them failed, or that none did.
                self._waiting[template].extendleft(reversed(unanswered))
                return
            for pending in unanswered:
                pending.answer.set_exception(ended)
        except Exception as error:  # noqa: BLE001 - a bug: each caller gets the error and does not wait for ever
            for pending in batch:
                if not pending.answer.done():
                    pending.answer.set_exception(error)
        else:
            self._trust(template)

    def _trust(self, template: str) -> None:
        if template in self._suspects:
            self._suspects[template] -= 1
            if not self._suspects[template]:
                del self._suspects[template]

    # -- workers -------------------------------------------------------------------------------------------

    async def _ask(self, batch: list[Pending], *, apart: bool = False) -> None:
        """Send requests to a worker, to one of its own if `apart`.

        Raises RenderingEnded if some were not answered.
        """
        limits, template = batch[0].request.limits, batch[0].request.template
        deadline = self._deadlines.setdefault(limits, Deadline(limits.waiting + PATIENCE))
        if self._foreman.is_outdated():
            self._start_over()
        self._under_way += 1
        try:
            worker = await (self._new_worker() if apart else self._worker(template))
        finally:
            self._under_way -= 1
        try:
            worker.ask(batch)
            while worker.unanswered and not worker.is_gone:
                with deadline.start():
                    await worker.next_data()
        except TimeoutError:
            # The worker ended neither by its limits nor by its own decision.
            self._workers[worker].kill()
            raise RenderingEnded("its rendering hung and was ended") from None
        finally:
            if apart or worker.unanswered or worker.is_gone:
                self._release(worker)
            else:
                self._rest(worker)
        if worker.unanswered:
            raise _why_ended(worker.ended, limits)

    async def _worker(self, template: str) -> WorkerLine:
        """Return an idle worker, best one that knows the template's chats, or a new one."""
        self._resting.sort(key=lambda worker: worker.template == template)
        while self._resting:
            worker = self._resting.pop()
            if not worker.is_gone:
                return worker
            self._release(worker)
        return await self._new_worker()

    def _start_over(self) -> None:
        """Use a new foreman from now on, which may read a replaced folder."""
        before, self._foreman = self._foreman, ForemanProcess(self._folders)
        resting, self._resting = self._resting, []
        for worker in resting:
            self._release(worker)
        self._end_if_unused(before)

    def _end_if_unused(self, foreman: ForemanProcess) -> None:
        """End a foreman without workers, unless it is the current one."""
        if foreman is not self._foreman and foreman not in self._workers.values():
            self._end(foreman)

    def _end(self, foreman: ForemanProcess) -> None:
        ending = foreman.end()
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _new_worker(self) -> WorkerLine:
        foreman = self._foreman
        try:
            line = foreman.new_line()
        except OSError as error:
            raise RenderingEnded(f"no process could be started for it ({error})") from None
        worker = WorkerLine()
        self._workers[worker] = foreman  # at once: a foreman without workers may be ended
        await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=line)
        return worker

    def _rest(self, worker: WorkerLine) -> None:
        if worker.memory > MOST_MEMORY or self._workers[worker] is not self._foreman:
            self._release(worker)
            return
        worker.resting_since = time.monotonic()
        self._resting.append(worker)
        self._sweep_later()

    def _release(self, worker: WorkerLine) -> None:
        worker.close()
        foreman = self._workers.pop(worker, None)
        if foreman is not None:
            self._end_if_unused(foreman)
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._idle, self._sweep)

    def _sweep(self) -> None:
        """End idle workers, and the foreman with the last of them."""
        long_ago = time.monotonic() - self._idle / 2
        resting, self._resting = self._resting, []
        for worker in resting:
            if worker.resting_since <= long_ago:
                self._release(worker)
            else:
                self._resting.append(worker)
        self._sweeping = None
        if self._workers or self._under_way:
            self._sweep_later()
        else:
            self._end(self._foreman)


def _takes_long(pending: Pending) -> bool:
    return isinstance(pending.request, Render) and pending.request.bodies


def _problem(answer: Answer) -> str:
    if isinstance(answer, Failed):
        log.error("rendering failed:\n%s", answer.traceback)
        return "the relay failed at it; its log says how"
    return "what came back was no answer"


def _why_ended(ended: Ended | None, limits: Limits) -> RenderingEnded:
    match -ended.code if ended else 0:
        case signal.SIGPROF:
            return RenderingEnded(
                f"it took more than {limits.computing:g} s of computing, and was ended"
            )
        case signal.SIGALRM:
            return RenderingEnded(f"it took longer than {limits.waiting:g} s, and was ended")
        case number if 0 < number < signal.NSIG:
            return WorkerLost(f"its process was ended by signal {number}{_called(number)}")
        case _:
            return WorkerLost("its process went away")


def _called(number: int) -> str:
    name = signal.strsignal(number)
    return f" ({name})" if name else ""
