"""Alembic's environment: runs the migrations on the connection that `alembic_runner` passes."""

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
