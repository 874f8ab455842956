"""Tables for each text that the rules file had, in force or refused, and for drafts of it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rules_versions",
        sa.Column("id", Id, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("by", "message", "base_hash", "problems")
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rules_versions_of_hash", "rules_versions", ["hash"])
    op.create_table(
        "drafts",
        sa.Column("user_id", Id, autoincrement=False, nullable=False),
        sa.Column("base_hash", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    )
