"""Deliveries that wait for their time: digests, limits, mutes, cases, and gates closed by hand."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PARTIAL = {
    "deliveries_queued": (["destination", "suspect", "due_at", "id"], "state = 'queued'"),
    "deliveries_sending": (["lease_until"], "state = 'sending'"),
    "deliveries_troubled": (
        ["state", "settled_at"],
        "state IN ('failed', 'quarantined', 'maybe delivered')",
    ),
}
_NEW = {
    "deliveries_scheduled": (["due_at", "id"], "state = 'scheduled'"),
    "deliveries_for_digest": (
        ["destination", "recipient", "due_at"],
        "state = 'scheduled' AND in_digest",
    ),
    "deliveries_of_digest": (["digest_id"], "digest_id IS NOT NULL"),
}


def upgrade() -> None:
    for table in ("hooks", "set_aside"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN digest TO body_hash")
    _create_digests_and_limits()
    _create_mutes()
    _create_cases()
    for column in (
        sa.Column("paused_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("because", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("gates", column)
    _alter_deliveries()


def _create_digests_and_limits() -> None:
    op.create_table(
        "digests",
        sa.Column("id", Id, nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "limits",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("of", sa.Text(), nullable=False),
        sa.Column("window_from", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "recipient", "of"),
    )


def _create_mutes() -> None:
    op.create_table(
        "mutes",
        sa.Column("id", Id, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("then", sa.Text(), nullable=False),
        sa.Column("urgent_too", sa.Boolean(), nullable=False),
        sa.Column("alerts_too", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=False),
        sa.Column("reminded_at", sa.BigInteger(), nullable=True),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("origin", "key", name="mutes_once"),
    )


def _create_cases() -> None:
    op.create_table(
        "cases",
        sa.Column("id", Id, nullable=False),
        sa.Column("chat_id", Id, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=True),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("within", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("step_due_at", sa.BigInteger(), nullable=True),
        sa.Column("snoozed_until", sa.BigInteger(), nullable=True),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.Column("taken_via", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("rules_hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chat_id", "rule", name="cases_once"),
    )
    _index("cases_due", "cases", ["step_due_at", "id"], "step_due_at IS NOT NULL")
    op.create_table(
        "case_events",
        sa.Column("id", Id, nullable=False),
        sa.Column("case_id", Id, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("case_events_of_case", "case_events", ["case_id"])


def _alter_deliveries() -> None:
    """Add columns and change the unique key.

    SQLite can't do that: a new table replaces the old one, and its indexes are made after it, which is quicker.
    """
    is_sqlite = op.get_context().dialect.name == "sqlite"
    if is_sqlite:
        for name in (*_PARTIAL, "deliveries_of_hook"):
            op.drop_index(name, "deliveries")
    with op.batch_alter_table("deliveries") as batch:
        batch.drop_constraint("deliveries_once", type_="unique")
        for column in _columns():
            batch.add_column(column)
        batch.create_foreign_key(
            "deliveries_digest_id_fkey", "digests", ["digest_id"], ["id"], ondelete="SET NULL"
        )
        batch.create_unique_constraint(
            "deliveries_once", ["chat_id", "rule", "destination", "recipient", "step"]
        )
    if is_sqlite:
        op.create_index("deliveries_of_hook", "deliveries", ["hook_id"])
    for name, (columns, condition) in ((_PARTIAL if is_sqlite else {}) | _NEW).items():
        _index(name, "deliveries", columns, condition)


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False, server_default=""),
        sa.Column("in_digest", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("digest_id", Id, nullable=True),
        sa.Column("step", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("visitor", sa.Text(), nullable=False, server_default=""),
        sa.Column("quiet", sa.Boolean(), nullable=False, server_default=sa.false()),
    ]


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(
        name,
        table,
        columns,
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
