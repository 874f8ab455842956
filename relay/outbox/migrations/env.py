"""What Alembic runs: migrations on the connection that it was handed."""

from alembic import context

from relay.crash_points import CrashPoint, reach
from relay.outbox.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
    reach(CrashPoint.MIGRATED)
