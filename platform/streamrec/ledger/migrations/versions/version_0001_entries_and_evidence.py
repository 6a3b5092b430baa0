"""Entries and evidence, their indexes, and triggers that refuse everything but the next entry.

The triggers keep honest programs honest, and mistakes out. Who may drop a trigger can still change a row;
the chain of hashes and the anchor make that visible. There is no downgrade: what was decided is kept.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None

_ONE_KIND: Final = "CREATE INDEX ledger_entries_kind ON ledger_entries (kind, seq, at_us)"
_ONE_SUBJECT: Final = "CREATE INDEX ledger_entries_subject ON ledger_entries (subject, kind, seq, at_us)"

_SQLITE: Final = (
    """
    CREATE TABLE ledger_evidence (
        digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
        content BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE ledger_entries (
        seq INTEGER NOT NULL PRIMARY KEY,
        schema TEXT NOT NULL,
        at_us INTEGER NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence_digest TEXT REFERENCES ledger_evidence (digest),
        previous TEXT NOT NULL CHECK (length(previous) = 64),
        hash TEXT NOT NULL CHECK (length(hash) = 64)
    ) STRICT
    """,
    _ONE_KIND,
    _ONE_SUBJECT,
    *(
        f"""
        CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table}
        BEGIN SELECT raise(ABORT, 'the ledger is append-only: {action} on {table} is refused'); END
        """
        for table in ("ledger_entries", "ledger_evidence")
        for action in ("UPDATE", "DELETE")
    ),
    # An INSERT OR REPLACE deletes without asking the triggers of DELETE.
    """
    CREATE TRIGGER ledger_entries_follow BEFORE INSERT ON ledger_entries
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM ledger_entries)
        OR NEW.previous IS NOT coalesce(
            (SELECT hash FROM ledger_entries WHERE seq = NEW.seq - 1), printf('%064d', 0))
    BEGIN SELECT raise(ABORT, 'the ledger is append-only: this is not the next entry of the chain'); END
    """,
    """
    CREATE TRIGGER ledger_evidence_once BEFORE INSERT ON ledger_evidence
    WHEN EXISTS (SELECT 1 FROM ledger_evidence WHERE digest = NEW.digest)
    BEGIN SELECT raise(ABORT, 'the ledger is append-only: this evidence is there'); END
    """,
)

_POSTGRESQL: Final = (
    """
    CREATE TABLE ledger_evidence (
        digest TEXT COLLATE "C" PRIMARY KEY CHECK (length(digest) = 64),
        content BYTEA NOT NULL
    )
    """,
    """
    CREATE TABLE ledger_entries (
        seq BIGINT PRIMARY KEY,
        schema TEXT NOT NULL,
        at_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        kind TEXT COLLATE "C" NOT NULL,
        subject TEXT COLLATE "C" NOT NULL,
        reason TEXT NOT NULL,
        evidence_digest TEXT COLLATE "C" REFERENCES ledger_evidence (digest),
        previous TEXT NOT NULL CHECK (length(previous) = 64),
        hash TEXT NOT NULL CHECK (length(hash) = 64)
    )
    """,
    _ONE_KIND,
    _ONE_SUBJECT,
    """
    CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME;
    END $$
    """,
    """
    CREATE FUNCTION ledger_follow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM ledger_entries)
            OR NEW.previous IS DISTINCT FROM coalesce(
                (SELECT hash FROM ledger_entries WHERE seq = NEW.seq - 1), repeat('0', 64)) THEN
            RAISE EXCEPTION 'the ledger is append-only: this is not the next entry of the chain';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER ledger_entries_follow BEFORE INSERT ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_follow()
    """,
    "ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_follow",
    *(
        statement
        for table in ("ledger_entries", "ledger_evidence")
        for statement in (
            f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
            """,
            # Also in a session that plays a replica, which fires no other triggers.
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only",
        )
    ),
)


def upgrade() -> None:
    """Make them."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
