"""Notice that the rules file was saved, whichever way it was saved.

Editors write in place, or write beside and rename; Kubernetes swaps a symbolic link two levels up; Docker mounts
the file itself, so that nothing happens in its folder; some network file systems tell nothing at all. Looking at
the file's stamp twice a second finds all of these. The system's own notices do not, and cost more: the database
mostly stands in the same folder, and each page that it writes would be told of (a tenth of a hook's computing).
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from relay.rules.problem import UnreadableRules
from relay.rules.reader import read_bytes

T = TypeVar("T")

LOOK_EVERY = 0.5
"""Seconds between two looks at the file's stamp."""
QUIET = 0.2
"""Seconds for which a file must stay as it is before it is read: it may be half written."""
QUIET_WHEN_GONE = 0.6
"""The same for a file that is empty or not there: it is probably just being replaced."""


async def watch_rules(
    path: Path, load: Callable[[], T], *, in_force: str, refusals: tuple[type[Exception], ...]
) -> AsyncGenerator[T | Exception, None]:
    """What `load` makes of the file after each change, or how it was refused; for ever.

    `load` runs in a thread, for it may take a second. `in_force`: the hash (RuleBook.hash) of the rules that are
    in force when the watch begins, so that a change made just before is not missed. `refusals` are what `load`
    raises for a file that can't be used; anything else it raises ends the watch.
    """
    async with aclosing(changes(path, in_force)) as digests:
        async for _ in digests:
            try:
                loaded = await asyncio.to_thread(load)
            except refusals as problem:
                yield problem
            else:
                yield loaded


async def changes(path: Path, seen: str) -> AsyncGenerator[str, None]:
    """The SHA-256 of the file's bytes, in hex, whenever it is another; empty where it can't be read."""
    stamp: object = None
    digest = ""
    while True:
        # One that can't be read may be readable soon, though nobody touches it.
        if not digest or await asyncio.to_thread(_stamp, path) != stamp:
            stamp, digest = await _settled(path)
            if digest != seen:
                seen = digest
                yield digest
        await asyncio.sleep(LOOK_EVERY)


async def _settled(path: Path) -> tuple[object, str]:
    """The file's stamp and digest, once nobody writes to it any more."""
    digest = await asyncio.to_thread(_digest, path)
    while True:
        stamp = await asyncio.to_thread(_stamp, path)
        await asyncio.sleep(QUIET if digest not in _GONE else QUIET_WHEN_GONE)
        before, digest = digest, await asyncio.to_thread(_digest, path)
        if digest == before and stamp == await asyncio.to_thread(_stamp, path):
            return stamp, digest


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except UnreadableRules:
        return ""


_GONE = ("", hashlib.sha256(b"").hexdigest())
