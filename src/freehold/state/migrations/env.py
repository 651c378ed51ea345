"""Alembic's entry: the connection comes from `freehold.state.database`."""

from alembic import context

from freehold.state.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
