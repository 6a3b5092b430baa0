"""Alembic runs this module for every migration, on the connection and in the transaction of `sql_schema`."""

from __future__ import annotations

from alembic import context

from streamrec.ledger.sql_schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
