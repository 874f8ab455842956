"""Tables for the people who use the console: users, sessions, tokens, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", Id, nullable=False),
        *_texts("name", "role", "password", "origin", "choices"),
        *_moments("created_at"),
        *_moments("disabled_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="users_once"),
    )
    op.create_table(
        "sessions",
        *_of_user(),
        *_moments("created_at", "used_at"),
        *_texts("address", "agent"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash", name="sessions_once"),
    )
    op.create_table(
        "tokens",
        *_of_user(),
        *_texts("kind", "name", "role"),
        *_moments("created_at"),
        *_moments("expires_at", "used_at", "ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash", name="tokens_once"),
    )
    op.create_table(
        "acts",
        sa.Column("id", Id, nullable=False),
        *_moments("at"),
        *_texts("by", "via", "address", "act", "subject", "detail"),
        sa.Column("key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="acts_once"),
    )


def _of_user() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", Id, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    ]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _moments(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]
