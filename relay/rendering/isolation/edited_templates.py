"""Keeps a worker's templates up to date: it reads them again soon after an edit."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from relay.files import Stamp, stamp_of
from relay.languages import speak
from relay.rendering.templates import Templates
from relay.transports.json_post import OVERRIDES

BETWEEN_LOOKS = 1.0
"""Seconds between two checks for edits."""
SETTLED = 0.5
"""Seconds without change after which a file counts as complete."""
TEMPLATES = "*/*.*"
"""The pattern of all template files and catalogues."""

_File = tuple[str, Stamp]


class _Edits:
    """Detects changes of the template files since they were last read."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._seen = self._look()

    def begun(self) -> set[_File] | None:
        """Return the current files if they differ from those last read and none is still being written; else None."""
        now = self._look()
        if now == self._seen or any(0 < age < SETTLED for age in _ages(now)):
            return None
        return now

    def seen(self, files: set[_File]) -> None:
        """Remember the files as read, so that `begun` only reports later edits."""
        self._seen = files

    def _look(self) -> set[_File]:
        found = set()
        for path in (path for folder in self._folders for path in folder.glob(TEMPLATES)):
            with contextlib.suppress(OSError):  # deleted while looking
                found.add((str(path), stamp_of(path)))
        return found


def _ages(files: set[_File]) -> Iterator[float]:
    """Yield the seconds since each file's last change; a modification time that was set by hand has no effect."""
    now = time.time()
    return (now - changed / 1e9 for _, (*_, changed) in files)


class EditedTemplates:
    """Templates that are read again soon after an edit, so that all workers use the current files."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._edits = _Edits(folders)
        self._looked = time.monotonic()
        self._templates = read_templates(folders)

    def templates(self) -> Templates:
        """Return the templates, after reading them again if their files have changed."""
        if time.monotonic() - self._looked > BETWEEN_LOOKS:
            self._looked = time.monotonic()
            if (edited := self._edits.begun()) is not None:
                # A folder that replaced the old one can't be read by this worker, only by a new one.
                with contextlib.suppress(OSError):
                    self._templates = read_templates(self._folders)
                    self._edits.seen(edited)
        return self._templates


def read_templates(folders: tuple[Path, ...]) -> Templates:
    """Return the templates of these folders, and use their languages in this process."""
    read = Templates(*folders, finish=OVERRIDES)
    speak(read.languages)
    return read
