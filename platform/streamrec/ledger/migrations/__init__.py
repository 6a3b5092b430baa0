"""How the ledger's tables came to be: one module for each change, run in order by Alembic."""
