"""Whether the files of template folders were edited: rendering and the relay each look for themselves."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from relay.files import Stamp, stamp_of

BETWEEN_LOOKS = 1.0
"""Seconds between two looks."""
SETTLED = 0.5
"""Seconds after which a file counts as written."""
TEMPLATES = "*/*.*"
"""All that may be a template's, and the catalogues."""

_File = tuple[str, Stamp]


class Edits:
    """What was seen of the files, and what is seen now."""

    def __init__(self, folders: tuple[Path, ...], pattern: str = TEMPLATES) -> None:
        self._folders = folders
        self._pattern = pattern
        self._seen = self._look()

    def begun(self) -> set[_File] | None:
        """What is there now, if it is other than was seen, and if nobody seems to be writing still."""
        now = self._look()
        if now == self._seen or any(0 < age < SETTLED for age in _ages(now)):
            return None
        return now

    def seen(self, files: set[_File]) -> None:
        """They were taken up."""
        self._seen = files

    def _look(self) -> set[_File]:
        found = set()
        for path in (path for folder in self._folders for path in folder.glob(self._pattern)):
            with contextlib.suppress(OSError):  # gone between two looks
                found.add((str(path), stamp_of(path)))
        return found


def _ages(files: set[_File]) -> Iterator[float]:
    """Seconds since the last change of each, whatever time of modification it was given."""
    now = time.time()
    return (now - changed / 1e9 for _, (*_, changed) in files)
