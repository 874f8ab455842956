"""The refresh token in use: the one of the settings, or the newer one that the endpoint gave in its place.

Some endpoints give another one with each access token, and the old one ends at once, or weeks later. So the newest
is kept beside the database, in a file that only the relay's user can read.
"""

import asyncio
import hashlib
import json
import logging
from pathlib import Path

from relay.files import write_private

log = logging.getLogger(__name__)


class RefreshToken:
    """`path` is where the newest is kept; None keeps it in memory only."""

    def __init__(self, given: str, path: Path | None) -> None:
        self._given = given
        self._path = path
        self._newest = given

    @property
    def value(self) -> str:
        """Empty where there is none."""
        return self._newest

    def known(self) -> tuple[str, ...]:
        return self._given, self._newest

    async def read(self) -> str:
        """The newest, which another process of ours may have been given."""
        if self._given and self._path:
            self._newest = await asyncio.to_thread(self._kept, self._path) or self._newest
        return self._newest

    def _kept(self, path: Path) -> str:
        """Empty where there is none, or one that took the place of another than that of the settings."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            fits = found["instead_of"] == self._mark and isinstance(found["token"], str)
            return str(found["token"]) if fits else ""
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            log.warning("%s can't be used; the refresh token of the settings is", path)
            return ""

    @property
    def _mark(self) -> str:
        """Of the settings' one: signing in again makes the kept one void."""
        return hashlib.sha256(self._given.encode()).hexdigest()[:16]

    async def replace(self, newer: str) -> None:
        """From now on this one, over restarts too."""
        if not self._given or newer == self._newest:
            return
        self._newest = newer
        if self._path is None:
            log.warning(
                "the token endpoint gave a new refresh token; relays on a database server can't keep it, "
                "and start with that of the settings again"
            )
            return
        words = json.dumps({"instead_of": self._mark, "token": newer})
        try:
            await asyncio.to_thread(write_private, self._path, words)
        except OSError as error:
            log.error(  # noqa: TRY400 - a traceback tells nothing more
                "the new refresh token can't be kept in %s: %s; it is lost when the relay stops",
                self._path,
                error.strerror,
            )

    def give_up(self) -> bool:
        """The newest was refused. Whether there is another one to try: that of the settings."""
        before, self._newest = self._newest, self._given
        return before != self._given
