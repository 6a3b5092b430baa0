"""What the ledger says about versions: entries with their evidence, from which everything here is derived."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.ledger.ledger import Ledger

KINDS: Final = frozenset(
    {
        EntryKind.MODEL_REGISTERED,
        EntryKind.GATES_JUDGED,
        EntryKind.VERDICT_SIGNED,
        EntryKind.VERDICT_REVOKED,
        EntryKind.REVIEW_REQUESTED,
        EntryKind.REVIEW_APPROVED,
        EntryKind.REVIEW_REJECTED,
        EntryKind.OVERRIDE_GRANTED,
        EntryKind.OVERRIDE_ENDED,
        EntryKind.REMEDIATION_OPENED,
        EntryKind.REMEDIATION_CLOSED,
        EntryKind.BREAK_GLASS_USED,
    }
)
"""What decides whether a version may serve; the subject of each is the version, ``NAME@VERSION``."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One entry.

    Attributes:
        entry: Who decided what, when and why.
        evidence: On what; empty where there is none.
    """

    entry: LedgerEntry
    evidence: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def read_records(
    ledger: Ledger, *, subject: str | None = None, kinds: Collection[EntryKind] = KINDS
) -> tuple[Recorded, ...]:
    """Return the entries, oldest first.

    Args:
        ledger: Where they are.
        subject: Only about this version; None: about all.
        kinds: Only of these kinds.

    Raises:
        ArtifactError: An entry or its evidence was changed.
        TemporaryError: The ledger cannot be read.
    """
    return tuple(
        Recorded(entry, {} if entry.evidence_digest is None else ledger.evidence(entry.evidence_digest))
        for entry in ledger.entries(kinds=kinds, subject=subject)
    )
