"""Tables for relays that share a database: `paces` for common rate limits, `relays` for the last commit of each."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "paces",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("started", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("destination"),
    )
    op.create_table(
        "relays",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_commit", sa.BigInteger(), nullable=False),
        sa.Column("wrote_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
