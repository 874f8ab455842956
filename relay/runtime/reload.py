"""Puts a saved rules file, secret or catalogue in force without a restart.

A broken one is logged and changes nothing. Catalogues matter here for alerts and for the layout of posts; rendering
has its own watch.
"""

import asyncio
import hashlib
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from relay.clock import Background, Clock
from relay.files import read_file
from relay.languages import OWN, Languages, mistakes_in, speak
from relay.metrics import Metrics
from relay.outbox import Outbox, StorageUnavailable
from relay.outbox.database_session import Session
from relay.outbox.rules_versions import (
    Version,
    add_version,
    find_version,
    remove_version,
    unused_versions,
)
from relay.outbox.writer import Cursor
from relay.runtime.file_watch import Digests, digests_of, watch_files
from relay.runtime.startup import NotReady, Ready

READ_WITHIN = 15.0
"""Seconds that a page waits until a published text is in force."""

log = logging.getLogger(__name__)


class Reload:
    """Watches the rules file of a running relay, and the files of its secrets."""

    def __init__(
        self,
        ready: Ready,
        *,
        load: Callable[[], Ready],
        change: Callable[[Ready], Awaitable[None]],
        metrics: Metrics,
        keep: Callable[[bytes, Sequence[str]], None],
    ) -> None:
        """`load` reads everything again and raises NotReady; `change` puts it in force.

        `keep` gets each text of the rules file that came into force or was refused, and why it was refused.
        """
        self._ready = ready
        self._load = load
        self._change = change
        self._metrics = metrics
        self._keep = keep
        self._background = Background()
        self._has_read = asyncio.Condition()
        self.problems: tuple[str, ...] = ()
        """The problems of the files as they are now; empty while they are in force."""
        self.last_read = ready.rules.hash
        """SHA-256 of the rules file as it was last read, whether in force or refused."""

    @property
    def hook_tokens(self) -> tuple[str, ...]:
        """The accepted tokens of the hook's URL, newest first."""
        return self._ready.hook_tokens

    def start(self) -> None:
        """Begin to watch the files. Needs a running event loop."""
        self._keep(self._ready.source, ())
        self._background.start(self._watch())

    async def stop(self) -> None:
        """End watching."""
        await self._background.stop()

    async def wait_until_read(self, hash_: str) -> bool:
        """Wait until a rules file with this hash is in force or refused.

        False if another text has taken its place before, or after 15 seconds.
        """
        path = self._ready.settings.rules
        try:
            async with asyncio.timeout(READ_WITHIN), self._has_read:
                while self.last_read != hash_:
                    await self._has_read.wait()
                    if self.last_read != hash_ and not await asyncio.to_thread(_holds, path, hash_):
                        return False
        except TimeoutError:
            return False
        return True

    async def _watch(self) -> None:
        path = self._ready.settings.rules
        versions = watch_files(
            self._load,
            in_force=lambda: {path: self._ready.rules.hash, **self._ready.other_files},
            # OSError: a folder of templates that can't be listed, or no file that may still be opened.
            refusals=(NotReady, OSError),
        )
        try:
            async for loaded in versions:
                if isinstance(loaded, Ready):
                    await self._take_up(loaded)
                else:
                    self._refuse(loaded)
                async with self._has_read:
                    self._has_read.notify_all()
        except Exception:
            # The relay goes on without the watch; new rules then need a restart.
            log.exception("%s is no longer watched; restart the relay after a change", path)

    async def _take_up(self, ready: Ready) -> None:
        before = self._ready
        # A missing token file locks nobody out before the next start, which reports it.
        self._ready = replace(ready, hook_tokens=ready.hook_tokens or before.hook_tokens)
        await self._change(ready)
        was_refused, self.problems = bool(self.problems), ()
        self._metrics.rules_reloaded(failed=False)
        rules = ready.rules
        self.last_read = rules.hash
        self._keep(ready.source, ())
        if rules.hash == before.rules.hash and not was_refused:
            log.info("secrets or holidays.yaml were read again from their files")
            return
        log.info(
            "%s was saved and is in force; rules: %d (%s)",
            ready.settings.rules,
            len(rules.rules),
            rules.hash[:12],
        )

    def _refuse(self, problem: Exception) -> None:
        self.problems = (
            tuple(problem.problems) if isinstance(problem, NotReady) else (str(problem),)
        )
        if source := problem.source if isinstance(problem, NotReady) else b"":
            self.last_read = hashlib.sha256(source).hexdigest()
            self._keep(source, self.problems)
        self._metrics.rules_reloaded(failed=True)
        log.error("the rules file can't be used as it is now, the previous rules stay in force:")
        for sentence in self.problems:
            log.error("  %s", sentence)


TRY_AGAIN = 5.0
"""Seconds to the next try, when the database did not accept a version."""


class KeptVersions:
    """Stores each text of the rules file that came into force or was refused, whoever saved it."""

    def __init__(self, outbox: Outbox, clock: Clock, path: Path) -> None:
        self._outbox = outbox
        self._path = path
        self._clock = clock
        self._waiting: deque[tuple[Version, bytes]] = deque()
        self._came = asyncio.Event()
        self._background = Background()

    def start(self) -> None:
        """Begin to store texts. Needs a running event loop."""
        self._background.start(self._keep_all())

    async def stop(self) -> None:
        """End storing texts."""
        await self._background.stop()

    def keep(self, source: bytes, problems: Sequence[str]) -> None:
        """Store a text soon, in the background. `problems`: why it was refused."""
        hash_ = hashlib.sha256(source).hexdigest()
        version = Version(hash=hash_, seen_at=self._clock(), problems=tuple(problems))
        self._waiting.append((version, zlib.compress(source)))
        self._came.set()

    async def _keep_all(self) -> None:
        is_first = True
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                try:
                    await self._keep_first(*self._waiting[0], is_first=is_first)
                except StorageUnavailable:
                    await asyncio.sleep(TRY_AGAIN)
                else:
                    self._waiting.popleft()
                    is_first = False

    async def _keep_first(self, version: Version, packed: bytes, *, is_first: bool) -> None:
        sql = self._outbox.operations.sql
        # Relays that share a database may have different files: the start of one is no change.
        may_be_known = is_first and self._outbox.is_shared

        def keep(cursor: Cursor) -> None:
            # If the file has another text by now, that one is newer: a known text is not stored again after it.
            is_old = may_be_known or not _holds(self._path, version.hash)
            if not (is_old and find_version(sql, cursor, version.hash)):
                add_version(sql, cursor, version, packed)

        await self._outbox.run(keep)
        unused = await self._outbox.read(_unused)
        for number in unused:
            await self._outbox.run(partial(remove_version, sql, number=number))


def _holds(path: Path, hash_: str) -> bool:
    try:
        return hashlib.sha256(read_file(path)).hexdigest() == hash_
    except OSError:
        return False


def _unused(session: Session) -> list[int]:
    return unused_versions(session.operations.sql, session.cursor)


class Catalogues:
    """Watches translations: an edited catalogue is in use within two seconds; a broken one is logged and changes nothing."""

    def __init__(self, ready: Ready) -> None:
        self._folders = ready.template_folders
        self._own = ready.settings.templates
        self._background = Background()
        self._digests: Digests = {}

    def start(self) -> None:
        """Use the catalogues from now on, and watch them."""
        if self._own is not None:
            self._background.start(self._watch(self._own))
        self._read()

    async def stop(self) -> None:
        """Use the shipped translations again."""
        await self._background.stop()
        speak(Languages())

    def _read(self) -> None:
        self._digests = digests_of(self._files())
        speak(Languages(self._folders))

    def _files(self) -> list[Path]:
        return [] if self._own is None else list((self._own / OWN).glob("*"))

    def _in_force(self) -> Digests:
        return {**dict.fromkeys(self._files(), ""), **self._digests}

    async def _watch(self, own: Path) -> None:
        try:
            await _log_mistakes(own)
            async for _ in watch_files(self._read, in_force=self._in_force, refusals=()):
                log.info("%s was edited, and is read again", own / OWN)
                await _log_mistakes(own)
        except Exception:
            # The relay goes on without the watch; new texts then need a restart.
            log.exception("%s is no longer watched; restart the relay after a change", own / OWN)


async def _log_mistakes(own: Path) -> None:
    for mistake in await asyncio.to_thread(mistakes_in, own):
        if mistake.harmless:
            log.warning("%s", mistake)
        else:
            log.error("%s; until it is fixed, the words that come with the relay are used", mistake)
