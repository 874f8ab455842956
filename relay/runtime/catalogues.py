"""The user's own catalogues, where the relay itself speaks: it packs posts and words alerts. Rendering looks for itself."""

import asyncio
import logging
from pathlib import Path

from relay.clock import Background
from relay.languages import OWN, Languages, mistakes_in, speak
from relay.runtime.file_watch import Digests, digests_of, watch_files
from relay.runtime.startup import Ready

log = logging.getLogger(__name__)


class Catalogues:
    """An edited one is used within two seconds. A broken one changes nothing, and the log says what is wrong with it."""

    def __init__(self, ready: Ready) -> None:
        self._folders = ready.template_folders
        self._own = ready.settings.templates
        self._background = Background()
        self._digests: Digests = {}

    def start(self) -> None:
        """From here on the relay speaks its languages."""
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
