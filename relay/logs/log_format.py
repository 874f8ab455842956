"""Log records as text or JSON lines, one line each, without secrets."""

import json
import logging
import re
import sys
import time
from functools import lru_cache
from typing import IO

from relay.logs.log_handler import PatientHandler
from relay.redaction import Redactor
from relay.settings.parsers import LogFormat

# What would end a line, or make a terminal do something.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class _OneLine(logging.Formatter):
    """`2026-11-22T09:30:00Z INFO relay.delivery.dispatcher delivery 1 ...`; a traceback follows indented."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        message = self._redact(_message(record))
        lines = [f"{_when(record)} {record.levelname} {record.name} {message}"]
        if record.exc_info:
            traceback = self._redact(self.formatException(record.exc_info))
            lines += [f"    {line}" for line in traceback.split("\n")]
        return "\n".join(map(_printable, lines))


class _Json(_OneLine):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(_message(record)),
            **self._fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(entry)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        """What a record says besides its message: given as `extra={"fields": {...}}`, numbers and short texts."""
        given: dict[str, object] = getattr(record, "fields", {})
        return {
            name: self._redact(value) if isinstance(value, str) else value
            for name, value in given.items()
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


def _when(record: logging.LogRecord) -> str:
    return f"{_to_the_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=4)
def _to_the_second(since_1970: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


def set_up(log_format: LogFormat, redact: Redactor, stream: IO[str] | None = None) -> None:
    """Every logger of the process writes through one handler, on stderr unless told otherwise."""
    handler = PatientHandler(stream or sys.stderr)
    handler.setFormatter(_Json(redact) if log_format is LogFormat.JSON else _OneLine(redact))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, PatientHandler):
            old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    _leave_out_what_is_not_shown()
    # At INFO and DEBUG these print addresses with their secrets, and visitors' words.
    for chatty in (
        "slack_sdk",
        "aiohttp",
        "httpx",
        "aiosmtplib",
        "uvicorn",
        "alembic",
        "asyncio",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _leave_out_what_is_not_shown() -> None:
    """Half the cost of a record is finding out who called, and in which thread ("Optimization" in logging's docs)."""
    logging._srcfile = None  # noqa: SLF001 - the documented way
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
