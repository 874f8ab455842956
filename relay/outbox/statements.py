"""Every SQL statement of the outbox, built once with SQLAlchemy Core and compiled once per dialect.

They are run on the driver's own cursor: building and binding through SQLAlchemy at every hook costs more
than the rest of the hook together (414 against 127 microseconds when it was measured), and this way there is
still one place for the SQL and one for the schema.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from relay.outbox.delivery_statements import (
    Constructs,
    Insert,
    bound,
    inserted,
    is_queued,
    is_sending,
    of_deliveries,
    text,
)
from relay.outbox.rows import ITSELF
from relay.outbox.schema import (
    TROUBLED,
    chats,
    deliveries,
    gates,
    hook_bodies,
    hooks,
    paces,
    relays,
    set_aside,
)
from relay.outbox.trouble_statements import of_troubles

__all__ = ["Insert", "Statement", "Statements", "compile_statements"]

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


@dataclass(frozen=True, slots=True)
class Statements:
    """All of them, for one dialect."""

    upsert_chat: Statement
    insert_hook: Statement
    insert_body: Statement
    insert_delivery: Statement
    find_due: Statement
    find_due_alerts: Statement
    next_alert_due: Statement
    next_due: Statement
    lease: Statement
    insert_attempt: Statement
    settle: Statement
    settle_late: Statement
    end_attempt: Statement
    find_chat: Statement
    find_waiting: Statement
    reassign: Statement
    find_expired: Statement
    find_held: Statement
    give_back: Statement
    lose_lease: Statement
    end_lost_attempt: Statement
    renew_lease: Statement
    owed_now: Statement
    notify: Statement
    read_pace: Statement
    begin_pace: Statement
    write_pace: Statement
    read_hours: Statement
    newest_hook: Statement
    begin_commits: Statement
    write_commit: Statement
    write_any_commit: Statement
    read_commit: Statement
    end_commits: Statement
    forget_commits: Statement
    other_relays: Statement
    connected: Statement
    server_time: Statement
    hasten: Statement
    hasten_blips: Statement
    recall: Statement
    write_gate: Statement
    open_gate: Statement
    gates: Statement
    insert_set_aside: Statement
    trim_set_aside: Statement
    owed_by_destination: Statement
    waiting_for: Statement
    count_troubled: Statement
    count_sending: Statement
    oldest_sending: Statement
    count_set_aside: Statement
    last_hook: Statement
    troubles: Statement
    open_trouble: Statement
    note_trouble: Statement
    close_trouble: Statement
    marks: Statement
    set_mark: Statement
    failed_lately: Statement
    alert_deliveries: Statement
    failed_alerts: Statement
    words_of_failed: Statement
    words_of_owed: Statement


def compile_statements(dialect: Dialect, insert: Insert = sqlite.insert) -> Statements:
    """The statements as `dialect` spells them, with named parameters; `insert` is that dialect's own."""
    constructs = {
        **_of_hooks(insert),
        **of_deliveries(insert),
        **_of_gates(insert),
        **_of_paces(insert),
        **_of_shared(insert),
        **_SUMMARY,
        **of_troubles(insert),
    }
    return Statements(
        **{name: Statement(construct, dialect) for name, construct in constructs.items()}
    )


def _of_hooks(insert: Insert) -> Constructs:
    """What a hook brings."""
    columns = ("visitor", "began", "missed", "offline", "rating")
    chat = inserted(insert, chats, "account", "chat", "first_seen", "last_seen", *columns)
    hook = ("chat_id", "digest", "received_at", "rules_hash", "trouble", "email_key", "visitor_key")
    delivery = (
        *("chat_id", "hook_id", "rule", "template", "destination", "recipient", "message_id"),
        *("instead_of", "created_at", "due_at", "state", "attempts", "lease_until"),
    )
    owed = inserted(insert, deliveries, *delivery).values(
        failures=0, unsure=0, suspect=False, lost=0, short=False, detail="", receipt=""
    )
    # Others had taken its place, and now it takes theirs: a destination was changed, and changed back.
    anew = ("hook_id", "template", "instead_of", "created_at", "due_at", "state", "failures")
    return {
        "upsert_chat": chat.on_conflict_do_update(
            index_elements=["account", "chat"],
            set_={name: chat.excluded[name] for name in ("last_seen", *columns)},
        ).returning(chats.c.id, chats.c.first_seen),
        "insert_hook": inserted(insert, hooks, *hook)
        .on_conflict_do_nothing()
        .returning(hooks.c.id),
        "insert_body": inserted(insert, hook_bodies, "hook_id", "body", "verdicts"),
        "insert_delivery": owed.on_conflict_do_update(
            index_elements=["chat_id", "rule", "destination", "recipient"],
            set_={**{name: owed.excluded[name] for name in anew}, "settled_at": sa.null()},
            where=deliveries.c.state == sa.literal_column("'moved'"),
        ).returning(deliveries.c.id),
        "insert_set_aside": inserted(
            insert, set_aside, "received_at", "digest", "reason", "body"
        ).on_conflict_do_nothing(),
        "trim_set_aside": sa.delete(set_aside).where(
            set_aside.c.id
            <= sa.select(set_aside.c.id)
            .order_by(set_aside.c.id.desc())
            .offset(bound("keep"))
            .limit(1)
            .scalar_subquery()
        ),
    }


def _of_gates(insert: Insert) -> Constructs:
    write = inserted(insert, gates, "destination", "closed_until", "broken_since", "reason")
    return {
        "write_gate": write.on_conflict_do_update(
            index_elements=["destination"],
            set_={
                "closed_until": write.excluded.closed_until,
                "broken_since": sa.func.coalesce(gates.c.broken_since, write.excluded.broken_since),
                "reason": write.excluded.reason,
            },
        ),
        "open_gate": sa.delete(gates).where(gates.c.destination == bound("of_destination")),
        "gates": sa.select(
            gates.c.destination, gates.c.closed_until, gates.c.broken_since, gates.c.reason
        ),
    }


read_hours = sa.select(paces.c.destination, paces.c.started).where(
    paces.c.destination.like("hour: %")
)


def _of_paces(insert: Insert) -> Constructs:
    this = paces.c.destination == bound("of_destination")
    return {
        "read_pace": sa.select(paces.c.started).where(this).with_for_update(skip_locked=True),
        "begin_pace": inserted(insert, paces, "destination")
        .values(started="[]")
        .on_conflict_do_nothing(),
        "write_pace": sa.update(paces).where(this).values(started=bound("begun")),
        "read_hours": read_hours,
    }


def _of_shared(insert: Insert) -> Constructs:
    """Run where relays share a database, and so on PostgreSQL alone."""
    ours = relays.c.name == bound("of_relay")
    write = (
        sa.update(relays)
        .where(ours)
        .values(last_commit=bound("number"), wrote_at=bound("written_at"))
    )
    return {
        "notify": sa.select(sa.func.pg_notify(text("topic"), text("words"))),
        "server_time": sa.select(
            sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger)
        ),
        "begin_commits": inserted(insert, relays, "name", "wrote_at").values(last_commit=0),
        "other_relays": sa.select(relays.c.name).where(relays.c.name != bound("of_relay")),
        "connected": sa.select(sa.literal_column("1"))
        .select_from(sa.table("pg_stat_activity"))
        .where(sa.column("application_name").like(text("ends_with"))),
        # A transaction that only looks must not wait for a disk.
        "write_commit": write.where(sa.func.txid_current_if_assigned().is_not(None)),
        "write_any_commit": write,
        "read_commit": sa.select(relays.c.last_commit).where(ours).with_for_update(),
        "end_commits": sa.delete(relays).where(ours),
        "forget_commits": sa.delete(relays).where(relays.c.wrote_at < bound("before")),
    }


_SUMMARY = {
    "newest_hook": sa.select(sa.func.coalesce(sa.func.max(hooks.c.id), 0)),
    "owed_by_destination": sa.select(
        deliveries.c.destination, sa.func.count(), sa.func.min(deliveries.c.created_at)
    )
    .where(is_queued)
    .group_by(deliveries.c.destination),
    "waiting_for": sa.select(deliveries.c.destination, deliveries.c.recipient)
    .where(is_queued)
    .distinct(),
    "count_troubled": sa.select(deliveries.c.state, sa.func.count())
    .where(sa.text(TROUBLED))
    .group_by(deliveries.c.state),
    "count_sending": sa.select(sa.func.count()).select_from(deliveries).where(is_sending),
    # A question of its own: an OR over both states reads the whole history (0.14 s for 1,000,000).
    "oldest_sending": sa.select(sa.func.min(deliveries.c.created_at)).where(is_sending),
    "count_set_aside": sa.select(sa.func.count()).select_from(set_aside),
    "last_hook": sa.select(hooks.c.received_at)
    .join(chats, chats.c.id == hooks.c.chat_id)
    .where(chats.c.account != sa.literal_column(f"'{ITSELF}'"))
    .order_by(hooks.c.id.desc())
    .limit(1),
}
