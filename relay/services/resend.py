"""Sends deliveries again on a person's request."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.chat import Chat
from relay.clock import Rest, pause
from relay.intake import message_id
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import Gate
from relay.outbox.history import ENDED_BADLY, Record, Wanted, find
from relay.outbox.mutes import lasting_mutes
from relay.outbox.pauses import Pause, pauses
from relay.outbox.requeue import REST, queue_again
from relay.services import Progress, in_thread, unwatched, write_in_thread
from relay.timing.plan import Mute

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resent:
    """The results for the requested deliveries."""

    queued: list[tuple[Record, Gate | None]]
    """By number: each delivery as it was before, and the gate of its destination if that is broken.

    A delivery that had ended is queued again, as a new message; one that waited is tried at once.
    """
    being_sent: list[int]
    """Numbers of deliveries that are being sent, which were not changed."""
    missing: list[int]
    paused: Mapping[str, Pause]
    """The pauses of destinations, by name: deliveries to them wait for the end of the pause."""
    mutes: Sequence[Mute]
    """The mutes in force, which do not hold back what is sent again."""


async def resend(sessions: Sessions, ids: Sequence[int], *, by: str, now: datetime) -> Resent:
    """Queue the deliveries with the numbers `ids` again. `now`: aware."""

    def work(session: Session) -> Resent:
        queued, being_sent = list[tuple[Record, Gate | None]](), list[int]()
        records = find(session, Wanted(ids=ids), limit=len(ids))
        for record in reversed(records):
            if before := _queue_again(session, record, now):
                gate = session.operations.gates(session.cursor).get(record.destination)
                queued.append((before, gate if gate and gate.broken_since else None))
            else:
                being_sent.append(record.id)
        sql, cursor = session.operations.sql, session.cursor
        paused = {name: each for name, each in pauses(sql, cursor).items() if each.lasts(now)}
        mutes = [each.mute for each in lasting_mutes(sql, cursor, now)]
        missing = sorted(set(ids) - {record.id for record in records})
        return Resent(queued, being_sent, missing, paused, mutes)

    done = await write_in_thread(sessions, work)
    for record, _ in done.queued:
        log.info("%s resends delivery %d to %s", by, record.id, record.destination)
    return done


RESENT_AT_ONCE = 20
"""Deliveries per transaction, for which a hook may have to wait."""


@dataclass(slots=True)
class ResentMany:
    """The progress of a request to send many deliveries again: how many were queued so far."""

    total: int
    queued: int = 0
    passed_by: int = 0
    """How many are no longer failed: somebody else has sent them again, or they were erased."""

    @property
    def left(self) -> int:
        """How many deliveries were not looked at yet."""
        return self.total - self.queued - self.passed_by


async def resend_failed(
    sessions: Sessions,
    ids: Sequence[int],
    done: ResentMany,
    *,
    by: str,
    now: datetime,
    rest: Rest = pause,
    progress: Progress = unwatched,
) -> None:
    """Queue again the deliveries in `ids` that ended badly, in short transactions, between which hooks are stored.

    `done` counts what is committed. If the task is cancelled, the current transaction is finished, and the rest is
    left.
    """

    def work(report: Progress) -> None:
        for start in range(0, len(ids), RESENT_AT_ONCE):
            report(done.queued + done.passed_by, done.total)
            page, began = ids[start : start + RESENT_AT_ONCE], time.monotonic()
            with sessions.writing() as session:
                records = find(session, Wanted(ids=page), limit=len(page))
                queued = sum(
                    queue_again(session, record, _next_message_id(record), now)
                    for record in reversed(records)
                    if record.state in ENDED_BADLY
                )
            done.queued += queued
            done.passed_by += len(page) - queued
            rest(REST * (time.monotonic() - began))
        report(done.queued + done.passed_by, done.total)

    await in_thread(work, progress)
    log.info("%s resends %d deliveries that had failed", by, done.queued)


def _queue_again(session: Session, record: Record, now: datetime) -> Record | None:
    """Queue a delivery again; returns it as it was before, or None if it is being sent.

    A request at the same time may change it first: this one waits for that commit, and reads the delivery again.
    """
    if queue_again(session, record, _next_message_id(record), now):
        return record
    for latest in find(session, Wanted(ids=[record.id]), limit=1):
        if queue_again(session, latest, _next_message_id(latest), now):
            return latest
    return None


def _next_message_id(record: Record) -> str:
    return message_id(
        Chat(account=record.account, id=record.chat),
        rule=record.rule,
        destination=record.destination,
        recipient=record.recipient,
        domain=record.message_id.rpartition("@")[2],
        generation=record.generation + 1,
    )
