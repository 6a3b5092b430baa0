"""The ledger's tables as SQLAlchemy sees them. Migrations make them, with the triggers that guard them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind, LedgerEntry
from streamrec.ledger.ledger import StoredEntry

METADATA: Final = MetaData()

ENTRIES: Final = Table(
    "ledger_entries",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("schema", String, nullable=False),
    Column(
        "at_us", BigInteger, nullable=False
    ),  # microseconds since 1970, UTC: what two databases sort alike
    Column("actor", String, nullable=False),
    Column("role", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("evidence_digest", String),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)

EVIDENCE: Final = Table(
    "ledger_evidence",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ROLES: Final = {role.value: role for role in ActorRole}
_KINDS: Final = {kind.value: kind for kind in EntryKind}


def microseconds(at: datetime) -> int:
    """A time as it is stored."""
    return (at - _EPOCH) // _MICROSECOND


def row_of(entry: LedgerEntry) -> dict[str, Any]:
    """An entry as it is stored."""
    return {
        "seq": entry.seq,
        "schema": entry.schema,
        "at_us": microseconds(entry.at),
        "actor": entry.actor,
        "role": entry.role.value,
        "kind": entry.kind.value,
        "subject": entry.subject,
        "reason": entry.reason,
        "evidence_digest": entry.evidence_digest,
        "previous": entry.previous,
        "hash": entry.hash,
    }


def entry_of(row: Sequence[Any]) -> LedgerEntry:
    """Read a row of `ENTRIES`.

    Raises:
        ArtifactError: It is none that was ever appended; says which and why.
    """
    seq, schema, at_us, actor, role, kind, subject, reason, evidence_digest, previous, digest = row
    try:
        return LedgerEntry(
            seq,
            _EPOCH + timedelta(microseconds=at_us),
            actor,
            _ROLES[role],
            _KINDS[kind],
            subject,
            reason,
            evidence_digest,
            previous,
            digest,
            schema=schema,
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ArtifactError(f"entry {seq} of the ledger {_problem(row)}") from error


def stored_entry_of(row: Sequence[Any]) -> StoredEntry:
    """Read a row of `ENTRIES` with the content of its evidence behind it, whatever it holds."""
    seq, content = row[0], row[-1]
    try:
        return StoredEntry(seq, entry_of(row[:-1]), content)
    except ArtifactError:
        return StoredEntry(seq, None, content, _problem(row))


def _problem(row: Sequence[Any]) -> str:
    schema, role, kind = row[1], row[4], row[5]
    for name, value, known in (("role", role, _ROLES), ("kind", kind, _KINDS)):
        if value not in known:
            return f"cannot be read: {value!a:.60} is no {name} that this release knows ({schema!a:.60})"
    return "cannot be read: its time is out of bounds"
