"""Files that the console edits: why one can't be edited, and how its text is replaced without losing anybody's change."""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO

from relay.crash_points import CrashPoint, reach
from relay.files import create_private, read_file


class ReadOnly(StrEnum):
    """Why the console can't change a file."""

    SETTING = "RELAY_CONSOLE_EDIT is no"
    SEVERAL = "several relays may share the database, each with a file of its own"
    NO_FOLDER = "RELAY_TEMPLATES is not set"
    MISSING = "there is no such file"
    UNREADABLE = "the file can't be read"
    TOO_LARGE = "the file is too large"
    NOT_WRITABLE = "the relay's user may not write the file"
    READ_ONLY_DISK = "the file is on a disk that is mounted read-only"
    CONFIG_MAP = "the file is part of a volume that Kubernetes replaces as a whole"


_KUBERNETES = "..data"
_ERRORS = {errno.ENOENT: ReadOnly.MISSING, errno.EROFS: ReadOnly.READ_ONLY_DISK}
_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_MOUNTS = Path("/proc/self/mountinfo")
MOST_LINKS = 40


def why_read_only(path: Path) -> ReadOnly | None:
    """Why the file can't be edited; None where it can. A file without write permission is not replaced either."""
    if any(_KUBERNETES in each.parts for each in _links(path)):
        return ReadOnly.CONFIG_MAP
    try:
        # Only opening the file shows everything that may prevent writing.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return _ERRORS.get(error.errno or 0, ReadOnly.NOT_WRITABLE)
    try:
        mode = os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)
    # root may write any file, but not one that nobody is allowed to write.
    return None if stat.S_ISREG(mode) and mode & _ANY_WRITE else ReadOnly.NOT_WRITABLE


def _links(path: Path) -> Iterator[Path]:
    """The path, and the targets of all links on it in turn."""
    seen, path = 0, Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links
    while seen < MOST_LINKS:
        yield path
        for part in (*reversed(path.parents), path):
            if part.is_symlink():
                rest = path.relative_to(part)
                path = Path(os.path.normpath(part.parent / part.readlink() / rest))
                break
        else:
            return
        seen += 1


def can_be_replaced(path: Path) -> bool:
    """Whether a new file can be renamed over the one at `path`, so that nobody sees a half written file.

    If not, because the folder is read-only or the file is a mount point, its bytes have to be overwritten.
    """
    real = Path(os.path.realpath(path))
    folder = real.parent
    try:
        is_open = bool(folder.stat().st_mode & _ANY_WRITE) and os.access(folder, os.W_OK | os.X_OK)
        return is_open and str(real) not in _mount_points()
    except OSError:
        return False


def _mount_points() -> set[str]:
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return set()
    return {
        re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        for line in lines
    }


def is_in_git(path: Path) -> bool:
    """Whether the file is in a git work tree."""
    return any((folder / ".git").exists() for folder in Path(os.path.realpath(path)).parents)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file's folder, so that no other relay on this computer replaces its files.

    Does nothing where the disk has no locks.
    """
    descriptor = os.open(Path(os.path.realpath(path)).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def left_behind(path: Path) -> bytes | None:
    """The text that a crash left in the file's backup copy: the previous text or the new one. None without a copy.

    `discard_previous` removes the copy, after its text was stored elsewhere.
    """
    try:
        return read_file(_previous_of(Path(os.path.realpath(path))))
    except OSError:
        return None


def put_in_place(path: Path, data: bytes) -> IO[bytes] | None:
    """Make `data` the content of the file, durably.

    A link stays a link, and the file keeps its mode and owner. Raises OSError. Returns the previous file, open for
    reading, as others may have replaced or opened it at the last moment, and still write to it. None where the bytes
    were overwritten in place.
    """
    real = Path(os.path.realpath(path))
    if can_be_replaced(real):
        try:
            return _swap(real, data)
        except OSError as error:
            if error.errno not in _CANT_REPLACE:
                raise
    _overwrite(real, data)
    return None


_CANT_REPLACE = {errno.EBUSY, errno.EPERM, errno.EACCES, errno.EXDEV, errno.EROFS}


def _previous_of(real: Path) -> Path:
    return real.with_name(f".{real.name}.previous")


def _swap(real: Path, data: bytes) -> IO[bytes]:
    draft, spare = real.with_name(f".{real.name}.new"), _previous_of(real)
    draft.unlink(missing_ok=True)
    try:
        with create_private(draft) as file:
            _resemble(file.fileno(), real)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reach(CrashPoint.RULES_WRITTEN)
        # Complete whenever it exists: see `left_behind`.
        draft.rename(spare)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    try:
        before = _exchange(real, spare)
    except BaseException:
        spare.unlink(missing_ok=True)
        raise
    reach(CrashPoint.RULES_REPLACED)
    return before


def discard_previous(path: Path) -> None:
    """Remove the file's backup copy, which `put_in_place` returned or a crash left, after its text was stored elsewhere."""
    _previous_of(Path(os.path.realpath(path))).unlink(missing_ok=True)


def _resemble(descriptor: int, real: Path) -> None:
    """Give an open file the owner, mode and attributes of another. Raises OSError where the owner can't be set."""
    other, own = real.stat(), os.fstat(descriptor)
    if (other.st_uid, other.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(descriptor, other.st_uid, other.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(other.st_mode))
    with contextlib.suppress(OSError, AttributeError):  # macOS has none
        for name in os.listxattr(real):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(real, name))


def _exchange(real: Path, spare: Path) -> IO[bytes]:
    """Swap two files in one step; returns the file that was at `real`, and is at `spare` now."""
    if _renameat2(spare, real):
        _sync_folder(real.parent)
        return spare.open("rb")
    before = real.open("rb")
    try:
        spare.rename(real)
        _sync_folder(real.parent)
    except BaseException:
        before.close()
        raise
    return before


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NOT_KNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def _renameat2(first: Path, second: Path) -> bool:
    """Swap two files; False where the system or the disk does not support that. Raises OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_KNOWN:
        return False
    raise OSError(number, os.strerror(number), str(second))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every disk can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _overwrite(real: Path, data: bytes) -> None:
    """Overwrite a file in place, so that it is never empty in between."""
    descriptor = os.open(real, os.O_WRONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if len(data) > size:
            _make_room(descriptor, size, len(data))
        done = 0
        while done < len(data):
            done += os.pwrite(descriptor, data[done:], done)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_room(descriptor: int, size: int, wanted: int) -> None:
    """Allocate the additional bytes first, so that a full disk is noticed before anything is overwritten."""
    try:
        os.posix_fallocate(descriptor, size, wanted - size)
    except OSError as error:
        os.ftruncate(descriptor, size)
        if error.errno not in _NOT_KNOWN:
            raise
