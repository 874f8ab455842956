"""Reads the outbox's history for people: deliveries, attempts, hooks, and destinations that have to wait."""

import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relay.outbox.database_session import Session
from relay.outbox.delivery_types import Gate, State, from_ms, is_alert, maybe_time, to_ms, unpacked
from relay.outbox.pace import hours, read_hours
from relay.outbox.pauses import is_closed
from relay.outbox.schema import (
    TROUBLED,
    attempts,
    chats,
    deliveries,
    digests,
    gates,
    hook_bodies,
    hooks,
    set_aside,
)
from relay.outbox.statements import LIVE, chat_is_alert, is_any, is_in, is_queued

ENDED_BADLY = (State.FAILED, State.MAYBE_DELIVERED, State.QUARANTINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A delivery as the history shows it."""

    id: int
    account: str
    chat: str
    visitor: str
    hook_id: int
    rule: str
    template: str
    destination: str
    recipient: str
    message_id: str
    generation: int
    """1, plus one for each time that it was sent again by hand."""
    state: State
    created_at: datetime
    due_at: datetime
    """The earliest time of the next attempt while queued; the time of release while scheduled."""
    settled_at: datetime | None
    released_at: datetime | None
    """When a delivery that had been scheduled was queued; None where it was queued at once."""
    attempts: int
    detail: str
    """The server's last answer, or why the delivery was given up."""
    instead_of: str
    """The destination that failed, where this delivery goes to its fallback; else empty."""
    why: str
    """Why it was not queued at once: `hours`, `send`, `limit`, `muted:3`, `skip` or `once per visitor`; empty if it was."""
    digest: int | None
    """The number of the delivery that is the digest with this delivery's chat; None where it is in none."""

    @property
    def is_alert(self) -> bool:
        """Whether it is an alert of the relay's own, not about a chat."""
        return is_alert(self.account, self.chat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a delivery, as the history shows it."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    ending: str
    """The value of an `Ending`, or `lost` where the process died; empty while the attempt is being made."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHook:
    """A stored hook with its bytes."""

    id: int
    account: str
    chat: str
    received_at: datetime
    rules_hash: str
    """The hash of the rules file by which it was last checked."""
    trouble: str
    body: bytes
    verdicts: bytes
    """The rules' verdicts as stored; empty where the rules could not be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A hook that could not be read when it came."""

    id: int
    received_at: datetime
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter for deliveries; an empty field does not restrict."""

    ids: Sequence[int] = ()
    states: Sequence[State] = ()
    destination: str = ""
    rule: str = ""
    chats: Sequence[tuple[str, str]] = ()
    """Only deliveries about these chats, each named by account and id."""
    chat_ids: Sequence[int] = ()
    """The ids of the chats' rows, as a quicker way to name many chats."""
    since: datetime | None = None
    before: int | None = None
    """Only deliveries with a lower number. (`since`: only those created then or later.)"""
    alerts: bool = False
    """Whether only alerts about the relay itself are wanted."""

    def conditions(self) -> Iterable[sa.ColumnElement[bool] | sa.TextClause]:
        """The SQL conditions that the wanted deliveries meet."""
        if self.ids:
            yield is_any(deliveries.c.id, self.ids)
        if self.states and set(self.states) <= set(ENDED_BADLY):
            yield sa.text(TROUBLED)  # spelled so that the index of the few is used
        if self.states:
            yield is_in(self.states)
        if self.destination:
            yield deliveries.c.destination == self.destination
        if self.rule:
            yield deliveries.c.rule == self.rule
        yield from self._of_chats()
        if self.since:
            yield deliveries.c.created_at >= to_ms(self.since)
        if self.before is not None:
            yield deliveries.c.id < self.before
        if self.alerts:
            yield chat_is_alert

    def _of_chats(self) -> Iterable[sa.ColumnElement[bool]]:
        if self.chats:
            yield is_named(self.chats)
        if self.chat_ids:
            yield is_any(deliveries.c.chat_id, self.chat_ids)


def is_chat(account: str, chat: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions that match the row of `chats` with this account and id."""
    return chats.c.account == account, chats.c.chat == chat


def is_named(names: Collection[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """A condition that matches the rows of `chats` whose account and id are one of `names`."""
    # SQLAlchemy drops `false` where it is ORed with another condition; `or_(false)` would become `OR 0 = 1`, which prevents the index.
    return sa.or_(*(sa.and_(*is_chat(*name)) for name in names)) if names else sa.false()


_digest = (
    sa.select(digests.c.delivery_id).where(digests.c.id == deliveries.c.digest_id).scalar_subquery()
)
_RECORD = (
    *(deliveries.c.id, chats.c.account, chats.c.chat, chats.c.visitor, deliveries.c.hook_id),
    *(deliveries.c.rule, deliveries.c.template, deliveries.c.destination, deliveries.c.recipient),
    *(deliveries.c.message_id, deliveries.c.generation, deliveries.c.state),
    *(deliveries.c.created_at, deliveries.c.due_at, deliveries.c.settled_at),
    deliveries.c.released_at,
    *(deliveries.c.attempts, deliveries.c.detail, deliveries.c.instead_of, deliveries.c.why),
    _digest.label("digest"),
)
_FIELDS = [each.name for each in fields(Record)]
"""The names of Record's fields, in the order of the columns _RECORD."""
_TIMES = ("created_at", "due_at", "settled_at", "released_at")


def find(session: Session, wanted: Wanted, *, limit: int) -> list[Record]:
    """The newest `limit` of the wanted deliveries, newest first."""
    with_chats = deliveries.join(chats, chats.c.id == deliveries.c.chat_id)
    newest = deliveries.c.id.desc()
    # A sum, which no index has: else SQLite would search all deliveries from the newest on for these few.
    few_first = (deliveries.c.id + 0).desc() if {*wanted.states} & LIVE.keys() else newest
    # First the numbers, then the details: of many deliveries that ended badly only a few are shown.
    ids = (
        sa.select(deliveries.c.id)
        .select_from(with_chats if wanted.chats or wanted.alerts else deliveries)
        .where(*wanted.conditions())
        .order_by(few_first)
        .limit(limit)
    )
    question = (
        sa.select(*_RECORD)
        .select_from(with_chats)
        .where(deliveries.c.id.in_(ids.subquery().select()))
        .order_by(newest)
    )
    return [_record(row) for row in session.ask(question).fetchall()]


def _record(row: Sequence[Any]) -> Record:
    values = dict(zip(_FIELDS, row, strict=True))
    times = {name: maybe_time(values[name]) for name in _TIMES}
    return Record(**{**values, **times, "state": State(values["state"])})


_ATTEMPT = (
    *(attempts.c.delivery_id, attempts.c.number, attempts.c.started_at, attempts.c.ended_at),
    *(attempts.c.ending, attempts.c.detail),
)


def attempts_at(session: Session, delivery_id: int) -> list[Attempt]:
    """All attempts at a delivery, oldest first."""
    question = sa.select(*_ATTEMPT).where(attempts.c.delivery_id == delivery_id)
    return _attempts(session, question).get(delivery_id, [])


def attempts_for(session: Session, names: Sequence[tuple[str, str]]) -> dict[int, list[Attempt]]:
    """All attempts at the deliveries of chats, oldest first, by the number of the delivery. `names`: account and id of each chat."""
    of_chats = deliveries.join(chats, chats.c.id == deliveries.c.chat_id)
    theirs = attempts.join(of_chats, deliveries.c.id == attempts.c.delivery_id)
    return _attempts(session, sa.select(*_ATTEMPT).select_from(theirs).where(is_named(names)))


def _attempts(session: Session, question: sa.Select[Any]) -> dict[int, list[Attempt]]:
    by_delivery: dict[int, list[Attempt]] = {}
    in_order = question.order_by(attempts.c.delivery_id, attempts.c.number)
    for delivery, number, started, ended, ending, detail in session.ask(in_order).fetchall():
        attempt = Attempt(
            number=number,
            started_at=from_ms(started),
            ended_at=maybe_time(ended),
            ending=ending or "",
            detail=detail if ending else "",  # until then it names the relay that makes it
        )
        by_delivery.setdefault(delivery, []).append(attempt)
    return by_delivery


def hooks_set_aside(session: Session, *, ids: Sequence[int] = (), limit: int) -> list[SetAside]:
    """The newest `limit` hooks that could not be read, newest first; with `ids` only those."""
    columns = (set_aside.c.id, set_aside.c.received_at, set_aside.c.reason, set_aside.c.body)
    question = sa.select(*columns).order_by(set_aside.c.id.desc()).limit(limit)
    if ids:
        question = question.where(is_any(set_aside.c.id, ids))
    return [
        SetAside(id=id_, received_at=from_ms(at), reason=reason, body=zlib.decompress(body))
        for id_, at, reason, body in session.ask(question)
    ]


def stored_hooks(
    session: Session,
    *,
    ids: Sequence[int] = (),
    names: Sequence[tuple[str, str]] = (),
    chat_ids: Sequence[int] = (),
) -> list[StoredHook]:
    """The hooks with these ids, and all hooks of the chats with these names (account and id), oldest first."""
    columns = (
        *(hooks.c.id, chats.c.account, chats.c.chat, hooks.c.received_at),
        *(hooks.c.rules_hash, hooks.c.trouble, hook_bodies.c.body, hook_bodies.c.verdicts),
    )
    question = (
        sa.select(*columns)
        .join_from(hooks, chats, chats.c.id == hooks.c.chat_id)
        .join(hook_bodies, hook_bodies.c.hook_id == hooks.c.id)
        .where(sa.or_(is_any(hooks.c.id, ids), is_any(hooks.c.chat_id, chat_ids), is_named(names)))
        .order_by(hooks.c.id)
    )
    return [_stored(row) for row in session.ask(question).fetchall()]


def _stored(row: tuple[Any, ...]) -> StoredHook:
    id_, account, chat, at, rules_hash, trouble, body, verdicts = row
    return StoredHook(
        id=id_,
        account=account,
        chat=chat,
        received_at=from_ms(at),
        rules_hash=rules_hash,
        trouble=trouble,
        body=zlib.decompress(body),
        verdicts=unpacked(verdicts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A destination that has to wait, with its gate."""

    destination: str
    gate: Gate
    queued: int
    """How many deliveries wait for the destination."""


def held(session: Session) -> list[Held]:
    """All destinations whose gate is closed, as they are broken or asked the relay to wait, sorted by name."""
    columns = (gates.c.destination, gates.c.closed_until, gates.c.broken_since, gates.c.reason)
    waiting = (
        sa.select(sa.func.count())
        .where(is_queued, deliveries.c.destination == gates.c.destination)
        .scalar_subquery()
    )
    question = sa.select(*columns, waiting).where(is_closed).order_by(gates.c.destination)
    return [
        Held(
            destination=name,
            gate=Gate(from_ms(until), maybe_time(broken), reason),
            queued=queued,
        )
        for name, until, broken, reason, queued in session.ask(question).fetchall()
    ]


@dataclass(frozen=True, slots=True)
class Full:
    """A destination that has reached its hourly limit."""

    destination: str
    most: int
    queued: int
    more_at: datetime


def full(session: Session, now: datetime) -> list[Full]:
    """All destinations for which deliveries wait because of the hourly limit, sorted by name."""
    by_destination = hours(session.ask(read_hours).fetchall(), now)
    spent = {name: hour for name, hour in by_destination.items() if not hour.left}
    waiting = (
        sa.select(deliveries.c.destination, sa.func.count())
        .where(is_queued)
        .group_by(deliveries.c.destination)
        .order_by(deliveries.c.destination)
    )
    rows = session.ask(waiting).fetchall() if spent else ()
    return [
        Full(name, spent[name].most, queued, spent[name].more_at)
        for name, queued in rows
        if name in spent
    ]
