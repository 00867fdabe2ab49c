"""What Alembic runs: the migrations on the connection that `sipsvc.store.database` hands in."""

from alembic import context

from sipsvc.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can roll a CREATE TABLE back, as we send BEGIN ourselves.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
