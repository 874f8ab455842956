"""Runs heavy work in a process of its own, so that hooks are not held up: one function, its reports, and its result.

The process has a lower priority and limits of memory and time. It ends with the process that started it, however that
ends.
"""

import asyncio
import contextlib
import importlib
import os
import pickle
import resource
import sys
import threading
import time
import traceback
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import msgspec

from relay.outbox.delivery_types import StorageRefused, StorageUnavailable
from relay.rendering.isolation.foreman_process import clean_environment
from relay.rules.reading.problem import RulesError
from relay.services import unwatched

T = TypeVar("T")
MEMORY = 1024 * 1024 * 1024
"""Limit of address space, in bytes."""
COMPUTING = 900
"""Limit of processor time, in seconds."""
NICE = 10
IDLE = 300.0
"""Seconds for which a spare process waits: it takes about 80 MB."""
BETWEEN_REPORTS = 0.2
"""Seconds between two reports, at least."""
LONGEST_LINE = 16 * 1024 * 1024
"""Limit of one report, in bytes."""
_OF_DRIVERS = ("HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that database drivers read, beside those that begin with PG."""
_PROGRESS, _REPORT, _RESULT, _FAILED = b"p", b"r", b"=", b"!"


class ChildFailed(Exception):
    """Raised where the work failed; the message says why, for users."""


class Reporter:
    """Sends reports from a child process to its parent."""

    def __init__(self, out: BinaryIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._due = 0.0

    def progress(self, done: int, total: int) -> None:
        """Report how many steps are done, and of how many."""
        self._write(_PROGRESS, (done, total))

    def report(self, value: object) -> None:
        """Report an intermediate result, of the same type as the result."""
        self._write(_REPORT, value)

    def report_when_due(self, make: Callable[[], object]) -> None:
        """Report the result of `make`: several times a second at most, and using at most a tenth of the time."""
        began = self._clock()
        if began >= self._due:
            self.report(make())
            ended = self._clock()
            self._due = ended + max(BETWEEN_REPORTS, 9 * (ended - began))

    def end(self, kind: bytes, value: object) -> None:
        self._write(kind, value)

    def _write(self, kind: bytes, value: object) -> None:
        self._out.write(kind + msgspec.json.encode(value) + b"\n")
        self._out.flush()


async def in_child(
    work: Callable[..., T],
    *arguments: object,
    answers: type[T],
    report: Callable[[T], None],
    progress: Callable[[int, int], None] = unwatched,
    spare: "SpareChild | None" = None,
) -> T:
    """The result of `work(*arguments, reporter)`, called in a process of its own. `work` is a function of a module.

    `reporter` is a Reporter, whose reports are passed to `report` and `progress`. `answers` is the type of reports and
    result, which are sent as JSON. `spare`: a prepared process to use, if there is one.
    If the calling task is cancelled, the process is killed. Raises ChildFailed.
    """
    process = await (spare.take() if spare else _start())
    try:
        if process.stdin is None or process.stdout is None:
            raise ChildFailed("there is no line to the process")
        # The pipe stays open: when it closes, the process ends itself.
        process.stdin.write(pickle.dumps((work, arguments)))
        values = msgspec.json.Decoder(answers)
        async for line in process.stdout:
            kind, value = line[:1], line[1:]
            if kind == _PROGRESS:
                progress(*msgspec.json.decode(value, type=tuple[int, int]))
            elif kind == _REPORT:
                report(values.decode(value))
            elif kind == _RESULT:
                return values.decode(value)
            else:
                raise ChildFailed(msgspec.json.decode(value, type=str))
        raise ChildFailed("the work took too long or too much memory, and was ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


async def _start(*modules: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, *modules),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(*_OF_DRIVERS, *(name for name in os.environ if name[:2] == "PG")),
        start_new_session=True,  # so that Ctrl-C in a terminal reaches only the relay
        limit=LONGEST_LINE,
    )


class SpareChild:
    """A child process that has imported the modules of its work and waits, so that the work begins at once.

    It is there from `prepare` until it is taken, or for `idle` seconds without another `prepare`.
    """

    def __init__(self, *modules: str, idle: float = IDLE) -> None:
        self._modules, self._idle = modules, idle
        self._starting: asyncio.Task[Process] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    def prepare(self) -> None:
        """Start the process, unless there is one, because its work is likely to be needed soon."""
        loop = asyncio.get_running_loop()
        if self._starting is None:
            self._starting = loop.create_task(_start(*self._modules))
        if self._end:
            self._end.cancel()
        self._end = loop.call_later(self._idle, self._let_go)

    async def take(self) -> Process:
        """The prepared process, or a new one where none is there."""
        starting, self._starting = self._starting, None
        if starting:
            with contextlib.suppress(OSError):
                try:
                    process = await asyncio.shield(starting)
                except asyncio.CancelledError:
                    self._kill(starting)  # it may have started already
                    raise
                if process.returncode is None:
                    return process
        return await _start(*self._modules)

    async def close(self) -> None:
        """End the process, and wait until it has ended."""
        if self._end:
            self._end.cancel()
        self._let_go()
        await asyncio.gather(*self._endings)

    def _let_go(self) -> None:
        starting, self._starting = self._starting, None
        if starting:
            self._kill(starting)

    def _kill(self, starting: "asyncio.Task[Process]") -> None:
        ending = asyncio.get_running_loop().create_task(_ended(starting))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


async def _ended(starting: "asyncio.Task[Process]") -> None:
    with contextlib.suppress(OSError):
        process = await starting
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# -- in the child --------------------------------------------------------------------------------------------


def main() -> None:
    """The child process: read the work from standard input, do it, and write its reports and result to standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # anything printed goes to standard error
    os.nice(NICE)
    for which, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, COMPUTING)):
        # macOS knows RLIMIT_AS but refuses to set it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))
    for module in sys.argv[1:]:
        importlib.import_module(module)
    try:
        work, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the process that began this one
    except EOFError:
        return  # nobody had any work
    threading.Thread(target=_end_with_line, daemon=True).start()
    reporter = Reporter(out)
    try:
        reporter.end(*_outcome(work, arguments, reporter))
    except BrokenPipeError:
        os._exit(1)


def _outcome(
    work: Callable[..., object], arguments: tuple[Any, ...], reporter: Reporter
) -> tuple[bytes, object]:
    try:
        return _RESULT, work(*arguments, reporter)
    except (StorageRefused, StorageUnavailable) as error:
        return _FAILED, str(error)
    except RulesError as error:
        return _FAILED, "\n".join(map(str, error.problems))
    except MemoryError:
        return _FAILED, "the work took too much memory, and was ended"
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - its message may contain a visitor's words: only the traceback's places are shown
        traceback.print_tb(error.__traceback__)
        return _FAILED, f"the relay failed ({type(error).__name__}); its log says where"


def _end_with_line() -> None:
    """End the process when the pipe from its parent closes."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
