"""Digests as people look for them: what waits for which, and those that were closed."""

from dataclasses import dataclass

from relay.outbox.digests import PastDigest, WaitingDigest, past_digests, waiting_digests
from relay.outbox.session import reading
from relay.services import Progress, in_thread
from relay.settings.database import Database


@dataclass(frozen=True, slots=True)
class FoundDigests:
    """What waits, in the order in which it is due; and those that were closed, newest first."""

    waiting: list[WaitingDigest]
    past: list[PastDigest]

    def only(self, destination: str) -> "FoundDigests":
        """Of one destination alone."""
        return FoundDigests(
            [one for one in self.waiting if one.destination == destination],
            [one for one in self.past if one.destination == destination],
        )


async def find_digests(database: Database, *, limit: int) -> FoundDigests:
    """All that waits for a digest, and the newest `limit` of those that were closed."""

    def work(_: Progress) -> FoundDigests:
        with reading(database) as session:
            return FoundDigests(waiting_digests(session), past_digests(session, limit=limit))

    return await in_thread(work)
