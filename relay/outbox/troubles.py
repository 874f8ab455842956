"""What is wrong with the relay itself, as the outbox remembers it: so that there is one alert, and one more when it is over.

Like `Operations`: a cursor and values in, values out, inside a transaction that the caller owns.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.outbox.rows import State, from_ms, maybe_time, storable, to_ms
from relay.outbox.statements import Statement, Statements
from relay.outbox.trouble_statements import TOLD_UNTIL
from relay.outbox.writer import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong. There is at most one of a kind for a subject."""

    kind: str
    subject: str
    """A destination, or the box that it happens on; empty where there is only one."""
    since: datetime
    why: str = ""
    """What was said last; no secrets."""
    waiting: int = 0
    """The most deliveries that were seen to wait for its end."""
    told: tuple[str, ...] = ()
    """The destinations to which an alert about it is owed, or was."""
    gone_at: datetime | None = None
    """When it was no longer seen; None while it is."""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Deliveries to one destination that ended in the same bad state, and of which nobody has heard."""

    destination: str
    state: State
    count: int
    first: datetime
    newest: int
    """The id of one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDelivery:
    """An alert on its way to one recipient."""

    destination: str
    recipient: str
    state: State
    detail: str
    """How its last attempt ended, in words."""
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Troubles:
    """The acts, over one dialect's statements."""

    sql: Statements

    def known(self, cursor: Cursor) -> dict[tuple[str, str], Trouble]:
        found = (
            Trouble(
                kind=kind,
                subject=subject,
                since=from_ms(since),
                gone_at=maybe_time(gone),
                waiting=waiting,
                why=why,
                told=tuple(json.loads(told)),
            )
            for kind, subject, since, gone, waiting, why, told in self.sql.troubles.run(
                cursor
            ).fetchall()
        )
        return {trouble.key: trouble for trouble in found}

    def open(self, cursor: Cursor, trouble: Trouble) -> bool:
        """Whether it was not known: of several relays that see it at once, one hears yes."""
        done = self.sql.open_trouble.run(
            cursor,
            kind=trouble.kind,
            subject=trouble.subject,
            since=to_ms(trouble.since),
            waiting=trouble.waiting,
            why=storable(trouble.why),
            told=json.dumps(trouble.told),
        )
        return bool(done.rowcount == 1)

    def note(self, cursor: Cursor, trouble: Trouble) -> None:
        self.sql.note_trouble.run(
            cursor,
            of_kind=trouble.kind,
            of_subject=trouble.subject,
            gone=None if trouble.gone_at is None else to_ms(trouble.gone_at),
            now_waiting=trouble.waiting,
            now_why=storable(trouble.why),
            now_told=json.dumps(trouble.told),
        )

    def close(self, cursor: Cursor, trouble: Trouble) -> bool:
        """Whether it was known: of several relays that see its end, one hears yes."""
        done = self.sql.close_trouble.run(
            cursor, of_kind=trouble.kind, of_subject=trouble.subject, began=to_ms(trouble.since)
        )
        return bool(done.rowcount == 1)

    def marks(self, cursor: Cursor) -> dict[str, datetime]:
        """Moments that were to be remembered, by name."""
        return {name: from_ms(at) for name, at in self.sql.marks.run(cursor).fetchall()}

    def set_mark(self, cursor: Cursor, name: str, at: datetime) -> None:
        self.sql.set_mark.run(cursor, name=name, at=to_ms(at))

    def failures(self, cursor: Cursor, after: datetime, until: datetime) -> Iterable[Failures]:
        """What ended badly in between and has had no alert yet; alerts themselves aside."""
        rows = self.sql.failed_lately.run(
            cursor, after=to_ms(after), until=to_ms(until), told_until=TOLD_UNTIL
        ).fetchall()
        return [
            Failures(
                destination=destination,
                state=State(state),
                count=count,
                first=from_ms(first),
                newest=newest,
            )
            for destination, state, count, first, newest in rows
        ]

    def alert_deliveries(self, cursor: Cursor, alert: str, rule: str) -> list[AlertDelivery]:
        """The deliveries of one alert, also at fallbacks. `alert` and `rule` stand where chats have an id and a rule's name."""
        rows = self.sql.alert_deliveries.run(cursor, of_alert=alert, of_rule=rule).fetchall()
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
        """Alerts of which a delivery has ended badly since, by name, each as it was kept."""
        rows = self.sql.failed_alerts.run(cursor, of_rule=rule, after=to_ms(after)).fetchall()
        return {name: zlib.decompress(body) for name, body in rows}

    def words_of_failed(self, cursor: Cursor, delivery_id: int) -> str:
        """Why it ended so."""
        return _word(self.sql.words_of_failed, cursor, delivery_id=delivery_id)

    def words_of_owed(self, cursor: Cursor, destination: str) -> str:
        """What was said last of one that waits; empty where none was tried."""
        return _word(self.sql.words_of_owed, cursor, destination=destination)


def _word(statement: Statement, cursor: Cursor, **parameters: object) -> str:
    row = statement.run(cursor, **parameters).fetchone()
    return str(row[0]) if row else ""


def told_until(marks: Mapping[str, datetime], destination: str) -> datetime | None:
    """Up to when somebody has heard of what failed there."""
    return marks.get(TOLD_UNTIL + destination)
