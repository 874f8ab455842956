"""Notices that a database file is gone, cut short, older than what was written to it, or on a network drive.

SQLite notices none of that. At most once a second a commit also raises a number, in the database and, afterwards, in
the lock file beside it. A lower number in the database means that commits are lost: the log was deleted after a kill,
or a backup was put back.
"""

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from relay.outbox.delivery_types import StorageRefused

MOUNTS = Path("/proc/self/mountinfo")
OVER_A_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "beegfs",
        "ocfs2",
        "gfs2",
    }
    | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "s3fs", "rclone", "ceph", "juicefs")}
)
log = logging.getLogger(__name__)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def warn_of_network(path: Path, mounts: Path = MOUNTS) -> None:
    """Log a warning where a file is on a network drive, which mostly works, so that it is no reason not to start."""
    if kind := network_file_system(path, mounts):
        log.warning(
            "%s stands on a network file system (%s), where locks and syncs may not hold: "
            "a crash may damage it. Put it on a local disk, or use a PostgreSQL server",
            path,
            kind,
        )


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of network file system that a file is on, such as `nfs4`; empty for a local or unknown one."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        place = path.resolve()
    except OSError:
        return ""
    nearest, kind = -1, ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not rest:
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Of two mounts at one path the later one hides the earlier.
        if place.is_relative_to(point) and len(point.parts) >= nearest:
            nearest, kind = len(point.parts), rest.split(" ")[0]
    return kind if kind in OVER_A_NETWORK else ""


BETWEEN_MARKS = 1.0
"""Seconds between two marks. The loss of only what was written within this time after a mark goes unnoticed."""
MOST = 2**31 - 1
"""The highest number that fits; the next is 1."""
CUT = "the database file was cut short"


def inodes(path: str) -> tuple[int, int]:
    """The inodes of a file and its log, to notice when others take their place; 0 for one that is missing or empty.

    Uses only `stat`, which takes 2 microseconds: closing the file after opening it would drop this process' locks on
    it.
    """
    return inode(path, least=1), inode(f"{path}-wal", least=0)


def inode(path: str, *, least: int) -> int:
    """The inode of a file; 0 where it is missing or has less than `least` bytes."""
    try:
        there = os.stat(path)  # noqa: PTH116 - at every commit, and a Path takes as long again
    except OSError:
        return 0
    return there.st_ino if there.st_size >= least else 0


def last_written(path: Path) -> int:
    """The number that the previous relay wrote into the lock file; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(path.with_name(f"{path.name}.lock").read_text("ascii").split()[1])
    return 0


def write_number(lock: IO[Any], number: int) -> None:
    """Write a number into the lock file beside the database, for `last_written`. Raises OSError."""
    os.ftruncate(lock.fileno(), 0)
    os.write(lock.fileno(), f"{os.getpid()}\n{number}\n".encode())


def refuse_a_log_alone(path: Path) -> None:
    """Raise StorageRefused where a file is missing but its log exists: SQLite would write the log into a new file."""
    if inode(f"{path}-wal", least=1):
        raise StorageRefused(
            f"{path} is not there, but its log {path.name}-wal is: put the file back; to begin with an empty one, move the log away"
        )


class FileLoss:
    """Notices what one open file has lost, in the writer's thread."""

    def __init__(
        self,
        path: Path,
        *,
        before: int,
        is_new: bool,
        held: IO[Any],
        lock: IO[Any],
        connection: sqlite3.Connection,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`before`: the number of `last_written`. `is_new`: the file was just created. `held`: the file, kept open meanwhile."""
        self._held, self._lock = held, lock
        self._monotonic = monotonic
        self._size = 0
        self._due = 0.0
        written: int = connection.execute("PRAGMA user_version").fetchone()[0]
        self._number = max(before, written)
        self.message = _words(path, is_new=is_new) if written < before else ""
        """What was lost before the file was opened, as a sentence; empty for nothing."""

    def mark(self, cursor: sqlite3.Cursor) -> int | None:
        """Write a higher number as the last statement of a changing transaction, and return it for `note`.

        None where the last number was written less than BETWEEN_MARKS ago.
        """
        if self._monotonic() < self._due:
            return None
        number: int = self._number % MOST + 1
        cursor.execute(f"PRAGMA user_version = {number}")
        return number

    def note(self, number: int) -> None:
        """Write the number that `mark` returned into the lock file. Call this after the commit."""
        self._number, self._due = number, self._monotonic() + BETWEEN_MARKS
        with contextlib.suppress(OSError):
            write_number(self._lock, number)

    def log_emptied(self) -> None:
        """Let the next transaction write a number, because the log that held the last one was emptied."""
        self._due = 0.0

    def is_cut(self) -> bool:
        """Whether the file is shorter than its header says. When it shrinks by itself, the header says so."""
        size = os.fstat(self._held.fileno()).st_size
        if size < self._size:
            header = os.pread(self._held.fileno(), 32, 0)
            page = int.from_bytes(header[16:18], "big")
            if size < int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page):
                return True
        self._size = size
        return False


def _words(path: Path, *, is_new: bool) -> str:
    if is_new:
        return (
            f"{path} was gone, and an empty database was begun in its place: the chats and deliveries of before are "
            "missing. Stop the relay, and put the file or a backup back"
        )
    return (
        f"{path} is older than what was last written to it: its log {path.name}-wal was deleted, or a backup was put "
        "back. Chats that were answered since, and how deliveries ended, are missing"
    )
