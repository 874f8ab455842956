"""The process that runs templates: does what is asked on its line, one thing at a time."""

import contextlib
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from relay.chat import Chat
from relay.languages import speak
from relay.render_process.asking import (
    Answer,
    Asked,
    Check,
    Checked,
    Failed,
    Frames,
    Limits,
    Render,
    Rendered,
    framed,
)
from relay.smartsupp import read_chat
from relay.templates import BrokenOverride, BrokenTemplate, Draft, Templates, built_in_notification
from relay.templating.edits import BETWEEN_LOOKS, Edits
from relay.transports.overrides import OVERRIDES

BUNDLE = 0.005
"""Seconds that an answer may wait for the next ones."""
KEPT = 16
"""How many chats and drafts are kept: those that were asked for last."""
_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024
_asked = msgspec.msgpack.Decoder(Asked)
K = TypeVar("K")
V = TypeVar("V")


def work(line: socket.socket, folders: tuple[Path, ...]) -> None:
    """Until the relay closes the line."""
    worker = _Worker(folders)
    frames = Frames()
    while data := line.recv(65536):
        for answers in _in_bundles(worker.answer(_asked.decode(one)) for one in frames.feed(data)):
            line.sendall(answers)


def _in_bundles(answers: Iterable[bytes]) -> Iterator[bytes]:
    """Several at once where they are made quickly: each bundle wakes the relay up."""
    bundle, begun = [], time.monotonic()
    for answer in answers:
        bundle.append(answer)
        if time.monotonic() - begun > BUNDLE:
            yield b"".join(bundle)
            bundle, begun = [], time.monotonic()
    yield b"".join(bundle)


class _Worker:
    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._edited = _EditedTemplates(folders)
        self._chats: OrderedDict[int, Chat] = OrderedDict()
        self._drafts: OrderedDict[tuple[int | str, ...], tuple[Templates, Draft]] = OrderedDict()

    def answer(self, asked: Asked) -> bytes:
        """Never raises; where the limits are passed, the process ends here."""
        _limit(asked.limits)
        try:
            return framed(self._answer(asked))
        except Exception:  # noqa: BLE001 - the relay is told, whatever it was
            return framed(Failed(traceback=traceback.format_exc(limit=-10)))
        finally:
            _limit(Limits(computing=0, waiting=0))

    def _answer(self, asked: Asked) -> Answer:
        templates = self._edited.templates()
        if isinstance(asked, Check):
            os.nice(10 if asked.in_no_hurry else 0)
            return Checked(problems=templates.check(asked.template))
        return self._rendered(templates, asked)

    def _rendered(self, templates: Templates, asked: Render) -> Rendered:
        trouble = ""
        try:
            draft = self._draft(templates, asked)
            notification = draft.for_transport(asked.transport, bodies=asked.bodies)
        except BrokenOverride as problem:
            trouble, notification = str(problem), problem.notification
        except BrokenTemplate as problem:
            trouble = str(problem)
            notification = built_in_notification(
                self._read(asked),
                rule=asked.rule,
                zone=ZoneInfo(asked.zone),
                reason=problem.what,
                template=asked.template,
                language=asked.language,
            )
        return Rendered(notification=notification, trouble=trouble, memory=_memory())

    def _draft(self, templates: Templates, asked: Render) -> Draft:
        """A chat is mostly owed to several at once, who get the same words."""
        key = (asked.hook, asked.template, asked.rule, asked.language, asked.zone)
        kept, draft = self._drafts.get(key, (None, None))
        if draft is None or kept is not templates:
            draft = templates.draft(
                asked.template,
                self._read(asked),
                rule=asked.rule,
                language=asked.language,
                zone=ZoneInfo(asked.zone),
                public_url=asked.public_url,
            )
            _keep(self._drafts, key, (templates, draft))
        return draft

    def _read(self, asked: Render) -> Chat:
        chat = self._chats.get(asked.hook)
        if chat is None:
            chat = read_chat(asked.body, asked.arrived)
            _keep(self._chats, asked.hook, chat)
        return chat


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    if len(kept) > KEPT:
        kept.popitem(last=False)


class _EditedTemplates:
    """The templates as their files are, read again soon after an edit: all workers write the same words."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._edits = Edits(folders)
        self._looked = time.monotonic()
        self._templates = self._read()

    def templates(self) -> Templates:
        if time.monotonic() - self._looked > BETWEEN_LOOKS:
            self._looked = time.monotonic()
            if (edited := self._edits.begun()) is not None:
                # Another folder in the old one's place may not be read here; the next worker may (`reach`).
                with contextlib.suppress(OSError):
                    self._templates = self._read()
                    self._edits.seen(edited)
        return self._templates

    def _read(self) -> Templates:
        read = Templates(*self._folders, finish=OVERRIDES)
        speak(read.languages)  # the built-in wording, too
        return read


def _limit(limits: Limits) -> None:
    """The kernel ends the process after that: no Python has to get a word in. 0 takes the limit away."""
    signal.setitimer(signal.ITIMER_PROF, limits.computing)
    signal.setitimer(signal.ITIMER_REAL, limits.waiting)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_OF_MEMORY
