"""Alembic's entry point: migrates over the connection that the caller passes in."""

from alembic import context
from sqlalchemy import Connection

from contracts.tables import metadata

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through `sluice migrate`, which passes the connection")
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
