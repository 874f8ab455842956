"""Sends deliveries that wait for one destination to another on a person's request."""

import logging
from dataclasses import dataclass
from datetime import datetime

from relay.delivery.redirect import Redirect
from relay.outbox.database_session import Sessions
from relay.outbox.mutes import lasting_mutes
from relay.outbox.requeue import count_sending, reassign_all, waiting
from relay.rules import RuleBook
from relay.rules.reading.mute_reader import with_conditions
from relay.services import Progress, in_thread, read_in_thread, unwatched

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unsent:
    """How many deliveries to one destination have not ended."""

    waiting: int
    sending: int
    """How many are being sent right now, and can't be moved."""


async def waiting_deliveries(sessions: Sessions) -> dict[str, int]:
    """How many deliveries wait for each destination, by name."""
    return await read_in_thread(sessions, waiting)


async def unsent_deliveries(sessions: Sessions, destination: str) -> Unsent:
    """How many deliveries to this destination have not ended."""
    return await read_in_thread(
        sessions,
        lambda session: Unsent(
            waiting(session).get(destination, 0), count_sending(session, destination)
        ),
    )


async def move_deliveries(
    sessions: Sessions,
    rules: RuleBook,
    mail_domain: str,
    *,
    old: str,
    new: str,
    by: str,
    now: datetime,
    progress: Progress = unwatched,
) -> int:
    """Send what waits for `old` to each recipient of the destination `new`; returns how many were moved.

    Works in short transactions, between which a relay can write; those that are done stay. The history of each
    delivery says who moved it. Where `new` is muted they wait until the mute ends. `now`: aware.
    """

    def work(report: Progress) -> int:
        with sessions.reading() as session:
            total = waiting(session).get(old, 0)
            kept = lasting_mutes(session.operations.sql, session.cursor, now)
        mutes = [each.mute for each in kept]
        redirect = Redirect(with_conditions(rules, mutes), mail_domain, mutes)
        return reassign_all(
            sessions,
            old,
            lambda delivery: redirect.to_other(delivery, new, now),
            words=f"{new} gets it instead: {by}",
            now=now,
            between=lambda moved: report(moved, total),
        )

    moved = await in_thread(work, progress)
    log.info("%s moves deliveries from %s to %s: %d", by, old, new, moved)
    return moved
