"""The state of a delivery that waits becomes `queued`, as in commands and documentation; it was `owed`."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("UPDATE deliveries SET state = 'queued' WHERE state = 'owed'")
    op.drop_index("deliveries_owed", "deliveries")
    op.create_index(
        "deliveries_queued",
        "deliveries",
        ["destination", "suspect", "due_at", "id"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
