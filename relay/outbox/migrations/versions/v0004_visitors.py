"""Columns by which the hooks of a visitor's email address or id are found. Existing hooks get them while the relay runs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("email_key", "visitor_key"):
        op.add_column("hooks", sa.Column(name, sa.BigInteger(), nullable=True))
    for name, column, condition in (
        ("hooks_of_email", "email_key", "email_key <> 0"),
        ("hooks_of_visitor", "visitor_key", "visitor_key <> 0"),
        ("hooks_without_keys", "id", "email_key IS NULL"),
    ):
        op.create_index(
            name,
            "hooks",
            [column],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
