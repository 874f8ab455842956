"""Destinations that have to wait: lists them, pauses one, resumes one or tries it at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.outbox.database_session import Session, Sessions
from relay.outbox.history import Held, held
from relay.outbox.pauses import Pause, end_pauses, pauses
from relay.outbox.pauses import pause as pause_in
from relay.outbox.requeue import look_now, waiting
from relay.services import read_in_thread, write_in_thread

LONGEST_PAUSE = timedelta(days=366)
"""The longest time that a pause with an end may last."""

log = logging.getLogger(__name__)


async def held_destinations(sessions: Sessions, now: datetime) -> list[Held]:
    """The destinations that are broken, or whose server has asked to wait until after `now`; by name."""
    destinations = await read_in_thread(sessions, held)
    return [each for each in destinations if each.gate.broken_since or each.gate.closed_until > now]


@dataclass(frozen=True, slots=True)
class Paused:
    """A destination that somebody has paused."""

    destination: str
    pause: Pause
    queued: int
    """How many deliveries wait for it."""


async def paused_destinations(sessions: Sessions, now: datetime) -> list[Paused]:
    """The destinations with a pause that lasts at `now`, aware, by name."""
    return await read_in_thread(sessions, lambda session: paused_in(session, now))


def paused_in(session: Session, now: datetime) -> list[Paused]:
    """The destinations with a pause that lasts at `now`, by name; read in an open session."""
    by_name, queued = pauses(session.operations.sql, session.cursor), waiting(session)
    return [Paused(name, p, queued.get(name, 0)) for name, p in by_name.items() if p.lasts(now)]


async def pause(sessions: Sessions, name: str, paused: Pause) -> None:
    """Send nothing to a destination from now on; replaces an earlier pause of it."""
    await write_in_thread(
        sessions, lambda session: pause_in(session.operations.sql, session.cursor, name, paused)
    )
    log.info("%s pauses %s", paused.by, name)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The result of resuming destinations: their names, in the order of the request."""

    no_longer_paused: list[str]
    """Destinations whose pause was ended: what waits is sent, unless the destination is broken."""
    tried: list[str]
    """Broken destinations, to each of which one delivery is sent at once."""
    asked_to_wait: list[str]
    """Destinations whose servers have asked to wait; nothing was changed."""
    others: list[str]
    """Names that nothing has, or destinations that nothing holds back."""


async def resume(sessions: Sessions, names: Sequence[str], *, by: str, now: datetime) -> Resumed:
    """End the pause of each destination in `names`, and try it at once if it is broken. `now`: aware."""

    def work(session: Session) -> Resumed:
        sql, cursor = session.operations.sql, session.cursor
        ended = end_pauses(sql, cursor, dict.fromkeys(names), now, early=True)
        gates = {each.destination: each.gate for each in held(session)}
        tried = [name for name in names if name in gates and gates[name].broken_since]
        for name in dict.fromkeys(tried):
            look_now(session, name, gates[name], now)
        asked_to_wait = [name for name in names if name in gates and name not in tried]
        others = [name for name in names if name not in gates and name not in ended]
        return Resumed(ended, tried, asked_to_wait, others)

    done = await write_in_thread(sessions, work)
    for name in dict.fromkeys((*done.no_longer_paused, *done.tried)):
        log.info("%s resumes %s", by, name)
    return done
