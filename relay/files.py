"""Files that people edit: how one is read, and how an edit is noticed. One reader for rules, templates and catalogues."""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of content and of inode, in nanoseconds."""


def read_file(path: Path, most: int | None = None) -> bytes:
    """The file's bytes, or its first `most` + 1, by which a caller sees that it is too large.

    Links are followed. Raises OSError, also for what is no regular file: to read a pipe may wait for ever.
    """
    # Without O_NONBLOCK the opening itself would wait for a pipe's writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((words for is_so, words in _KINDS if is_so(mode)), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read() if most is None else file.read(most + 1)
    finally:
        os.close(descriptor)


def leads_out_of(folder: Path, path: Path) -> bool:
    """Whether a path below the folder is a link to somewhere else."""
    # Not Path.resolve: before Python 3.13 it raises RuntimeError for links that lead round in a circle.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def line_of(error: UnicodeDecodeError) -> int:
    """The line of the first byte that could not be decoded, from 1."""
    return error.object.count(b"\n", 0, error.start) + 1


def stamp_of(path: Path) -> Stamp:
    """It changes with every edit: who sets size and modification time back still changes the inode. Raises OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
