"""Deliveries that are sent once more because a person asks for it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.chat import Chat
from relay.intake import message_id
from relay.outbox.history import Record, Wanted, find, gate_of
from relay.outbox.requeue import queue_again
from relay.outbox.rows import Gate
from relay.outbox.session import writing
from relay.services import Progress, in_thread
from relay.settings.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resent:
    """What became of the ids that were asked for."""

    queued: list[tuple[Record, Gate | None]]
    """In the order of their ids: each delivery as it was before, and the gate of its destination if that is broken.

    One that had ended is queued again, as a new message; one that waited is tried at once.
    """
    being_sent: list[int]
    """These were left as they are."""
    missing: list[int]


async def resend(database: Database, ids: Sequence[int], *, by: str, now: datetime) -> Resent:
    """Queue these deliveries again. `now`: aware."""

    def work(_: Progress) -> Resent:
        queued, being_sent = list[tuple[Record, Gate | None]](), list[int]()
        with writing(database) as session:
            found = find(session, Wanted(ids=ids), limit=len(ids))
            for record in reversed(found):
                if queue_again(session, record, _next_message_id(record), now):
                    gate = gate_of(session, record.destination)
                    queued.append((record, gate if gate and gate.broken_since else None))
                else:
                    being_sent.append(record.id)
        return Resent(queued, being_sent, sorted(set(ids) - {record.id for record in found}))

    done = await in_thread(work)
    for record, _ in done.queued:
        log.info("%s resends delivery %d to %s", by, record.id, record.destination)
    return done


def _next_message_id(record: Record) -> str:
    return message_id(
        Chat(account=record.account, id=record.chat),
        rule=record.rule,
        destination=record.destination,
        recipient=record.recipient,
        domain=record.message_id.rpartition("@")[2],
        generation=record.generation + 1,
    )
