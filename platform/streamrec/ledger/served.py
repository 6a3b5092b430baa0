"""What served a slot at some time, since when, and what had been decided about that version by then.

A change of traffic is one entry for each slot that changed, all with the same evidence: `traffic_decisions`
makes them. Whatever is decided about a version, reviews and overrides included, has the version
(``NAME@VERSION``) as its subject: that is how it is found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.json_documents import STRICT, ModelRefText, document_json, read_document
from streamrec.contracts.ledger_entry import ActorRole, EntryKind, LedgerEntry
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import SlotName
from streamrec.ledger.ledger import Decision, Ledger

ABOUT_VERSIONS: Final = frozenset(
    {
        EntryKind.MODEL_REGISTERED,
        EntryKind.GATES_JUDGED,
        EntryKind.VERDICT_SIGNED,
        EntryKind.VERDICT_REVOKED,
        EntryKind.AUDIT_RECORDED,
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
"""Kinds that say why a version may serve, or why not."""

MAXIMUM_SHOWN: Final = 100
"""Decisions about one version; the newest ones."""


@dataclass(frozen=True, slots=True)
class TrafficEvidence:
    """The evidence of a change of traffic.

    Attributes:
        revision: Of the traffic document that it made.
        before, after: Champion by slot, of the slots that changed; an empty slot is left out.
        kind: What was done.
    """

    __pydantic_config__ = STRICT

    revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    before: Mapping[SlotName, ModelRefText]
    after: Mapping[SlotName, ModelRefText]
    kind: Literal["promoted", "rolled_back"]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrafficEvidence:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        return read_document(cls, document)


def traffic_decisions(
    evidence: TrafficEvidence, *, actor: str, role: ActorRole, reason: str = ""
) -> tuple[Decision, ...]:
    """The decisions to append together, by `Ledger.append_all`, when traffic has changed."""
    document = evidence.to_json()
    return tuple(
        Decision(actor, role, EntryKind.TRAFFIC_CHANGED, slot, reason, document)
        for slot in sorted({*evidence.before, *evidence.after})
    )


@dataclass(frozen=True, slots=True)
class Served:
    """What served one slot at one time.

    Attributes:
        slot: Which.
        at: The time that was asked about.
        version: The champion; None where the slot was emptied.
        since: The change that made it so.
        change: The evidence of ``since``.
        until: The change that ended it; None where it still serves.
        decisions: What had been decided about the version by then, oldest first.
    """

    slot: str
    at: datetime
    version: ModelRef | None
    since: LedgerEntry
    change: TrafficEvidence
    until: LedgerEntry | None
    decisions: tuple[LedgerEntry, ...]


def served(ledger: Ledger, slot: str, at: datetime) -> Served | None:
    """Find what served ``slot`` at a time; None where nothing had been promoted yet.

    Entries count in the order of their numbers: where a clock was set back, the later entry counts.

    Raises:
        InvalidInputError: ``at`` has no time zone.
        ArtifactError: The evidence of the change was changed or is no evidence of one.
        NotFoundError: It is missing.
        TemporaryError: The ledger cannot be read.
    """
    changed = (EntryKind.TRAFFIC_CHANGED,)
    since = next(ledger.entries(kinds=changed, subject=slot, until=at, newest_first=True, limit=1), None)
    if since is None:
        return None
    change = change_told_by(ledger, since)
    version = change.after.get(slot)
    newest = ledger.entries(
        kinds=ABOUT_VERSIONS, subject=str(version), until=at, newest_first=True, limit=MAXIMUM_SHOWN
    )
    return Served(
        slot,
        at,
        version,
        since,
        change,
        next(ledger.entries(kinds=changed, subject=slot, after_seq=since.seq, limit=1), None),
        () if version is None else tuple(newest)[::-1],
    )


def change_told_by(ledger: Ledger, entry: LedgerEntry) -> TrafficEvidence:
    """Return what an entry says of a change of traffic.

    Raises:
        ArtifactError: Its evidence was changed or is none of a change.
        NotFoundError: It is missing.
        TemporaryError: The ledger cannot be read.
    """
    if entry.evidence_digest is None:
        raise ArtifactError(
            f"entry {entry.seq} of the ledger changed traffic without saying from what to what"
        )
    try:
        return TrafficEvidence.from_json(ledger.evidence(entry.evidence_digest))
    except InvalidInputError as error:
        raise ArtifactError(
            f"the evidence of entry {entry.seq} of the ledger is not that of a change of traffic: {error}"
        ) from error
