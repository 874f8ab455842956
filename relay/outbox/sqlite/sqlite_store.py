"""The store in an SQLite file, used by one relay at a time."""

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from sqlalchemy.dialects import sqlite as sqlite_dialect

from relay.files import warn_of_readers
from relay.outbox.delivery_types import StorageUnavailable
from relay.outbox.sqlite import sqlite_file
from relay.outbox.sqlite.file_loss import CUT, FileLoss, inodes, last_written, warn_of_network
from relay.outbox.statements import Statements
from relay.outbox.writer import Work

LEAST_FREE = 64 * 2**20
"""Bytes of free disk below which no hook is accepted: there must be room to store how deliveries end."""
PATIENCE_WITH_WRITER = 5.0
"""Seconds to wait for the writer before the log is emptied; after that it is left for another time."""
_OURS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""Errors that are the fault of a single piece of work, not of the database."""

log = logging.getLogger(__name__)

GONE = "the database file was moved, deleted or replaced"


class SqliteStore:
    """The open file with its locks."""

    def __init__(
        self, path: Path, locks: Sequence[IO[Any]], connection: sqlite3.Connection, loss: FileLoss
    ) -> None:
        """Use `open_sqlite` instead. `connection` is in autocommit mode."""
        self._loss = loss
        self.data_loss = loss.message
        self._path = path
        self._locks = locks
        self._connection = connection
        self._name = str(path)
        self._inodes = inodes(self._name)
        self.has_written = False
        self.holder = ""
        self.ended = {"": ""}  # the file's lock says that no other process lives
        # SQLite up to 3.51.2 may damage a file in which one connection writes while another empties the log
        # (sqlite.org/wal.html#walresetbug).
        self._writing = threading.Lock()
        self.dialect = sqlite_dialect.dialect(paramstyle="named")
        self.statements = Statements(self.dialect)

    def run(self, works: Sequence[Work]) -> list[Any]:
        """Run works in one transaction and return their results in order.

        Raises StorageUnavailable, or what a work raises; nothing is written then.
        """
        with self._writing:
            return self._run(works)

    def _run(self, works: Sequence[Work]) -> list[Any]:
        if not self.is_in_place():
            raise self.translated(sqlite3.OperationalError(GONE))
        if self._loss.is_cut():
            raise self.translated(sqlite3.OperationalError(CUT))
        cursor = self._connection.cursor()
        before = self._connection.total_changes
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            # Another program's long lock. Running the works one by one would wait for it each time.
            raise self.translated(error) from None
        try:
            results = [work(cursor) for work in works]
            changed = self._connection.total_changes != before
            number = self._loss.mark(cursor) if changed else None
            cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        if number is not None:
            self._loss.note(number)
        self.has_written = changed
        if self.has_written and not self.is_in_place():
            # SQLite writes into a file even if it was just deleted; such a write must not be confirmed.
            raise self.translated(sqlite3.OperationalError(GONE))
        return results

    def translated(self, error: Exception) -> Exception:
        """Return the exception as callers get it: StorageUnavailable for trouble with the file."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _OURS):
            return StorageUnavailable(str(error))
        return error

    def close(self) -> None:
        """Close the connection, and give up the locks."""
        self._connection.close()
        for lock in self._locks:
            lock.close()

    def cut(self) -> None:
        """Make a `run` that hangs fail, from any thread."""
        self._connection.interrupt()

    def has_room(self) -> bool:
        """Whether the disk has room for more; true where that is not known."""
        try:
            return shutil.disk_usage(self._path.parent).free >= LEAST_FREE
        except OSError:
            return True  # not known; if there is none, writing will fail

    def is_in_place(self) -> bool:
        """Whether the open files are still those at their paths."""
        return inodes(self._name) == self._inodes

    def version(self, cursor: sqlite3.Cursor) -> int:
        """Return a number that changes when another process writes."""
        return sqlite_file.data_version(cursor)

    def free_some(self, cursor: sqlite3.Cursor) -> bool:
        """Free some unused pages; returns whether there are more."""
        return sqlite_file.vacuum_some(cursor)

    def forget(self) -> bool:
        """Empty the write-ahead log, so that no file holds erased rows; False where that was not possible."""
        if not self._writing.acquire(timeout=PATIENCE_WITH_WRITER):
            return False
        try:
            self._loss.log_emptied()
            return sqlite_file.empty_wal(self._path)
        finally:
            self._writing.release()


def open_sqlite(path: Path) -> SqliteStore:
    """Open or create the file, and hold its locks. Raises StorageRefused with a sentence that says what to do."""
    path = path.resolve()  # SQLite keeps its log beside the file, not beside a link to it
    warn_of_network(path)
    warn_of_readers(path)
    with contextlib.ExitStack() as on_failure:
        lock = on_failure.enter_context(sqlite_file.lock(path))
        before, is_new = last_written(path), not path.exists()
        held = on_failure.enter_context(sqlite_file.find_or_make(path))
        _held.add(held)
        connection = sqlite_file.open_file(path)
        loss = FileLoss(
            path, before=before, is_new=is_new, held=held, lock=lock, connection=connection
        )
        if loss.message:
            log.error("%s", loss.message)
        store = SqliteStore(path, (held, lock), connection, loss)
        on_failure.pop_all()
        return store


_held: WeakSet[IO[bytes]] = WeakSet()


def is_held_here(path: Path) -> bool:
    """Whether a relay in this process holds the file. Opening and closing it once more would drop SQLite's own locks."""
    held = [os.fstat(file.fileno()) for file in tuple(_held) if not file.closed]
    with contextlib.suppress(OSError):
        there = path.stat()
        return any(os.path.samestat(each, there) for each in held)
    return False
