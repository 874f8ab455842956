"""Stores the present problems of the relay itself, so that each leads to one alert, and one more when it is over.

The methods take a cursor inside the caller's transaction, like those of `Operations`.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.outbox.delivery_types import State, from_ms, maybe_time, storable, to_ms
from relay.outbox.schema import TROUBLED, chats, deliveries, hook_bodies, marks, troubles
from relay.outbox.statements import (
    Insert,
    Query,
    Statement,
    Statements,
    bound,
    chat_is_alert,
    inserted,
    is_queued,
    text,
)
from relay.outbox.writer import Cursor

REPORTED_UNTIL = "failures told until: "
"""Prefix of a mark, followed by a destination's name: up to when alerts were sent about its failures."""

_this = sa.and_(troubles.c.kind == bound("of_kind"), troubles.c.subject == bound("of_subject"))
_is_troubled = sa.text(TROUBLED)
_with_chat = deliveries.join(chats, chats.c.id == deliveries.c.chat_id)
_untold = (
    sa.select(
        deliveries.c.destination,
        deliveries.c.state,
        sa.func.count(),
        sa.func.min(deliveries.c.settled_at),
        sa.func.max(deliveries.c.id),
    )
    .select_from(
        _with_chat.outerjoin(marks, marks.c.name == text("reported") + deliveries.c.destination)
    )
    .where(
        _is_troubled,
        deliveries.c.settled_at > bound("after"),
        deliveries.c.settled_at <= bound("until"),
        deliveries.c.settled_at > sa.func.coalesce(marks.c.at, 0),
        # A failed alert raises no other alert.
        ~chat_is_alert,
    )
    .group_by(deliveries.c.destination, deliveries.c.state)
)
_TROUBLES = Query(
    sa.select(
        *(troubles.c.kind, troubles.c.subject, troubles.c.since, troubles.c.gone_at),
        *(troubles.c.waiting, troubles.c.why, troubles.c.told),
    )
)
_OPEN_TROUBLE = Query(
    lambda insert: inserted(
        insert, troubles, "kind", "subject", "since", "waiting", "why", "told"
    ).on_conflict_do_nothing()
)
_NOTE_TROUBLE = Query(
    sa.update(troubles)
    .where(_this)
    .values(
        gone_at=sa.bindparam("gone", type_=sa.BigInteger),
        waiting=bound("now_waiting"),
        why=bound("now_why"),
        told=bound("now_alerted"),
    )
)
_CLOSE_TROUBLE = Query(sa.delete(troubles).where(_this, troubles.c.since == bound("began")))
_MARKS = Query(sa.select(marks.c.name, marks.c.at))


def _set_mark(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    mark = inserted(insert, marks, "name", "at")
    return mark.on_conflict_do_update(index_elements=["name"], set_={"at": mark.excluded.at})


SET_MARK = Query(_set_mark)
_FAILED_LATELY = Query(_untold)
_ALERT_DELIVERIES = Query(
    sa.select(
        *(deliveries.c.destination, deliveries.c.recipient, deliveries.c.state),
        *(deliveries.c.detail, deliveries.c.created_at),
    )
    .select_from(_with_chat)
    .where(chat_is_alert, chats.c.chat == bound("of_alert"), deliveries.c.rule == bound("of_rule"))
    .order_by(deliveries.c.id)
)
_FAILED_ALERTS = Query(
    sa.select(chats.c.chat, hook_bodies.c.body)
    .select_from(_with_chat.join(hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id))
    .where(
        _is_troubled,
        deliveries.c.settled_at > bound("after"),
        chat_is_alert,
        deliveries.c.rule == bound("of_rule"),
    )
)
_WORDS_OF_FAILED = Query(
    sa.select(deliveries.c.detail).where(deliveries.c.id == bound("delivery_id"))
)
_WORDS_OF_QUEUED = Query(
    sa.select(deliveries.c.detail)
    .where(is_queued, deliveries.c.destination == bound("destination"), deliveries.c.detail != "")
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A problem of the relay. There is at most one of each kind for a subject."""

    kind: str
    subject: str
    """The name of a destination, or the mailbox that fails; empty where there is only one."""
    since: datetime
    why: str = ""
    """The last error message, without secrets."""
    waiting: int = 0
    """The largest number of deliveries that were seen to wait for its end."""
    alerted: tuple[str, ...] = ()
    """The destinations for which an alert about it was queued."""
    gone_at: datetime | None = None
    """When it was first not seen any more; None while it is seen."""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Deliveries to one destination that ended in one bad state, about which no alert was sent."""

    destination: str
    state: State
    count: int
    first: datetime
    newest: int
    """The number of the newest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDelivery:
    """An alert's delivery to one recipient."""

    destination: str
    recipient: str
    state: State
    detail: str
    """How its last attempt ended, in words."""
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Troubles:
    """Stores problems and reads alerts, with the statements of one database dialect."""

    sql: Statements

    def known(self, cursor: Cursor) -> dict[tuple[str, str], Trouble]:
        rows = (
            Trouble(
                kind=kind,
                subject=subject,
                since=from_ms(since),
                gone_at=maybe_time(gone),
                waiting=waiting,
                why=why,
                alerted=tuple(json.loads(alerted)),
            )
            for kind, subject, since, gone, waiting, why, alerted in self.sql[_TROUBLES]
            .run(cursor)
            .fetchall()
        )
        return {trouble.key: trouble for trouble in rows}

    def open(self, cursor: Cursor, trouble: Trouble) -> bool:
        """Store a problem; returns whether it was new. Of several relays that see it at once, only one gets True."""
        done = self.sql[_OPEN_TROUBLE].run(
            cursor,
            kind=trouble.kind,
            subject=trouble.subject,
            since=to_ms(trouble.since),
            waiting=trouble.waiting,
            why=storable(trouble.why),
            told=json.dumps(trouble.alerted),
        )
        return bool(done.rowcount == 1)

    def note(self, cursor: Cursor, trouble: Trouble) -> None:
        self.sql[_NOTE_TROUBLE].run(
            cursor,
            of_kind=trouble.kind,
            of_subject=trouble.subject,
            gone=None if trouble.gone_at is None else to_ms(trouble.gone_at),
            now_waiting=trouble.waiting,
            now_why=storable(trouble.why),
            now_alerted=json.dumps(trouble.alerted),
        )

    def close(self, cursor: Cursor, trouble: Trouble) -> bool:
        """Delete a problem that is over; returns whether it was stored. Of several relays only one gets True."""
        done = self.sql[_CLOSE_TROUBLE].run(
            cursor, of_kind=trouble.kind, of_subject=trouble.subject, began=to_ms(trouble.since)
        )
        return bool(done.rowcount == 1)

    def marks(self, cursor: Cursor) -> dict[str, datetime]:
        """Stored times by their names."""
        return {name: from_ms(at) for name, at in self.sql[_MARKS].run(cursor).fetchall()}

    def set_mark(self, cursor: Cursor, name: str, at: datetime) -> None:
        self.sql[SET_MARK].run(cursor, name=name, at=to_ms(at))

    def failures(self, cursor: Cursor, after: datetime, until: datetime) -> Iterable[Failures]:
        """Failures settled after `after` and until `until`, about which no alert was sent; without failed alerts."""
        failed = self.sql[_FAILED_LATELY].run(
            cursor, after=to_ms(after), until=to_ms(until), reported=REPORTED_UNTIL
        )
        return [
            Failures(
                destination=destination,
                state=State(state),
                count=count,
                first=from_ms(first),
                newest=newest,
            )
            for destination, state, count, first, newest in failed.fetchall()
        ]

    def alert_deliveries(self, cursor: Cursor, alert: str, rule: str) -> list[AlertDelivery]:
        """The deliveries of one alert, also those to fallbacks. `alert` is the id of its chat, `rule` its rule."""
        rows = self.sql[_ALERT_DELIVERIES].run(cursor, of_alert=alert, of_rule=rule).fetchall()
        return [
            AlertDelivery(
                destination=destination,
                recipient=recipient,
                state=State(state),
                detail=detail,
                queued_at=from_ms(created),
            )
            for destination, recipient, state, detail, created in rows
        ]

    def failed_alerts(self, cursor: Cursor, rule: str, after: datetime) -> dict[str, bytes]:
        """Alerts of which a delivery has ended badly since `after`: their stored bodies, by name."""
        rows = self.sql[_FAILED_ALERTS].run(cursor, of_rule=rule, after=to_ms(after)).fetchall()
        return {name: zlib.decompress(body) for name, body in rows}

    def words_of_failed(self, cursor: Cursor, delivery_id: int) -> str:
        """The last error of a delivery that ended badly; empty where it is gone."""
        return _word(self.sql[_WORDS_OF_FAILED], cursor, delivery_id=delivery_id)

    def words_of_queued(self, cursor: Cursor, destination: str) -> str:
        """The last error of a delivery that waits for a destination; empty where none was tried."""
        return _word(self.sql[_WORDS_OF_QUEUED], cursor, destination=destination)


def _word(statement: Statement, cursor: Cursor, **parameters: object) -> str:
    row = statement.run(cursor, **parameters).fetchone()
    return str(row[0]) if row else ""


def reported_until(marks: Mapping[str, datetime], destination: str) -> datetime | None:
    """Up to when alerts were sent about failures at a destination; None for never."""
    return marks.get(REPORTED_UNTIL + destination)
