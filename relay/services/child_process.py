"""Heavy work in a process of its own, so that hooks are not held up: one function, what it reports, what it returns.

The process has a lower priority and bounds on memory and time. It ends with the process that began it, however that ends.
"""

import asyncio
import contextlib
import os
import pickle
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import msgspec

from relay.outbox.rows import StorageRefused, StorageUnavailable
from relay.rendering.isolation.foreman_process import clean_environment
from relay.rules.reading.problem import RulesError
from relay.services import unwatched

T = TypeVar("T")
MEMORY = 1024 * 1024 * 1024
"""Bytes of address space."""
COMPUTING = 900
"""Seconds of processor time."""
NICE = 10
BETWEEN_REPORTS = 0.2
"""Seconds."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one report."""
_OF_DRIVERS = ("HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that drivers of databases read, beside those that begin with PG."""
_PROGRESS, _REPORT, _RESULT, _FAILED = b"p", b"r", b"=", b"!"


class ChildFailed(Exception):
    """The work could not be done; the text says why, in words for people."""


class Telling:
    """How work in a child process says how far it is."""

    def __init__(self, out: BinaryIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._due = 0.0

    def progress(self, done: int, total: int) -> None:
        """Tell the parent process how many are done, and of how many."""
        self._write(_PROGRESS, (done, total))

    def report(self, value: object) -> None:
        """Tell the parent process what is known by now: a value of the type of the result."""
        self._write(_REPORT, value)

    def report_when_due(self, make: Callable[[], object]) -> None:
        """Report what `make` returns: several times a second, but no more than a tenth of the time is spent on it."""
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
) -> T:
    """What `work(*arguments, telling)` returns, called in a process of its own. `work` is a function of a module.

    `telling` is a Telling; what it reports comes to `report` and `progress`. `answers` is the type of what `work`
    reports and returns; it goes through JSON. If the calling task is cancelled the process is killed. Raises ChildFailed.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(*_OF_DRIVERS, *(name for name in os.environ if name[:2] == "PG")),
        start_new_session=True,  # not of the terminal: Ctrl-C is the relay's to heed
        limit=LONGEST_LINE,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise ChildFailed("there is no line to the process")
        # The line stays open: by its end the process knows that nobody waits any more.
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


# -- in the child --------------------------------------------------------------------------------------------


def main() -> None:
    """The child process: read the work from the standard input, do it, and write what it reports and returns to the output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed by mistake is no report
    os.nice(NICE)
    for which, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, COMPUTING)):
        # macOS knows RLIMIT_AS but refuses to set it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))
    work, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the process that began this one
    threading.Thread(target=_end_with_line, daemon=True).start()
    telling = Telling(out)
    try:
        telling.end(*_done(work, arguments, telling))
    except BrokenPipeError:
        os._exit(1)


def _done(
    work: Callable[..., object], arguments: tuple[Any, ...], telling: Telling
) -> tuple[bytes, object]:
    try:
        return _RESULT, work(*arguments, telling)
    except (StorageRefused, StorageUnavailable) as error:
        return _FAILED, str(error)
    except RulesError as error:
        return _FAILED, "\n".join(map(str, error.problems))
    except MemoryError:
        return _FAILED, "the work took too much memory, and was ended"
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - its words may be a visitor's: only where it was raised is shown
        traceback.print_tb(error.__traceback__)
        return _FAILED, f"the relay failed ({type(error).__name__}); its log says where"


def _end_with_line() -> None:
    """End the process when nobody waits for it any more."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
