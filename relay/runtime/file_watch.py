"""Notices that the rules file, the file of a secret or a catalogue was saved, in whichever way.

Editors write in place, or write another file and rename it; Kubernetes swaps a symbolic link two levels up; Docker
mounts the file itself, so that nothing happens in its folder; some network file systems report nothing. Polling the
files' stamps twice a second notices all of these. The system's notifications do not, and cost more: the database is
mostly in the same folder, and each page that it writes would cause one (a tenth of a hook's computing).
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from relay.files import read_file, stamp_of

T = TypeVar("T")

LOOK_EVERY = 0.5
"""Seconds between two looks at the files' stamps."""
QUIET = 0.2
"""Seconds for which a file must not change before it is read, as it may be half written."""
QUIET_IF_EMPTY = 0.6
"""Seconds for which a file that is empty or missing is left alone, as it is probably being replaced."""
MOST_BYTES = 10_000_000
"""How many bytes of a file are compared."""


Digests = Mapping[Path, str]
"""The SHA-256 of each file's bytes, in hex; empty where it can't be read."""


async def watch_files(
    load: Callable[[], T],
    *,
    in_force: Callable[[], Digests],
    refusals: tuple[type[Exception], ...],
) -> AsyncGenerator[T | Exception, None]:
    """The result of `load` after each change of its files, or the exception with which it refused them; for ever.

    `load` runs in a thread, as it may take a second. `in_force`: the files that it reads, with the digests that they
    had when they were read (empty for one that was not), so that no change just before the watch is missed.
    `refusals`: exceptions of `load` for unusable files; any other ends the watch.
    """
    async with aclosing(_changes(in_force)) as changes:
        async for _ in changes:
            try:
                loaded = await asyncio.to_thread(load)
            except refusals as problem:
                yield problem
            else:
                yield loaded


async def _changes(in_force: Callable[[], Digests]) -> AsyncGenerator[Digests, None]:
    """The files' digests, whenever they differ from those in force and those last seen."""
    last: Digests = {}
    stamps: Mapping[Path, object] = {}
    while True:
        old = {path: last.get(path, digest) for path, digest in in_force().items()}
        now = await asyncio.to_thread(_stamps, old)
        # An unreadable file may become readable without a change of its stamp.
        unread = any(not digest and isinstance(now[path], tuple) for path, digest in old.items())
        if unread or now != stamps:
            stamps, last = await _settled(old)
            if last != old:
                yield last
        await asyncio.sleep(LOOK_EVERY)


async def _settled(old: Digests) -> tuple[Mapping[Path, object], Digests]:
    """The files' stamps and digests, once nobody writes to the files any more."""
    paths = tuple(old)
    now = await asyncio.to_thread(digests_of, paths)
    while True:
        stamps = await asyncio.to_thread(_stamps, paths)
        empty = any(digest in _EMPTY and digest != old[path] for path, digest in now.items())
        await asyncio.sleep(QUIET_IF_EMPTY if empty else QUIET)
        before, now = now, await asyncio.to_thread(digests_of, paths)
        if now == before and stamps == await asyncio.to_thread(_stamps, paths):
            return stamps, now


def digests_of(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the SHA-256 of each file, in hex; empty for a file that can't be read. Raises nothing."""
    return {path: _digest(path) for path in paths}


def _stamps(paths: Iterable[Path]) -> Mapping[Path, object]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> object:
    try:
        return stamp_of(path)
    except OSError as error:
        return error.errno


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_file(path, MOST_BYTES)).hexdigest()
    except OSError:
        return ""


_EMPTY = ("", hashlib.sha256(b"").hexdigest())
