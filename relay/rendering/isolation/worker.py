"""The foreman and worker processes that run templates: `python -m relay.rendering.isolation.worker FOLDER...`

The foreman's standard input is its connection to the relay. Each message there carries a socket for
which the foreman forks a worker. A worker handles one request at a time. When the relay is gone,
the foreman ends its workers and itself.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from relay.chat import Chat
from relay.files import Stamp, stamp_of
from relay.languages import speak
from relay.rendering.digest_wording import built_in_digest, digest_notification
from relay.rendering.isolation.confinement import confine, limit_work, most_memory
from relay.rendering.isolation.protocol import (
    BUNDLE,
    FEW,
    Answer,
    Check,
    Checked,
    Ended,
    Failed,
    Frames,
    Render,
    RenderDigest,
    Rendered,
    Request,
    framed,
    in_bundles,
)
from relay.rendering.template_checks import problems_in
from relay.rendering.templates import (
    BrokenOverride,
    BrokenTemplate,
    Draft,
    Templates,
    built_in_notification,
)
from relay.smartsupp import read_chat
from relay.transports.override import OVERRIDES

KEPT = 1024 * 1024
"""The most bytes of hooks whose chats are kept for further recipients; the least recently used are dropped."""
DRAFTED = 2_000
"""The bytes that are counted for the drafts of each hook."""
BETWEEN_LOOKS = 1.0
"""Seconds between two checks whether templates were edited."""
SETTLED = 0.5
"""Seconds without change after which a template's file counts as complete."""
TEMPLATES = "*/*.*"
"""The pattern of all template files and catalogues."""
_request = msgspec.msgpack.Decoder(Request)


def work(line: socket.socket, folders: tuple[Path, ...]) -> None:
    """Answer requests until the relay closes the connection."""
    worker = _Worker(folders)
    frames = Frames()
    while data := line.recv(65536):
        queue = frames.feed(data)
        wait = BUNDLE if len(queue) > FEW else 0
        for answers in in_bundles((worker.answer(_request.decode(each)) for each in queue), wait):
            line.sendall(answers)


class EditedTemplates:
    """Templates that are read again soon after an edit, so that all workers use the current files."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._files = _files_in(folders)
        self._looked = time.monotonic()
        self._templates = read_templates(folders)

    def templates(self) -> Templates:
        """Return the templates, after reading them again if their files have changed."""
        if time.monotonic() - self._looked > BETWEEN_LOOKS:
            self._looked = time.monotonic()
            files = _files_in(self._folders)
            if files != self._files and not _is_being_written(files):
                # A folder that replaced the old one can't be read by this worker, only by a new one.
                with contextlib.suppress(OSError):
                    self._templates = read_templates(self._folders)
                    self._files = files
        return self._templates


def _files_in(folders: tuple[Path, ...]) -> set[tuple[str, Stamp]]:
    files = set()
    for path in (path for folder in folders for path in folder.glob(TEMPLATES)):
        with contextlib.suppress(OSError):  # deleted while looking
            files.add((str(path), stamp_of(path)))
    return files


def _is_being_written(files: set[tuple[str, Stamp]]) -> bool:
    """Whether a file was changed a moment ago; a modification time in the future, set by hand, has no effect."""
    now = time.time()
    return any(0 < now - changed / 1e9 < SETTLED for _, (*_, changed) in files)


def read_templates(folders: tuple[Path, ...]) -> Templates:
    """Return the templates of the folders, and use their languages in this process."""
    read = Templates(*folders, finish=OVERRIDES)
    speak(read.languages)
    return read


@dataclass(frozen=True, slots=True)
class _Known:
    """A chat and its drafts, kept because most chats are rendered for several recipients."""

    chat: Chat
    drafts: dict[tuple[str, ...], tuple[Templates, Draft]] = field(default_factory=dict)


class _Worker:
    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._edited = EditedTemplates(folders)
        self._front = "", self._edited.templates()
        """The templates of the latest `front`, which is used a few times and never edited."""
        self._known: OrderedDict[tuple[bytes, datetime | None], _Known] = OrderedDict()
        """Recent chats by the hook's bytes; a hook's ID may be reused after the hook was erased."""
        self._size = self._memory = 0

    def answer(self, request: Request) -> bytes:
        """Return the framed answer to a request. Never raises; the kernel ends the process if a limit is exceeded."""
        limit_work(request.limits.computing, request.limits.waiting)
        try:
            return framed(self._answer(request))
        except Exception:  # noqa: BLE001 - the relay gets any error as an answer
            return framed(Failed(traceback=traceback.format_exc(limit=-10)))
        finally:
            limit_work(0, 0)

    def _answer(self, request: Request) -> Answer:
        templates = self._templates(request)
        if isinstance(request, Check):
            os.nice(10 if request.in_no_hurry else 0)
            problems = problems_in(templates, request.template, request.transport, request.forms)
            return Checked(problems=problems)
        if isinstance(request, RenderDigest):
            return self._digest(templates, request)
        return self._rendered(templates, request)

    def _templates(self, request: Request) -> Templates:
        front = request.front
        if not front:
            return self._edited.templates()
        if self._front[0] != front:
            first, *others = self._folders
            self._front = front, read_templates((first / front, *others))
        return self._front[1]

    def _digest(self, templates: Templates, request: RenderDigest) -> Rendered:
        zone, trouble = ZoneInfo(request.zone), ""
        try:
            notification = digest_notification(
                templates,
                request.digest,
                language=request.language,
                zone=zone,
                public_url=request.public_url,
                bodies=request.bodies,
            )
        except BrokenTemplate as problem:
            trouble = str(problem)
            notification = built_in_digest(
                request.digest,
                language=request.language,
                zone=zone,
                reason=problem.reason,
                template=request.template,
            )
        return Rendered(notification=notification, trouble=trouble, memory=most_memory())

    def _rendered(self, templates: Templates, request: Render) -> Rendered:
        trouble, known = "", self._read(request)
        try:
            draft = _draft(templates, known, request)
            notification = draft.for_transport(
                request.transport, bodies=request.bodies, form=request.form
            )
        except BrokenOverride as problem:
            trouble, notification = str(problem), problem.notification
        except BrokenTemplate as problem:
            trouble = str(problem)
            notification = built_in_notification(
                known.chat,
                rule=request.rule,
                zone=ZoneInfo(request.zone),
                reason=problem.reason,
                template=request.template,
                language=request.language,
                reply_to=request.reply_to,
            )
        return Rendered(notification=notification, trouble=trouble, memory=self._memory)

    def _read(self, request: Render) -> _Known:
        hook = (request.body, request.arrived)
        known = self._known.get(hook)
        if known is None:
            known = self._known[hook] = _Known(read_chat(*hook))
            self._size += len(request.body) + DRAFTED
            while self._size > KEPT and len(self._known) > 1:
                (forgotten, _), _ = self._known.popitem(last=False)
                self._size -= len(forgotten) + DRAFTED
            self._memory = most_memory()
        return known


def _draft(templates: Templates, known: _Known, request: Render) -> Draft:
    key = (request.template, request.rule, request.language, request.zone, request.reply_to)
    of, draft = known.drafts.get(key, (None, None))
    if draft is None or of is not templates:
        draft = templates.draft(
            request.template,
            known.chat,
            rule=request.rule,
            language=request.language,
            zone=ZoneInfo(request.zone),
            public_url=request.public_url,
            reply_to=request.reply_to,
        )
        known.drafts[key] = (templates, draft)
    return draft


COULD_NOT_FORK = 71
"""EX_OSERR of sysexits.h, reported as if a worker had ended with it."""


class Foreman:
    """The process that forks workers and reports how each of them ended."""

    def __init__(self, relay: socket.socket, folders: tuple[Path, ...]) -> None:
        self._relay = relay
        self._folders = folders
        self._lines: dict[int, socket.socket] = {}
        """The workers' sockets by process ID, kept to report how each ended."""
        self._ended, self._wake = socket.socketpair()
        self._wake.setblocking(False)  # noqa: FBT003 - socket's own signature
        # A worker's end must interrupt the select below.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def run(self) -> None:
        """Fork workers on request until the relay is gone."""
        while True:
            ready, _, _ = select.select([self._relay, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(4096)
                self._report_ended()
            if self._relay in ready:
                message, lines, _, _ = socket.recv_fds(self._relay, 1, 1)
                if not message:
                    break
                for line in lines:
                    self._fork(socket.socket(fileno=line))
        for worker in self._lines:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)

    def _fork(self, line: socket.socket) -> None:
        try:
            worker = os.fork()
        except OSError:
            _last_word(line, COULD_NOT_FORK)
            return
        if worker:
            self._lines[worker] = line
        else:
            self._become_worker(line)

    def _become_worker(self, line: socket.socket) -> None:
        """Turn this forked process into a worker. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._relay, self._ended, self._wake, *self._lines.values()):
                other.close()
            work(line, self._folders)
            code = 0
        finally:
            os._exit(code)

    def _report_ended(self) -> None:
        while self._lines:
            worker, status = os.waitpid(-1, os.WNOHANG)
            if not worker:
                return
            _last_word(self._lines.pop(worker), os.waitstatus_to_exitcode(status))


def _last_word(line: socket.socket, code: int) -> None:
    with line:
        line.setblocking(False)  # noqa: FBT003 - socket's own signature
        try:
            line.send(framed(Ended(code=code)))
        except OSError:
            return  # the relay has already closed the connection


def main() -> None:
    """Run the foreman, with the template folders as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the relay handles these signals
    sys.dont_write_bytecode = True  # nothing beside templates writes files
    folders = tuple(map(Path, sys.argv[1:]))
    confine(folders)
    # All workers share the objects that exist by now; reference counting must copy few of these pages.
    gc.collect()
    gc.freeze()
    # Each rendering creates more than Python's default of 700 objects.
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
    Foreman(socket.socket(fileno=0), folders).run()


if __name__ == "__main__":
    main()
