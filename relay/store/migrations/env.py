"""Where alembic is told which connection to use: the caller's, already in a transaction and alone."""

from alembic import context

from relay.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
