"""Notice that the rules file was saved, whichever way it was saved.

Editors write in place, or write beside and rename; Kubernetes swaps a symbolic link two levels up; Docker mounts
the file itself, so that nothing happens in its folder; some network file systems tell nothing at all. So the
system's own notices are listened to, and once a second the file's stamp is looked at.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from watchfiles import awatch

from relay.rules.problem import UnreadableRules
from relay.rules.reader import read_bytes

T = TypeVar("T")

LOOK_EVERY = 1.0
"""Seconds between two looks at the file's stamp."""
QUIET = 0.2
"""Seconds for which a file must stay as it is before it is read: it may be half written."""
QUIET_WHEN_GONE = 0.6
"""The same for a file that is empty or not there: it is probably just being replaced."""
MAX_LINKS = 40

log = logging.getLogger(__name__)


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
    async with aclosing(_signals(path)) as signals:
        async for told in signals:
            now = await asyncio.to_thread(_stamp, path)
            if not told and now == stamp:
                continue
            stamp, digest = await _settled(path)
            if digest != seen:
                seen = digest
                yield digest


async def _settled(path: Path) -> tuple[object, str]:
    """The file's stamp and digest, once nobody writes to it any more."""
    digest = await asyncio.to_thread(_digest, path)
    while True:
        stamp = await asyncio.to_thread(_stamp, path)
        await asyncio.sleep(QUIET if digest not in _GONE else QUIET_WHEN_GONE)
        before, digest = digest, await asyncio.to_thread(_digest, path)
        if digest == before and stamp == await asyncio.to_thread(_stamp, path):
            return stamp, digest


async def _signals(path: Path) -> AsyncGenerator[bool, None]:
    """True where the system told of a change, False where it is time to look."""
    warned = False
    yield False
    while True:
        folders, names = _links(path)
        try:
            events = awatch(
                *folders,
                watch_filter=lambda _, touched, names=names: _concerns(touched, names),  # type: ignore[misc]
                debounce=400,
                step=50,
                rust_timeout=int(LOOK_EVERY * 1000),
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            )
            async with aclosing(events):
                async for found in events:
                    yield bool(found)
                    if _links(path) != (folders, names):
                        break
        except (OSError, RuntimeError) as error:
            if not warned:
                log.warning(
                    "%s is looked at every second, for it can't be watched: %s", path, error
                )
            warned = True
            await asyncio.sleep(LOOK_EVERY)
            yield False


def _concerns(touched: str, names: frozenset[str]) -> bool:
    # ..data and the like: Kubernetes' folders, whose link is swapped.
    name = Path(touched).name
    return name in names or name.startswith("..")


def _links(path: Path) -> tuple[tuple[Path, ...], frozenset[str]]:
    """What to watch: the folder of the file and of every symbolic link on the way, and the file for its own sake."""
    watched: dict[Path, None] = {}
    names: set[str] = set()
    link = path.absolute()
    for _ in range(MAX_LINKS):
        watched[link.parent] = None
        names.add(link.name)
        if not link.is_symlink():
            break
        link = link.parent / link.readlink()
    if link.exists():
        watched[link] = None
    return tuple(folder for folder in watched if folder.exists()), frozenset(names)


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
