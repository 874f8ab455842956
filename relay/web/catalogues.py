"""The user's own catalogues, where the relay itself speaks: it packs posts and words alerts. Rendering looks for itself."""

import asyncio
import logging
from pathlib import Path

from relay.background import Background
from relay.languages import OWN, Languages, mistakes_in, speak
from relay.startup import Ready
from relay.templating.edits import BETWEEN_LOOKS, Edits

log = logging.getLogger(__name__)


class Catalogues:
    """An edited one is used within two seconds. A broken one changes nothing, and the log says what is wrong with it."""

    def __init__(self, ready: Ready) -> None:
        self._folders = ready.template_folders
        self._own = ready.settings.templates
        self._background = Background()

    def start(self) -> None:
        """From here on the relay speaks its languages."""
        if self._own is not None:
            edits = Edits((self._own,), f"{OWN}/*")
            self._background.start(self._watch(self._own, edits))
        speak(Languages(self._folders))

    async def stop(self) -> None:
        """What else runs in this process finds the shipped words again."""
        await self._background.stop()
        speak(Languages())

    async def _watch(self, own: Path, edits: Edits) -> None:
        try:
            await _tell_of_mistakes(own)
            while True:
                await asyncio.sleep(BETWEEN_LOOKS)
                if (edited := await asyncio.to_thread(edits.begun)) is not None:
                    speak(await asyncio.to_thread(Languages, self._folders))
                    edits.seen(edited)
                    log.info("%s was edited, and is read anew", own / OWN)
                    await _tell_of_mistakes(own)
        except Exception:
            # Without the watch the relay works on; only a restart takes up new words.
            log.exception("%s is no longer watched; restart the relay after a change", own / OWN)


async def _tell_of_mistakes(own: Path) -> None:
    for mistake in await asyncio.to_thread(mistakes_in, own):
        if mistake.harmless:
            log.warning("%s", mistake)
        else:
            log.error(
                "%s; until it is mended, the words that come with the relay are used", mistake
            )
