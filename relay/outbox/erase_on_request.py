"""Erases chats on request, beside a relay that may be running. `retention` erases what is too old."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.clock import pause
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import State
from relay.outbox.digests import ERASED, ERASED_MUTE, ITS_CHAT, WAITS, name_of
from relay.outbox.mutes import end_mute, find_mute
from relay.outbox.schema import chats, deliveries, hooks, limits, mutes, set_aside
from relay.outbox.statements import Insert, Query, Statement, Statements, bound, inserted, is_queued
from relay.outbox.writer import Cursor
from relay.timing.plan import Timing

Name = tuple[str, str]
"""The name of a chat: the account and the chat's id."""
AT_ONCE = 25
"""Chats per transaction. 25 take about 5 ms, for which a hook may have to wait."""
REST = 2
"""The pause after a transaction, as a multiple of its duration.

Others that wait for SQLite's lock try only now and then.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Counts of what was erased of one chat."""

    hooks: int
    deliveries: int
    queued: int
    """How many of the deliveries had not been sent, and never will be."""


_named = (chats.c.account == sa.bindparam("account"), chats.c.chat == sa.bindparam("chat"))
_THIS = sa.select(chats.c.id).where(*_named)
# Locked where relays share a server, so that none of them claims one meanwhile; a file has one writer.
_STATES = (
    sa.select(deliveries.c.state)
    .where(deliveries.c.chat_id == sa.bindparam("this"))
    .with_for_update()
)
_HOOKS = sa.select(sa.func.count()).where(hooks.c.chat_id == sa.bindparam("this"))
_ERASE = sa.delete(chats).where(chats.c.id == sa.bindparam("this"))


def erase_chats(sessions: Sessions, names: Sequence[Name]) -> Generator[tuple[Name, Erased | None]]:
    """Erase chats with their hooks, deliveries and attempts.

    Yields each chat's name and counts; chats that do not exist are skipped. A chat that is being sent at this moment
    is not erased, and yields None: its message would be sent without a trace. Works in short transactions, so that a
    running relay can write in between. Raises StorageRefused and StorageUnavailable.
    """
    with sessions.writing_often() as transaction:
        for start in range(0, len(names), AT_ONCE):
            began = time.monotonic()
            with transaction() as session:
                erased = list(_erase(session, names[start : start + AT_ONCE]))
            yield from erased
            pause(REST * (time.monotonic() - began))


def _erase(session: Session, names: Iterable[Name]) -> Iterator[tuple[Name, Erased | None]]:
    find_chat, find_states, count_hooks, erase = (
        Statement(construct, session.dialect) for construct in (_THIS, _STATES, _HOOKS, _ERASE)
    )
    cursor = session.cursor
    for name in names:
        row = find_chat.run(cursor, account=name[0], chat=name[1]).fetchone()
        if row is None:
            continue
        states = [State(state) for (state,) in find_states.run(cursor, this=row[0]).fetchall()]
        if State.SENDING in states:
            yield name, None
            continue
        (count,) = count_hooks.run(cursor, this=row[0]).fetchone()
        digests = _note_in_digests(session.operations.sql, cursor, row[0])
        erase.run(cursor, this=row[0])
        _forget_empty(session.operations.sql, cursor, digests)
        queued = states.count(State.QUEUED) + states.count(State.SCHEDULED)
        yield name, Erased(hooks=count, deliveries=len(states), queued=queued)


# -- in digests -----------------------------------------------------------------------------------------------


def _note_erased(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    note = inserted(insert, limits, "destination", "recipient", "of", "window_from").values(used=1)
    return note.on_conflict_do_update(
        index_elements=["destination", "recipient", "of"], set_={"used": limits.c.used + 1}
    )


_NOTE_ERASED = Query(_note_erased)
_OF_CHAT = Query(
    sa.select(
        deliveries.c.destination,
        deliveries.c.recipient,
        sa.func.min(deliveries.c.due_at),
    )
    .where(deliveries.c.chat_id == bound("this"), *WAITS)
    .group_by(deliveries.c.destination, deliveries.c.recipient)
)
_DIGESTS_OF_CHAT = Query(
    sa.select(deliveries.c.digest_id)
    .where(deliveries.c.chat_id == bound("this"), deliveries.c.digest_id.is_not(None))
    .distinct()
)
_FORGET_DIGEST = Query(
    sa.delete(chats).where(
        *ITS_CHAT,
        ~sa.exists().where(deliveries.c.digest_id == bound("digest")),
        sa.exists().where(deliveries.c.chat_id == chats.c.id, is_queued),
    )
)


def _note_in_digests(sql: Statements, cursor: Cursor, chat_id: int) -> list[int]:
    """Count a chat that is about to be erased in the digests for which it waits.

    Returns the numbers of the closed digests that it is in.
    """
    for destination, recipient, due in sql[_OF_CHAT].run(cursor, this=chat_id).fetchall():
        sql[_NOTE_ERASED].run(
            cursor,
            destination=destination,
            recipient=recipient,
            of=f"{ERASED}{due}",
            window_from=due,
        )
    return [number for (number,) in sql[_DIGESTS_OF_CHAT].run(cursor, this=chat_id).fetchall()]


def _forget_empty(sql: Statements, cursor: Cursor, digests: Iterable[int]) -> None:
    """Delete the digests among `digests`, given by number, that are not sent yet and have no chat left."""
    for number in digests:
        sql[_FORGET_DIGEST].run(cursor, named=name_of(number), digest=number)


def erase_set_aside(session: Session, hook_id: int) -> bool:
    """Erase a hook that could not be read; False where there is none with this number."""
    gone = session.ask(sa.delete(set_aside).where(set_aside.c.id == hook_id))
    return bool(gone.rowcount == 1)


# -- mutes ---------------------------------------------------------------------------------------------------

_BLANK = Query(
    sa.update(mutes)
    .where(mutes.c.id == bound("mute_id"))
    .values(what=bound("no_longer"), because="erased", by="erased")
)


def erase_mute(
    sql: Statements,
    cursor: Cursor,
    number: int,
    *,
    by: str,
    timings: Mapping[str, Timing],
    now: datetime,
) -> bool:
    """End a mute and blank its words; the row stays.

    False where there is no such mute, or it comes from the rules file. `timings`: by destination, used to schedule
    the deliveries that the mute has held back.
    """
    kept = find_mute(sql, cursor, number)
    if kept is None or kept.origin == "file":
        return False
    end_mute(sql, cursor, number, by=by, timings=timings, now=now)
    sql[_BLANK].run(cursor, mute_id=number, no_longer=ERASED_MUTE)
    return True
