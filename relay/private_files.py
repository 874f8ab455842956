"""Files that only the relay's own user may read: databases, locks, tokens, settings, what visitors wrote."""

import contextlib
import logging
import os
from pathlib import Path
from typing import IO

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
    """In place of what was there, whole or not at all, and on disk when this returns. Raises OSError.

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
    """With its parents; one that is there stays as it is. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
