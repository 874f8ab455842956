"""Formats log records as text or JSON lines without secrets, and writes them to stderr without blocking."""

import contextlib
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from functools import lru_cache
from typing import IO

from relay.redaction import Redactor
from relay.settings.parsers import LogFormat

MOST_AT_ONCE = select.PIPE_BUF
"""The most bytes that are written at once: a pipe with any room accepts this many."""
MOST_KEPT = 4 * 2**20
"""The most bytes of lines kept for a slow reader; further lines are dropped and counted."""
LONGEST_END = 1.0
"""How many seconds the end of the process waits for a slow reader."""


class PatientHandler(logging.Handler):
    """Writes log lines without blocking, even to a full pipe or a terminal stopped by Ctrl-S.

    Lines are written directly while the stream accepts them, and else by a separate thread, in
    order.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        """`stream` is None if the process has none; log lines are then dropped."""
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
        """Write one record, or keep it for the thread. Called with the handler's lock held."""
        try:
            line = f"{self.format(record)}\n"
            if self._fd is not None:
                self._take(line.encode("utf-8", "backslashreplace"), self._fd)
            elif self._stream is not None:
                self._stream.write(line)
                self._stream.flush()
        except OSError:
            pass  # a full disk, or a reader that has gone: nobody can be told
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)

    def close(self) -> None:
        """Stop writing, after a short wait for kept lines to be read."""
        self._is_written.wait(LONGEST_END)
        with self.lock or contextlib.nullcontext():
            fd, self._fd, self._stream = self._fd, None, None
            if fd is not None and not self._kept:  # else the thread is still writing to it
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
        room = _room(fd)  # two threads must not share a poll object
        while self._has_kept.wait():
            room.poll()
            line = self._kept[0]
            try:
                written = os.write(fd, line[:MOST_AT_ONCE])
            except BlockingIOError:
                select.poll().poll(100)  # unlike sleep, it does not fail if the clock jumps
                continue
            except OSError:
                written = len(line)
            with self.lock or contextlib.nullcontext():
                self._note(line, written, fd)

    def _note(self, line: bytes, written: int, fd: int) -> None:
        """Record that `written` bytes of the first kept line were written."""
        self._kept_bytes -= written
        if written < len(line):
            self._kept[0] = line[written:]
            return
        self._kept.popleft()
        if self._kept:
            return
        if self._left_out:
            message = f"{self._left_out} lines are left out here: nobody read them"
            self._left_out = 0
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, message, (), None)
            self._keep(f"{self.format(record)}\n".encode(), fd)
            return
        self._has_kept.clear()
        self._is_written.set()


def _room(fd: int | None) -> "select.poll":
    """Return a poll object that reports when the file descriptor accepts a write."""
    asking = select.poll()
    if fd is not None:
        asking.register(fd, select.POLLOUT)
    return asking


def _descriptor(stream: IO[str] | None) -> int | None:
    """Return a duplicate of the stream's file descriptor; None for a stream without one.

    Writing to it avoids the stream's own lock, which a blocked thread would hold at exit. A
    duplicate stays valid after the stream is closed, when its number may be reused.
    """
    try:
        return None if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None  # the stream is in memory


# Characters that would end a line or control a terminal.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class _LineFormatter(logging.Formatter):
    """Formats records as `2026-11-22T09:30:00Z INFO relay.delivery.lane ...`; a traceback follows, indented."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        message = self._redact(_message(record))
        lines = [f"{_timestamp(record)} {record.levelname} {record.name} {message}"]
        if record.exc_info:
            traceback = self._redact(self.formatException(record.exc_info))
            lines += [f"    {line}" for line in traceback.split("\n")]
        return "\n".join(map(_printable, lines))


class _Json(_LineFormatter):
    """Formats each record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(_message(record)),
            **self._fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(entry)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the record's extra fields, given as `extra={"fields": {...}}`: numbers and short texts."""
        extra: dict[str, object] = getattr(record, "fields", {})
        return {
            name: self._redact(value) if isinstance(value, str) else value
            for name, value in extra.items()
        }


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself would print the arguments, secrets and all
        return f"{record.msg} {record.args!r}"


def _printable(line: str) -> str:
    return line if line.isprintable() else _CONTROLS.sub(_escape, line)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def _timestamp(record: logging.LogRecord) -> str:
    return f"{_to_the_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=4)
def _to_the_second(since_1970: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


def set_up(log_format: LogFormat, redact: Redactor, stream: IO[str] | None = None) -> None:
    """Write the records of all loggers in this process through one handler, to `stream` or stderr."""
    handler = PatientHandler(stream or sys.stderr)
    handler.setFormatter(_Json(redact) if log_format is LogFormat.JSON else _LineFormatter(redact))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, PatientHandler):
            old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    _turn_off_unused_fields()
    # At INFO and DEBUG these loggers print URLs with secrets, and visitors' words.
    for chatty in ("slack_sdk", "aiohttp", "httpx", "aiosmtplib", "uvicorn", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _turn_off_unused_fields() -> None:
    """Turn off the parts of a record that are not shown; finding the caller and the thread doubles its cost.

    See "Optimization" in the logging documentation.
    """
    logging._srcfile = None  # noqa: SLF001 - the documented way
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
