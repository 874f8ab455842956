"""A saved rules file or secret takes effect without a restart; one that is broken changes nothing and is loud.

The user's own catalogues, where the relay itself speaks: it packs posts and words alerts. Rendering looks for itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from relay.clock import Background
from relay.languages import OWN, Languages, mistakes_in, speak
from relay.metrics import Metrics
from relay.runtime.file_watch import Digests, digests_of, watch_files
from relay.runtime.startup import NotReady, Ready

log = logging.getLogger(__name__)


class Reload:
    """Watches the rules file of a running relay, and the files that its secrets come from."""

    def __init__(
        self,
        ready: Ready,
        *,
        load: Callable[[], Ready],
        change: Callable[[Ready], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        """`load` reads everything again and raises NotReady; `change` puts it in force."""
        self._ready = ready
        self._load = load
        self._change = change
        self._metrics = metrics
        self._background = Background()
        self.problems: tuple[str, ...] = ()
        """What is wrong with the files as they are now; empty while they are in force."""

    @property
    def hook_tokens(self) -> tuple[str, ...]:
        """The tokens that hooks may come by, the newest first."""
        return self._ready.hook_tokens

    def start(self) -> None:
        self._background.start(self._watch())

    async def stop(self) -> None:
        await self._background.stop()

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
        except Exception:
            # Without the watch the relay works on; only a restart takes up new rules.
            log.exception("%s is no longer watched; restart the relay after a change", path)

    async def _take_up(self, ready: Ready) -> None:
        before = self._ready
        # A token file that is gone shuts nobody out: the next start says so.
        self._ready = replace(ready, hook_tokens=ready.hook_tokens or before.hook_tokens)
        await self._change(ready)
        was_refused, self.problems = bool(self.problems), ()
        self._metrics.rules_reloaded(failed=False)
        rules = ready.rules
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
        self._metrics.rules_reloaded(failed=True)
        log.error("the rules file can't be used as it is now, the previous rules stay in force:")
        for sentence in self.problems:
            log.error("  %s", sentence)


class Catalogues:
    """Watches translations: an edited catalogue is used within two seconds, a broken one is logged and changes nothing."""

    def __init__(self, ready: Ready) -> None:
        self._folders = ready.template_folders
        self._own = ready.settings.templates
        self._background = Background()
        self._digests: Digests = {}

    def start(self) -> None:
        """Have the relay speak the languages of its catalogues from now on."""
        if self._own is not None:
            self._background.start(self._watch(self._own))
        self._read()

    async def stop(self) -> None:
        """What else runs in this process finds the shipped words again."""
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
            await _tell_of_mistakes(own)
            async for _ in watch_files(self._read, in_force=self._in_force, refusals=()):
                log.info("%s was edited, and is read again", own / OWN)
                await _tell_of_mistakes(own)
        except Exception:
            # Without the watch the relay works on; only a restart takes up new words.
            log.exception("%s is no longer watched; restart the relay after a change", own / OWN)


async def _tell_of_mistakes(own: Path) -> None:
    for mistake in await asyncio.to_thread(mistakes_in, own):
        if mistake.harmless:
            log.warning("%s", mistake)
        else:
            log.error("%s; until it is fixed, the words that come with the relay are used", mistake)
