"""Which verdicts count no longer, by the ledger: what the list that replicas follow is made of."""

from __future__ import annotations

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.governance.records import read_records
from streamrec.ledger.ledger import Ledger

_KINDS = (EntryKind.VERDICT_SIGNED, EntryKind.VERDICT_REVOKED)


def revoked_verdicts(ledger: Ledger) -> frozenset[str]:
    """SHA-256 of every verdict over a version that was signed before one of its revocations.

    Also one that a revocation found in its place and the ledger did not know.

    Raises:
        ArtifactError: An entry or its evidence was changed.
        TemporaryError: The ledger cannot be read.
    """
    signed: dict[str, set[str]] = {}
    revoked: set[str] = set()
    for record in read_records(ledger, kinds=_KINDS):
        ours = signed.setdefault(record.entry.subject, set())
        if record.entry.kind is EntryKind.VERDICT_SIGNED:
            ours.add(record.evidence["document_sha256"])
            continue
        revoked |= ours
        found = record.evidence.get("document_sha256")
        if found is not None:
            revoked.add(found)
        ours.clear()
    return frozenset(revoked)
