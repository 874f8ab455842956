"""Destinations that have to wait: which, why and until when, and how a broken one is tried at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.outbox.history import Held, held
from relay.outbox.requeue import look_now
from relay.outbox.session import reading, writing
from relay.services import Progress, in_thread
from relay.settings.database import Database

log = logging.getLogger(__name__)


async def held_destinations(database: Database, now: datetime) -> list[Held]:
    """The destinations that are broken, or whose server has asked for a pause that still lasts; by name."""

    def work(_: Progress) -> list[Held]:
        with reading(database) as session:
            found = held(session)
        return [one for one in found if one.gate.broken_since or one.gate.closed_until > now]

    return await in_thread(work)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of the names that were asked for, each list in their order."""

    tried: list[str]
    """Broken destinations; one delivery of each is sent at once."""
    asked_to_wait: list[str]
    """Not broken: their servers have asked for a pause, and nothing was changed."""
    others: list[str]
    """Nothing holds them back, or nothing has that name."""


async def resume(database: Database, names: Sequence[str], *, by: str, now: datetime) -> Resumed:
    """Have each of these destinations tried at once, if it is broken. `now`: aware."""

    def work(_: Progress) -> Resumed:
        with writing(database) as session:
            gates = {one.destination: one.gate for one in held(session)}
            tried = [name for name in names if name in gates and gates[name].broken_since]
            for name in dict.fromkeys(tried):
                look_now(session, name, gates[name], now)
        asked_to_wait = [name for name in names if name in gates and name not in tried]
        return Resumed(tried, asked_to_wait, [name for name in names if name not in gates])

    done = await in_thread(work)
    for name in done.tried:
        log.info("%s resumes %s", by, name)
    return done
