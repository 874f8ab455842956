"""The relay's side of the foreman process and of its connection to each worker."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from relay.clock import let_interrupt
from relay.rendering.isolation.protocol import Answer, Ended, Frames, Rendered, Request, framed

_answer = msgspec.msgpack.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class Pending:
    """A request to a worker, and the future that gets its answer."""

    request: Request
    answer: asyncio.Future[Answer]


class WorkerLine(asyncio.Protocol):
    """The relay's connection to a worker, which answers requests in order."""

    def __init__(self) -> None:
        self.unanswered: deque[Pending] = deque()
        self.is_gone = False
        self.ended: Ended | None = None
        """How the worker ended, as reported by the foreman; None before that."""
        self.memory = 0
        """The most bytes of memory that the worker ever used, as it reports."""
        self.resting_since = 0.0
        self.template = ""
        """The template of the worker's latest request."""
        self._frames = Frames()
        self._arrival = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def ask(self, batch: Iterable[Pending]) -> None:
        """Send requests to the worker, which must have no others."""
        self.unanswered.extend(batch)
        self.template = self.unanswered[-1].request.template
        if self._transport:
            self._transport.write(b"".join(framed(pending.request) for pending in self.unanswered))

    async def next_data(self) -> None:
        """Wait until data arrives from the worker, or the worker is gone."""
        if not self.is_gone:
            self._arrival.clear()
            await self._arrival.wait()

    def close(self) -> None:
        self.is_gone = True
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(_answer.decode(frame))
        except ValueError:  # msgspec's errors are also ValueErrors
            self.close()
        self._arrival.set()

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Ended):
            self.ended, self.is_gone = answer, True
        elif not self.unanswered:
            self.close()  # an answer without a request: the worker can't be trusted any more
        else:
            if isinstance(answer, Rendered):
                self.memory = answer.memory
            future = self.unanswered.popleft().answer
            if not future.done():
                future.set_result(answer)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_gone = True
        self._arrival.set()


FOR_THE_END = 2.0
"""Seconds that a foreman gets to end by itself."""

log = logging.getLogger(__name__)
Process = subprocess.Popen[bytes]


class ForemanProcess:
    """The relay's handle of the foreman, the process that forks workers."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._process: Process | None = None
        self._line: socket.socket | None = None
        self._started_with: tuple[object, ...] = ()

    def is_outdated(self) -> bool:
        """Whether a template folder was replaced since the foreman started; it can read only the original one."""
        return self._process is not None and self._started_with != _identities(self._folders)

    def new_line(self) -> socket.socket:
        """Return a connection to a new worker. Raises OSError."""
        if self._line is not None:
            try:
                return _send_line(self._line)
            except OSError:
                log.error("the process that renders templates is gone; starting another one")  # noqa: TRY400
                self.kill()
        return _send_line(self._start())

    def kill(self) -> None:
        """Kill the foreman and all of its workers immediately."""
        if process := self._release():
            _kill(process)

    def end(self) -> "asyncio.Task[None]":
        """Close the connection to the foreman, which then ends its workers and itself.

        Returns a task that waits for the end. Another foreman may be started at once.
        """
        process = self._release()
        ending = asyncio.get_running_loop().create_task(_wait_for_end(process))
        if process:  # a task that is cancelled may not even have begun
            ending.add_done_callback(lambda _: _kill(process))
        return ending

    def _release(self) -> Process | None:
        process, self._process = self._process, None
        if self._line:
            self._line.close()
            self._line = None
        return process

    def _start(self) -> socket.socket:
        self._started_with = _identities(self._folders)
        ours, its = socket.socketpair()
        with its, contextlib.ExitStack() as on_failure:
            on_failure.enter_context(ours)
            ours.setblocking(False)  # noqa: FBT003 - socket's own signature
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "relay.rendering.isolation.worker",
                    *map(str, self._folders),
                ],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                env=clean_environment(),
                start_new_session=True,  # not of the terminal: the relay handles Ctrl-C
            )
            # Least of all the relay, which still has to write the chat to the disk.
            let_interrupt(self._process.pid, others=False)
            on_failure.pop_all()
        self._line = ours
        return ours


def _identities(folders: tuple[Path, ...]) -> tuple[object, ...]:
    """Return values that change if a folder is replaced by another one, but not if it is edited."""
    identities: list[object] = []
    for folder in folders:
        try:
            status = folder.stat()
            identities.append((status.st_dev, status.st_ino))
        except OSError:
            identities.append(None)
    return tuple(identities)


async def _wait_for_end(process: Process | None) -> None:
    if process is None:
        return
    # OSError: `wait` sleeps, which may fail if the clock jumps.
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        await asyncio.to_thread(process.wait, FOR_THE_END)


def _kill(process: Process) -> None:
    # After a foreman ended by itself, idle workers end with their connections, the others by their limits.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _send_line(foreman: socket.socket) -> socket.socket:
    ours, its = socket.socketpair()
    with its:
        try:
            socket.send_fds(foreman, [b"\0"], [its.fileno()])
        except OSError:
            ours.close()
            raise
    return ours


def clean_environment(*more: str) -> dict[str, str]:
    """Return the environment variables that Python needs to start, and those in `more`; no secrets."""
    kept = ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONTZPATH", "LD_LIBRARY_PATH", *more)
    ours = str(Path(__file__).parents[3])
    path = [ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUTF8": "1",
        **{name: os.environ[name] for name in kept if name in os.environ},
    }
