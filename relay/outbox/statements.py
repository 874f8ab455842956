"""Every SQL statement of the outbox, built once with SQLAlchemy Core and compiled once per dialect.

They are run on the driver's own cursor: building and binding through SQLAlchemy at every hook costs more
than the rest of the hook together (shared/storage.md: 414 against 127 microseconds), and this way there is
still one place for the SQL and one for the schema.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from relay.outbox.schema import (
    TROUBLED,
    attempts,
    chats,
    deliveries,
    gates,
    hook_bodies,
    hooks,
    set_aside,
)

Row = Mapping[str, Any]


class Statement:
    """One compiled statement; `parameters` given at a call override those built into it."""

    def __init__(self, construct: sa.sql.expression.ClauseElement, dialect: Dialect) -> None:
        compiled = construct.compile(dialect=dialect)
        self.sql = str(compiled)
        self._built_in = {k: v for k, v in (compiled.params or {}).items() if v is not None}

    def run(self, cursor: Any, **parameters: Any) -> Any:  # noqa: ANN401 - any DB-API cursor
        """Execute and return the cursor."""
        return cursor.execute(self.sql, {**self._built_in, **parameters})

    def run_many(self, cursor: Any, rows: Iterable[Row]) -> None:  # noqa: ANN401
        cursor.executemany(self.sql, [{**self._built_in, **row} for row in rows])


# Written out, not bound: a partial index is only used where the statement spells its condition.
_owed: sa.ColumnElement[str] = sa.literal_column("'owed'")
_sending: sa.ColumnElement[str] = sa.literal_column("'sending'")
_is_owed = deliveries.c.state == _owed
_is_sending = deliveries.c.state == _sending


def _p(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name)


def _insert(table: sa.Table, *columns: str) -> sqlite.Insert:
    return sqlite.insert(table).values({column: _p(column) for column in columns})


_CHAT_COLUMNS = ("visitor", "began", "missed", "offline", "rating")

_upsert_chat = _insert(chats, "account", "chat", "first_seen", "last_seen", *_CHAT_COLUMNS)
_upsert_chat = _upsert_chat.on_conflict_do_update(
    index_elements=["account", "chat"],
    set_={name: _upsert_chat.excluded[name] for name in ("last_seen", *_CHAT_COLUMNS)},
)

_insert_delivery = _insert(
    deliveries,
    *("chat_id", "hook_id", "rule", "template", "destination", "recipient", "message_id"),
    *("created_at", "due_at"),
).values(
    state="owed",
    attempts=0,
    failures=0,
    unsure=0,
    suspect=0,
    lost=0,
    short=0,
    detail="",
    receipt="",
)

_earlier = deliveries.alias("earlier")
_first_receipt = (
    sa.select(_earlier.c.receipt)
    .where(
        _earlier.c.chat_id == deliveries.c.chat_id,
        _earlier.c.destination == deliveries.c.destination,
        _earlier.c.recipient == deliveries.c.recipient,
        _earlier.c.id < deliveries.c.id,
        _earlier.c.receipt != "",
    )
    .order_by(_earlier.c.id)
    .limit(1)
    .scalar_subquery()
)
_claimed_columns = (
    deliveries.c.id,
    chats.c.account,
    chats.c.chat,
    deliveries.c.hook_id,
    deliveries.c.rule,
    deliveries.c.template,
    deliveries.c.destination,
    deliveries.c.recipient,
    deliveries.c.message_id,
    deliveries.c.created_at,
    (deliveries.c.attempts + 1).label("attempt"),
    deliveries.c.failures,
    deliveries.c.unsure,
    deliveries.c.short,
    deliveries.c.suspect,
    deliveries.c.receipt,
    sa.func.coalesce(_first_receipt, "").label("thread_receipt"),
    hook_bodies.c.body,
)

_find_due = (
    sa.select(*_claimed_columns)
    .select_from(
        deliveries.join(chats, chats.c.id == deliveries.c.chat_id).join(
            hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id
        )
    )
    .where(
        _is_owed,
        deliveries.c.destination == _p("destination"),
        deliveries.c.suspect == _p("is_suspect"),
        deliveries.c.due_at <= _p("now"),
    )
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(_p("limit"))
)

_this = deliveries.c.id == _p("delivery_id")
_still_ours = sa.and_(_this, _is_sending, deliveries.c.attempts == _p("number"))

# Whoever is under way when a process dies is a suspect, and is not to blame yet: from then on suspects
# are tried one at a time, and one that is lost again as the only suspect is blamed, and waits.
_blamed = deliveries.c.lost + deliveries.c.suspect
_is_poison = _blamed >= _p("most_lost")
_lease_lost = {
    "suspect": 1,
    "lost": _blamed,
    "lease_until": sa.null(),
    "state": sa.case((_is_poison, "quarantined"), else_="owed"),
    "settled_at": sa.case((_is_poison, _p("now")), else_=sa.null()),
    "due_at": sa.case(
        (_blamed == 0, deliveries.c.due_at),
        (_blamed == 1, _p("now") + _p("first_wait")),
        else_=_p("now") + _p("next_wait"),
    ),
    "detail": _p("detail"),
}


@dataclass(frozen=True, slots=True)
class Statements:
    """All of them, for one dialect."""

    upsert_chat: Statement
    insert_hook: Statement
    insert_body: Statement
    insert_delivery: Statement
    find_due: Statement
    next_due: Statement
    lease: Statement
    insert_attempt: Statement
    settle: Statement
    settle_late: Statement
    end_attempt: Statement
    find_chat: Statement
    expire_leases: Statement
    end_lost_attempts: Statement
    hasten: Statement
    write_gate: Statement
    open_gate: Statement
    gates: Statement
    insert_set_aside: Statement
    trim_set_aside: Statement
    owed_by_destination: Statement
    count_troubled: Statement
    count_sending: Statement
    oldest_owed: Statement
    count_set_aside: Statement
    last_hook: Statement


def compile_statements(dialect: Dialect) -> Statements:
    """The statements as `dialect` spells them, with named parameters."""
    constructs = {
        "upsert_chat": _upsert_chat.returning(chats.c.id),
        "insert_hook": _insert(hooks, "chat_id", "digest", "received_at", "rules_hash", "trouble")
        .on_conflict_do_nothing()
        .returning(hooks.c.id),
        "insert_body": _insert(hook_bodies, "hook_id", "body"),
        "insert_delivery": _insert_delivery.on_conflict_do_nothing(),
        "find_due": _find_due,
        "next_due": sa.select(sa.func.min(deliveries.c.due_at)).where(
            _is_owed, deliveries.c.destination == _p("destination")
        ),
        "lease": sa.update(deliveries)
        .where(_this)
        .values(
            state="sending", attempts=deliveries.c.attempts + 1, lease_until=_p("lease_until_at")
        ),
        "insert_attempt": _insert(attempts, "delivery_id", "number", "started_at").values(
            detail=""
        ),
        "settle": sa.update(deliveries)
        .where(_still_ours)
        .values(
            state=_p("to_state"),
            due_at=sa.func.coalesce(_p("due"), deliveries.c.due_at),
            settled_at=_p("settled"),
            lease_until=sa.null(),
            failures=deliveries.c.failures + _p("counts"),
            unsure=deliveries.c.unsure + _p("is_unsure"),
            suspect=0,
            lost=0,
            short=_p("shortened"),
            detail=_p("words"),
            receipt=sa.case(
                (_p("new_receipt") != "", _p("new_receipt")), else_=deliveries.c.receipt
            ),
        ),
        "settle_late": sa.update(deliveries)
        .where(_this, deliveries.c.state != "delivered", deliveries.c.state != "accepted")
        .values(
            state=_p("to_state"),
            settled_at=_p("settled"),
            lease_until=sa.null(),
            detail=_p("words"),
        ),
        "end_attempt": sa.update(attempts)
        .where(attempts.c.delivery_id == _p("delivery_id"), attempts.c.number == _p("at_number"))
        .values(ended_at=_p("ended"), ending=_p("how"), detail=_p("words")),
        "find_chat": sa.select(deliveries.c.chat_id, deliveries.c.hook_id).where(_this),
        "expire_leases": sa.update(deliveries)
        .where(_is_sending, deliveries.c.lease_until <= _p("expired_by"))
        .values(_lease_lost),
        "end_lost_attempts": sa.update(attempts)
        .where(
            attempts.c.ended_at.is_(None),
            attempts.c.delivery_id.in_(
                sa.select(deliveries.c.id).where(
                    _is_sending, deliveries.c.lease_until <= _p("expired_by")
                )
            ),
        )
        .values(ended_at=_p("now"), ending="lost", detail=_p("detail")),
        "hasten": sa.update(deliveries)
        .where(
            _is_owed,
            deliveries.c.destination == _p("of_destination"),
            deliveries.c.due_at > _p("now"),
        )
        .values(due_at=_p("now")),
        "write_gate": _gate_upsert(),
        "open_gate": sa.delete(gates).where(gates.c.destination == _p("of_destination")),
        "gates": sa.select(
            gates.c.destination, gates.c.closed_until, gates.c.broken_since, gates.c.reason
        ),
        "insert_set_aside": _insert(
            set_aside, "received_at", "digest", "reason", "body"
        ).on_conflict_do_nothing(),
        "trim_set_aside": sa.delete(set_aside).where(
            set_aside.c.id
            <= sa.select(set_aside.c.id)
            .order_by(set_aside.c.id.desc())
            .offset(_p("keep"))
            .limit(1)
            .scalar_subquery()
        ),
        "owed_by_destination": sa.select(
            deliveries.c.destination, sa.func.count(), sa.func.min(deliveries.c.due_at)
        )
        .where(_is_owed)
        .group_by(deliveries.c.destination),
        "count_troubled": sa.select(deliveries.c.state, sa.func.count())
        .where(sa.text(TROUBLED))
        .group_by(deliveries.c.state),
        "count_sending": sa.select(sa.func.count()).select_from(deliveries).where(_is_sending),
        "oldest_owed": sa.select(sa.func.min(deliveries.c.created_at)).where(
            sa.or_(_is_owed, _is_sending)
        ),
        "count_set_aside": sa.select(sa.func.count()).select_from(set_aside),
        "last_hook": sa.select(hooks.c.received_at).order_by(hooks.c.id.desc()).limit(1),
    }
    return Statements(
        **{name: Statement(construct, dialect) for name, construct in constructs.items()}
    )


def _gate_upsert() -> sqlite.Insert:
    statement = _insert(gates, "destination", "closed_until", "broken_since", "reason")
    return statement.on_conflict_do_update(
        index_elements=["destination"],
        set_={
            "closed_until": statement.excluded.closed_until,
            "broken_since": sa.func.coalesce(gates.c.broken_since, statement.excluded.broken_since),
            "reason": statement.excluded.reason,
        },
    )
