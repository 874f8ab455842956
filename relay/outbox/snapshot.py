"""A consistent copy of an SQLite database that may be in use."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from relay.files import create_private
from relay.outbox.command_session import reading
from relay.outbox.rows import ITSELF, State, StorageRefused, StorageUnavailable
from relay.outbox.schema import chats, deliveries
from relay.outbox.session import Session

PAGES_AT_ONCE = 2048
"""8 MiB between two words about the progress."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds."""

    chats: int
    deliveries: int
    owed: int
    """Of the deliveries, those still queued or under way."""
    size: int
    """In bytes."""


def copy_database(source: Path, to: Path, progress: Callable[[int], None]) -> Copied:
    """Copy one moment's state into a new file, checked and durable when this returns.

    `progress` gets the percentage done. The relay's writing is not held up: a reader sees the moment at which it
    began. Raises StorageRefused and StorageUnavailable; what was half copied is removed.
    """
    if to.exists():
        raise StorageRefused(
            f"{to} is there already, and a backup replaces nothing; name another file"
        )
    draft = to.with_name(f"{to.name}.part")
    try:
        create_private(draft).close()
    except FileExistsError:
        raise StorageRefused(
            f"{draft} is there already: another backup is under way, or one was ended in the middle; remove it then"
        ) from None
    except OSError as error:
        raise StorageRefused(f"{to} can't be written: {error.strerror}") from None
    try:
        copied = _copy(source, draft, progress)
        _into_place(draft, to)
    except OSError as error:
        raise StorageUnavailable(f"{to} can't be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return copied


def _copy(source: Path, draft: Path, progress: Callable[[int], None]) -> Copied:
    with (
        reading(source) as session,
        contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as target,
    ):
        try:
            copied = _counts(session)  # the first question fixes the moment that is copied
            session.cursor.connection.backup(
                target,
                pages=PAGES_AT_ONCE,
                progress=lambda _, left, total: progress(100 * (total - left) // max(total, 1)),
            )
            # One file, without a log beside it.
            target.execute("PRAGMA journal_mode = DELETE")
            problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            raise StorageUnavailable(f"the copy failed: {error}") from None
    if problem != "ok":
        raise StorageRefused(
            f"{source} is damaged, and so is its copy ({problem}); nothing was kept"
        )
    return Copied(*copied, draft.stat().st_size)


def _counts(session: Session) -> tuple[int, int, int]:
    live = sa.or_(*(deliveries.c.state == state for state in (State.QUEUED, State.SENDING)))
    numbers = (
        session.ask(question).fetchone()[0]
        for question in (
            sa.select(sa.func.count()).select_from(chats).where(chats.c.account != ITSELF),
            sa.select(sa.func.count()).select_from(deliveries),
            sa.select(sa.func.count()).select_from(deliveries).where(live),
        )
    )
    return next(numbers), next(numbers), next(numbers)


def _into_place(draft: Path, to: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    try:
        # A link, unlike a rename, replaces nothing that came there meanwhile.
        os.link(draft, to)
    except FileExistsError:
        raise
    except OSError:
        # Sticks and network drives know no second name for a file.
        if to.exists():
            raise
        draft.rename(to)
    folder = os.open(to.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
