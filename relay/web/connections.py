"""Who may stand at the door: so many at once, and none for long without a request.

uvicorn itself waits for ever for a request that never ends, and some hundreds of those take all the files that a
process may open: then no hook comes in, and no message goes out either.
"""

import asyncio
import logging
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_FILES = 16_384
"""Asked of the system, which lets a process open 1,024 unless it asks for more."""
KEPT_FOR_OURSELVES = 256
"""Files: the database, connections to the far ends, processes that render."""
LEAST = 32

log = logging.getLogger(__name__)


def most_connections() -> int:
    """As many as leave enough files to work with; asks the system for more files first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(LEAST, max(soft, wanted) - KEPT_FOR_OURSELVES)


class Door:
    """The connections of which a request is awaited, the one that has waited for longest first."""

    def __init__(self, *, most: int, deadline: float) -> None:
        """`most` connections at once; `deadline` in seconds."""
        self.most = most
        self._deadline = deadline
        self._waiting: dict[Connection, float] = {}
        self._loop = asyncio.get_running_loop()
        self._looks: asyncio.TimerHandle | None = None
        self._was_full = False

    def protocol(self, **of_uvicorn: Any) -> asyncio.Protocol:  # noqa: ANN401 - handed on
        """For uvicorn: one for each connection."""
        return Connection(self, **of_uvicorn)

    def waits_for(self, connection: "Connection") -> None:
        self._waiting[connection] = self._loop.time()
        if self._looks is None:
            self._looks = self._loop.call_later(self._deadline, self._look)

    def hears(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)

    def make_room(self, newest: "Connection") -> None:
        """One must go: whoever has said nothing for longest, so that one who has something to say gets in."""
        if not self._was_full:
            self._was_full = True
            log.warning(
                "%d connections at once, no more can be kept: those without a request are closed",
                self.most,
            )
        longest = next(iter(self._waiting), newest)
        self.hears(longest)
        longest.transport.close()

    def _look(self) -> None:
        self._looks = None
        now = self._loop.time()
        late = [one for one, since in self._waiting.items() if now - since >= self._deadline]
        for connection in late:
            self.hears(connection)
            connection.transport.close()
        if late:
            self._was_full = False
            log.info(
                "closed %d connections on which no request came within %g s",
                len(late),
                self._deadline,
            )
        if self._waiting:
            # Not for each one by itself: thousands may fall due one after the other.
            since = next(iter(self._waiting.values()))
            at = max(since + self._deadline, now + self._deadline / 10)
            self._looks = self._loop.call_at(at, self._look)


class Connection(HttpToolsProtocol):
    """uvicorn's, which tells the door when a request is awaited and when one has come."""

    def __init__(self, door: Door, **of_uvicorn: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**of_uvicorn)
        self._door = door

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._door.most:
            self._door.make_room(self)
        self._door.waits_for(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.hears(self)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._door.hears(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._door.waits_for(self)
