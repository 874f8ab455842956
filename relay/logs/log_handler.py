"""Where log lines go: to stderr, without ever waiting for whoever reads it."""

import contextlib
import logging
import os
import select
import threading
from collections import deque
from typing import IO

MOST_AT_ONCE = select.PIPE_BUF
"""Bytes: where a pipe takes anything at all, it takes so many."""
MOST_KEPT = 4 * 2**20
"""Bytes of lines that wait for a reader who sleeps; what comes then is left out, and counted."""
LONGEST_END = 1.0
"""Seconds for which the end of the process waits for such a reader."""


class PatientHandler(logging.Handler):
    """A full pipe, or a terminal that was stopped by Ctrl-S, would hold up every hook and delivery.

    Lines are written at once where that needs no waiting. Else a thread of its own writes them, in their order.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        """`stream`: None where there is none; then lines go nowhere."""
        super().__init__()
        self._stream = stream
        self._fd = _descriptor(stream)
        self._room = _room(self._fd)
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._left_out = 0
        self._has_kept = threading.Event()
        self._is_written = threading.Event()
        self._is_written.set()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            line = f"{self.format(record)}\n"
            if self._fd is not None:
                self._take(line.encode("utf-8", "backslashreplace"), self._fd)
            elif self._stream is not None:
                self._stream.write(line)
                self._stream.flush()
        except OSError:
            pass  # a full disk, a reader that has gone: there is nobody to tell
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)

    def close(self) -> None:
        """What is kept gets a little time."""
        self._is_written.wait(LONGEST_END)
        with self.lock or contextlib.nullcontext():
            fd, self._fd, self._stream = self._fd, None, None
            if fd is not None and not self._kept:  # else the thread still writes to it
                os.close(fd)
        super().close()

    def _take(self, line: bytes, fd: int) -> None:
        if not self._kept and len(line) <= MOST_AT_ONCE and self._room.poll(0):
            with contextlib.suppress(BlockingIOError):
                line = line[os.write(fd, line) :]
            if not line:
                return
        self._keep(line, fd)

    def _keep(self, line: bytes, fd: int) -> None:
        if self._kept_bytes + len(line) > MOST_KEPT:
            self._left_out += 1
            return
        self._kept.append(line)
        self._kept_bytes += len(line)
        self._is_written.clear()
        self._has_kept.set()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._write_kept, args=[fd], name="log", daemon=True
            )
            self._thread.start()

    def _write_kept(self, fd: int) -> None:
        room = _room(fd)  # two threads may not ask the same one at once
        while self._has_kept.wait():
            room.poll()
            line = self._kept[0]
            try:
                written = os.write(fd, line[:MOST_AT_ONCE])
            except BlockingIOError:
                select.poll().poll(100)  # unlike sleep it does not fail where the clock jumps
                continue
            except OSError:
                written = len(line)
            with self.lock or contextlib.nullcontext():
                self._note(line, written, fd)

    def _note(self, line: bytes, written: int, fd: int) -> None:
        """So much of the first line has been written."""
        self._kept_bytes -= written
        if written < len(line):
            self._kept[0] = line[written:]
            return
        self._kept.popleft()
        if self._kept:
            return
        if self._left_out:
            said = f"{self._left_out} lines are left out here: nobody read them"
            self._left_out = 0
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, said, (), None)
            self._keep(f"{self.format(record)}\n".encode(), fd)
            return
        self._has_kept.clear()
        self._is_written.set()


def _room(fd: int | None) -> "select.poll":
    """Tells whether something can be written at once."""
    asking = select.poll()
    if fd is not None:
        asking.register(fd, select.POLLOUT)
    return asking


def _descriptor(stream: IO[str] | None) -> int | None:
    """Written to directly: a thread that stands in a stream's own lock could not be left at the end.

    Our own copy of its number: once the stream is closed, that belongs to whatever is opened next.
    """
    try:
        return None if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None  # it writes into memory
