"""The templates as their files are: a worker reads them again soon after an edit."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from relay.files import Stamp, stamp_of
from relay.languages import speak
from relay.rendering.templates import Templates
from relay.transports.json_post import OVERRIDES

BETWEEN_LOOKS = 1.0
"""Seconds between two looks."""
SETTLED = 0.5
"""Seconds after which a file counts as written."""
TEMPLATES = "*/*.*"
"""All that may be a template's, and the catalogues."""

_File = tuple[str, Stamp]


class _Edits:
    """What was seen of the files, and what is seen now."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._seen = self._look()

    def begun(self) -> set[_File] | None:
        """What is there now, if it is other than was seen, and if nobody seems to be writing still."""
        now = self._look()
        if now == self._seen or any(0 < age < SETTLED for age in _ages(now)):
            return None
        return now

    def seen(self, files: set[_File]) -> None:
        """Take note that these files were read."""
        self._seen = files

    def _look(self) -> set[_File]:
        found = set()
        for path in (path for folder in self._folders for path in folder.glob(TEMPLATES)):
            with contextlib.suppress(OSError):  # gone between two looks
                found.add((str(path), stamp_of(path)))
        return found


def _ages(files: set[_File]) -> Iterator[float]:
    """Seconds since the last change of each, whatever time of modification it was given."""
    now = time.time()
    return (now - changed / 1e9 for _, (*_, changed) in files)


class EditedTemplates:
    """The templates as their files are, read again soon after an edit: all workers write the same words."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._edits = _Edits(folders)
        self._looked = time.monotonic()
        self._templates = read_templates(folders)

    def templates(self) -> Templates:
        if time.monotonic() - self._looked > BETWEEN_LOOKS:
            self._looked = time.monotonic()
            if (edited := self._edits.begun()) is not None:
                # Another folder in the old one's place may not be read here; the next worker may (`reach`).
                with contextlib.suppress(OSError):
                    self._templates = read_templates(self._folders)
                    self._edits.seen(edited)
        return self._templates


def read_templates(folders: tuple[Path, ...]) -> Templates:
    """The templates of these folders, whose languages the built-in wording speaks, too."""
    read = Templates(*folders, finish=OVERRIDES)
    speak(read.languages)
    return read
