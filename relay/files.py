"""Reads files safely, writes private files, and copies the example files that come with the relay.

Private files hold secrets or visitors' data: only the relay's own user may read them.
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
"""Identifies a version of a file: device, inode, size, and times of the last change of content and
of inode in nanoseconds.
"""


def read_file(path: Path, most: int | None = None) -> bytes:
    """Return the file's content, or its first `most` + 1 bytes, so that the caller can see if it is too large.

    Links are followed. Raises OSError, also for anything but a regular file: reading a pipe may
    block for ever.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read() if most is None else file.read(most + 1)
    finally:
        os.close(descriptor)


def leads_out_of(folder: Path, path: Path) -> bool:
    """Whether a path below the folder is a link to a place outside it."""
    # Not Path.resolve: before Python 3.13 it raises RuntimeError for circular links.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def line_of(error: UnicodeDecodeError) -> int:
    """Return the line number, from 1, of the first byte that could not be decoded."""
    return error.object.count(b"\n", 0, error.start) + 1


def stamp_of(path: Path) -> Stamp:
    """Return a value that changes with every edit of the file, even if its size and modification time stay the same.

    Raises OSError.
    """
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


log = logging.getLogger(__name__)

OURS_ONLY = 0o600
"""The mode of private files, whatever the umask is: only the owner may read and write."""


def create_private(path: Path) -> IO[bytes]:
    """Create a private file and open it for writing. Raises FileExistsError if it exists, and OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OURS_ONLY), "wb")


def open_private(path: Path) -> IO[str]:
    """Open a private file for reading and appending; create it if it is missing.

    Others lose their access to an existing file. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, OURS_ONLY)
    # The file belongs to another user, in a shared folder.
    with contextlib.suppress(PermissionError):
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, OURS_ONLY)
    return os.fdopen(descriptor, "a+", encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Replace a private file's content atomically; it is on disk when this returns.

    A link stays a link. A file keeps its owner and group. If the owner is another user, its group
    may still read it, so that root can replace a file that the relay reads. Raises OSError.
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


def sync(path: Path) -> None:
    """Put a file's content, or a folder's list of names, on the disk before returning. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def warn_of_readers(path: Path) -> None:
    """Log a warning if every user of this computer can read the file. Access for its group is allowed."""
    if path.exists() and path.stat().st_mode & 0o007:
        log.warning(
            "%s can be read by every user of this computer; chmod 600 keeps it to yours", path
        )


def make_private_folder(path: Path) -> None:
    """Make a folder that only this user can read, and its parents; an existing one stays unchanged.

    Raises OSError.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return the path of an example file that comes with the relay, such as `rules.example.yaml` or `templates`.

    A wheel contains these files in its package; in a checkout they are beside it. Raises
    FileNotFoundError if the installation lacks the file.
    """
    for folder in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the relay ({_PACKAGE})")


def copy_rules(to: Path) -> bool:
    """Copy the example rules to a path; return False if the path exists. Raises OSError."""
    return _copy("rules.example.yaml", to)


def copy_cases(to: Path) -> bool:
    """Copy the test cases of the example rules to a path; return False if the path exists. Raises OSError."""
    return _copy("rules.example.test.yaml", to)


def _copy(name: str, to: Path) -> bool:
    if to.exists():
        return False
    shutil.copyfile(shipped(name), to)
    return True


def copy_samples(to: Path) -> bool:
    """Copy the folder of sample chats to a path; return False if the path exists. Raises OSError."""
    if to.exists():
        return False
    with as_file(files("relay.demo") / "samples") as samples:
        shutil.copytree(samples, to)
    return True
