"""Files: how one is read, how one is written that only the relay's user may read, and those that come with the relay.

Files that people edit: how one is read, and how an edit is noticed. One reader for rules, templates and catalogues.

Files that only the relay's own user may read: databases, locks, tokens, settings, what visitors wrote.

Files that come with the relay and that users copy or override: the example rules, the templates.
"""

import contextlib
import errno
import logging
import os
import shutil
import stat
from importlib.resources import as_file, files
from pathlib import Path
from typing import IO

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
    """What changes with every edit of a file, even if size and modification time are set back. Raises OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


log = logging.getLogger(__name__)

OURS_ONLY = 0o600
"""Whatever the umask says: a file holds secrets or personal data from its first byte on."""


def create_private(path: Path) -> IO[bytes]:
    """A new file, open for writing. Raises FileExistsError where there is one, and OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OURS_ONLY), "wb")


def open_private(path: Path) -> IO[str]:
    """A file to be read and added to, made where there is none; one that others may read is closed to them.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, OURS_ONLY)
    with contextlib.suppress(PermissionError):  # another user's, in a folder that both share
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, OURS_ONLY)
    return os.fdopen(descriptor, "a+", encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write a private file in place of what was there, whole or not at all; it is on disk when this returns.

    Raises OSError.

    A link stays one. A file keeps its owner and group; that of another user or group can still be read by the group: root may replace what the relay reads.
    """
    path = Path(os.path.realpath(path))
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with create_private(draft) as file:
        with contextlib.suppress(FileNotFoundError):
            before = path.stat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), OURS_ONLY | before.st_mode & 0o040)
        file.write(f"{text}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def warn_of_readers(path: Path) -> None:
    """Where a file was copied or restored carelessly. What a group may do is left to who set it."""
    if path.exists() and path.stat().st_mode & 0o007:
        log.warning(
            "%s can be read by every user of this computer; chmod 600 keeps it to yours", path
        )


def make_private_folder(path: Path) -> None:
    """Make a folder that only this user can read, with its parents; one that is there stays as it is. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of `rules.example.yaml`, its cases, or `templates`.

    In a wheel they are carried inside the package, in a checkout they stand beside it.
    Raises FileNotFoundError where the installation lacks them.
    """
    for folder in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the relay ({_PACKAGE})")


def copy_rules(to: Path) -> bool:
    """Write the example rules; False where something is there already. Raises OSError."""
    return _copy("rules.example.yaml", to)


def copy_cases(to: Path) -> bool:
    """Write the cases that try the example rules; False where something is there already. Raises OSError."""
    return _copy("rules.example.test.yaml", to)


def _copy(name: str, to: Path) -> bool:
    if to.exists():
        return False
    shutil.copyfile(shipped(name), to)
    return True


def copy_samples(to: Path) -> bool:
    """Write a folder of sample chats; False where something is there already. Raises OSError."""
    if to.exists():
        return False
    with as_file(files("relay.demo") / "samples") as samples:
        shutil.copytree(samples, to)
    return True
