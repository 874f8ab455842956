"""Finds deliveries: lists, single ones with each attempt, and why some of them wait."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from relay.delivery.retry import HELD_BACK
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import State, from_ms
from relay.outbox.history import (
    ENDED_BADLY,
    Attempt,
    Full,
    Held,
    Record,
    SetAside,
    Wanted,
    attempts_at,
    find,
    full,
    held,
    hooks_set_aside,
    stored_hooks,
)
from relay.outbox.schema import deliveries
from relay.outbox.statements import is_unsettled
from relay.rules import RuleBook
from relay.services import read_in_thread
from relay.services.pause_and_resume import Paused, paused_in
from relay.transports import Ending

_WAITING = {State.QUEUED, State.SCHEDULED}
_UNSURE = {Ending.MAYBE_DELIVERED, "lost"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the deliveries that were found, newest first."""

    deliveries: list[Record]
    more: bool
    """Whether there are older matches."""


async def list_deliveries(sessions: Sessions, wanted: Wanted, *, limit: int) -> Listed:
    """The newest `limit` of the wanted deliveries."""
    records = await read_in_thread(sessions, lambda session: find(session, wanted, limit=limit + 1))
    return Listed(records[:limit], len(records) > limit)


@dataclass(frozen=True, slots=True)
class Details:
    """A delivery with its attempts, oldest first."""

    delivery: Record
    attempts: list[Attempt]

    @property
    def maybe_repeated(self) -> list[int]:
        """The numbers of attempts whose answer was lost and which were repeated."""
        sent = [attempt for attempt in self.attempts if attempt.detail != HELD_BACK]
        return [attempt.number for attempt in sent[:-1] if attempt.ending in _UNSURE]


async def delivery_details(sessions: Sessions, ids: Sequence[int]) -> list[Details]:
    """The deliveries with these numbers, newest first; missing ones are left out."""

    def work(session: Session) -> list[Details]:
        records = find(session, Wanted(ids=ids), limit=len(ids))
        return [Details(record, attempts_at(session, record.id)) for record in records]

    return await read_in_thread(sessions, work)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Destinations for which deliveries wait for a reason other than their own failure."""

    broken: list[Held]
    full: list[Full]
    """Destinations that have reached their hourly limit."""
    paused: list[Paused]
    """Destinations that somebody has paused."""

    def only(self, destination: str) -> "Waiting":
        """The part that is about one destination."""
        return Waiting(
            [each for each in self.broken if each.destination == destination],
            [each for each in self.full if each.destination == destination],
            [each for each in self.paused if each.destination == destination],
        )


async def waiting_destinations(sessions: Sessions, now: datetime) -> Waiting:
    """The destinations for which deliveries wait, each list by name. `now`: aware."""

    def work(session: Session) -> Waiting:
        broken = [each for each in held(session) if each.gate.broken_since and each.queued]
        return Waiting(broken, full(session, now), paused_in(session, now))

    return await read_in_thread(sessions, work)


async def unreadable_posts(
    sessions: Sessions, *, ids: Sequence[int] = (), limit: int
) -> list[SetAside]:
    """The newest `limit` hooks that could not be read, newest first; with `ids` only those."""
    return await read_in_thread(
        sessions, lambda session: hooks_set_aside(session, ids=ids, limit=limit)
    )


@dataclass(frozen=True, slots=True)
class FailedGroup:
    """Deliveries to one destination that ended badly with the same error, newest first."""

    destination: str
    state: State
    detail: str
    """The server's last answer, or why the deliveries were given up."""
    deliveries: list[Record]

    @property
    def id(self) -> str:
        """The group's name in a URL: a hash, which reveals nothing of the server's answer."""
        words = f"{self.destination}\0{self.state.value}\0{self.detail}"
        return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16]


async def failed_by_cause(sessions: Sessions, *, limit: int) -> tuple[list[FailedGroup], bool]:
    """The newest `limit` deliveries that ended badly, in groups, largest first; and whether there are older ones."""
    listed = await list_deliveries(sessions, Wanted(states=ENDED_BADLY), limit=limit)
    groups: dict[tuple[str, State, str], FailedGroup] = {}
    for delivery in listed.deliveries:
        key = delivery.destination, delivery.state, delivery.detail
        groups.setdefault(key, FailedGroup(*key, [])).deliveries.append(delivery)
    return sorted(groups.values(), key=lambda group: -len(group.deliveries)), listed.more


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """A count of deliveries that wait for one destination in one state and for one reason."""

    destination: str
    state: State
    why: str
    """Why they were not queued at once; empty where they were."""
    count: int
    oldest: datetime
    next: datetime
    """When the first of them is due."""
    detail: str
    """The server's last answer about one of them; empty where none was tried."""


async def waiting_by_cause(sessions: Sessions) -> list[WaitingGroup]:
    """All deliveries that wait or are being sent, in groups, by destination."""
    columns = (deliveries.c.destination, deliveries.c.state, deliveries.c.why)
    question = (
        sa.select(
            *columns,
            sa.func.count(),
            sa.func.min(deliveries.c.created_at),
            sa.func.min(deliveries.c.due_at),
            sa.func.max(deliveries.c.detail),
        )
        .where(is_unsettled)
        .group_by(*columns)
        .order_by(*columns)
    )
    rows = await read_in_thread(sessions, lambda session: session.ask(question).fetchall())
    return [
        WaitingGroup(name, State(state), why, count, from_ms(oldest), from_ms(due), detail)
        for name, state, why, count, oldest, due, detail in rows
    ]


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A filter's name that does not exist."""

    kind: Literal["chat", "rule", "destination"]
    name: str
    known: list[str]
    """Names that may be meant: first the names in the rules, then the names in the history. Empty for chats."""


async def unknown_names(
    sessions: Sessions, wanted: Wanted, rules: RuleBook | None
) -> list[UnknownName]:
    """The names in `wanted` that neither the rules nor the history have. `rules`: None where the file can't be used."""
    asked: tuple[tuple[Literal["rule", "destination"], str, list[str]], ...] = (
        ("rule", wanted.rule, [rule.name for rule in rules.rules] if rules else []),
        ("destination", wanted.destination, [*rules.destinations] if rules else []),
    )

    def work(session: Session) -> list[UnknownName]:
        unknown = [
            UnknownName("chat", "/".join(name), [])
            for name in wanted.chats
            if not stored_hooks(session, names=[name])
        ]
        for kind, name, in_rules in asked:
            if not name or name in in_rules:
                continue
            known = _known(session, kind, in_rules)
            if name not in known:
                unknown.append(UnknownName(kind, name, known))
        return unknown

    return await read_in_thread(sessions, work)


def _known(session: Session, kind: str, in_rules: list[str]) -> list[str]:
    """The names in the rules, then those that only the history has. `kind`: the column of deliveries."""
    past = session.ask(sa.select(deliveries.c[kind]).distinct()).fetchall()
    return [*in_rules, *sorted({each for (each,) in past} - {*in_rules})]


# -- for programs --------------------------------------------------------------------------------------------


def about(record: Record) -> str:
    """The subject of a delivery: its chat, such as `208/910001`, or the id of an alert or a digest."""
    return record.chat if not record.account else f"{record.account}/{record.chat}"


def delivery_json(record: Record) -> dict[str, Any]:
    """A delivery as JSON for programs, with times in ISO 8601, UTC."""
    return {
        "id": record.id,
        "alert": record.is_alert,
        "chat": about(record),
        "visitor": record.visitor,
        "hook": record.hook_id,
        "rule": record.rule,
        "template": record.template,
        "destination": record.destination,
        "recipient": record.recipient,
        "state": record.state.value,
        "created_at": record.created_at.isoformat(),
        "due_at": record.due_at.isoformat() if record.state in _WAITING else None,
        "released_at": _iso(record.released_at),
        "why": record.why or None,
        "digest": record.digest,
        "settled_at": _iso(record.settled_at),
        "attempts": record.attempts,
        "detail": record.detail,
        "message_id": record.message_id,
        "generation": record.generation,
        "instead_of": record.instead_of or None,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON for programs."""
    return {
        "number": attempt.number,
        "started_at": attempt.started_at.isoformat(),
        "ended_at": _iso(attempt.ended_at),
        "ending": attempt.ending or None,
        "detail": attempt.detail,
    }


def details_json(details: Details) -> dict[str, Any]:
    """A delivery with its attempts as JSON for programs."""
    return {
        **delivery_json(details.delivery),
        "maybe_repeated": details.maybe_repeated,
        "tries": [attempt_json(each) for each in details.attempts],
    }


def set_aside_json(hook: SetAside) -> dict[str, Any]:
    """An unreadable hook as JSON for programs, with its bytes as text, in which invalid UTF-8 is replaced."""
    return {
        "id": hook.id,
        "received_at": hook.received_at.isoformat(),
        "reason": hook.reason,
        "size": len(hook.body),
        "body": hook.body.decode("utf-8", "replace"),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
