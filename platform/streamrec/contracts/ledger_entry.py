"""An entry of the decision ledger: who decided what, on which evidence, chained to the entry before it.

The chain makes a change visible: an entry's hash covers all of its other fields and the hash of the entry
before it, so nothing in the middle can be edited, left out or put in without every later hash being wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER, canonical_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    UtcTime,
    document_json,
    read_document,
)

LEDGER_ENTRY_SCHEMA: Final = "streamrec.ledger_entry.v1"

LEDGER_ANCHOR_SCHEMA: Final = "streamrec.ledger_anchor.v1"

GENESIS: Final = "0" * 64
"""What the first entry names as the hash of the entry before it."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROL_CHARACTERS)]
ReasonText = Annotated[str, Field(max_length=2_000, pattern=NO_CONTROL_CHARACTERS)]


class ActorRole(StrEnum):
    """In which role somebody acted. The platform's own controllers act as ``platform``."""

    VIEWER = "viewer"
    SPOKE = "spoke"
    PRODUCT = "product"
    REVIEWER = "reviewer"
    RESPONSIBLE_AI = "responsible-ai"
    PLATFORM = "platform"
    CONTENT = "content"


class EntryKind(StrEnum):
    """What was decided or done. A new kind is a new member here, never another meaning of an old one."""

    # Versions and their gates
    MODEL_REGISTERED = "model_registered"
    GATES_JUDGED = "gates_judged"
    VERDICT_SIGNED = "verdict_signed"
    VERDICT_REVOKED = "verdict_revoked"
    AUDIT_RECORDED = "audit_recorded"
    # People
    REVIEW_REQUESTED = "review_requested"
    REVIEW_APPROVED = "review_approved"
    REVIEW_REJECTED = "review_rejected"
    OVERRIDE_GRANTED = "override_granted"
    OVERRIDE_ENDED = "override_ended"
    REMEDIATION_OPENED = "remediation_opened"
    REMEDIATION_CLOSED = "remediation_closed"
    BREAK_GLASS_USED = "break_glass_used"
    # What serves
    TRAFFIC_CHANGED = "traffic_changed"
    ROLLOUT_STARTED = "rollout_started"
    ROLLOUT_ADVANCED = "rollout_advanced"
    ROLLOUT_PAUSED = "rollout_paused"
    ROLLOUT_RESUMED = "rollout_resumed"
    ROLLOUT_RETRIED = "rollout_retried"
    ROLLOUT_ABORTED = "rollout_aborted"
    ROLLOUT_ROLLED_BACK = "rollout_rolled_back"
    ROLLOUT_COMPLETED = "rollout_completed"
    HOLDBACK_ENDED = "holdback_ended"
    ALIAS_REVERTED = "alias_reverted"
    # Keys, access, policies and data
    KEY_ADDED = "key_added"
    KEY_REVOKED = "key_revoked"
    TOKEN_ISSUED = "token_issued"  # noqa: S105 - the name of a kind, not a secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    POLICY_CHANGED = "policy_changed"
    DATA_ERASED = "data_erased"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry; `following` makes the next one of a chain.

    Attributes:
        schema: The format.
        seq: 1 for the first entry, one more for each that follows.
        at: When.
        actor: Who: a person or a controller.
        role: In which role.
        kind: What was decided or done.
        subject: About what: a version ``NAME@VERSION``, a slot, a rollout, a key.
        reason: Why, in the actor's words; empty where none was asked for.
        evidence_digest: SHA-256 of the evidence, which is stored under it; None where there is none.
        previous: Hash of the entry before; `GENESIS` for the first.
        hash: SHA-256 over the canonical JSON of all other fields.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.ledger_entry.v1"] = field(default=LEDGER_ENTRY_SCHEMA, kw_only=True)
    seq: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    at: UtcTime
    actor: Name
    role: ActorRole
    kind: EntryKind
    subject: Name
    reason: ReasonText
    evidence_digest: Digest | None
    previous: Digest
    hash: Digest

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in the order of the fields."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, path: str = "") -> LedgerEntry:
        """Read what `to_json` wrote. The hash is not recomputed here: `verify_chain` does.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        if isinstance(document, Mapping) and document.get("schema") != LEDGER_ENTRY_SCHEMA:
            place = f"{path}.schema" if path else "schema"
            raise InvalidInputError(place, f"must be {LEDGER_ENTRY_SCHEMA!r}, which this release reads")
        return read_document(cls, document, path=path)

    @classmethod
    def following(
        cls,
        last: LedgerEntry | None,
        *,
        at: datetime,
        actor: str,
        role: ActorRole,
        kind: EntryKind,
        subject: str,
        reason: str = "",
        evidence_digest: str | None = None,
    ) -> LedgerEntry:
        """The next entry of a chain, with its number, the hash of the entry before it, and its own hash.

        Args:
            last: The last entry of the chain; None where this one is the first.
            at: Any time zone; written in UTC.
            actor, role, kind, subject, reason, evidence_digest: See the class.

        Raises:
            InvalidInputError: A field is out of bounds; ``field`` is its name.
        """
        if at.utcoffset() is None:
            raise InvalidInputError("at", "must have a time zone")
        seq, previous = (1, GENESIS) if last is None else (last.seq + 1, last.hash)
        open_entry = cls(
            seq, at.astimezone(UTC), actor, role, kind, subject, reason, evidence_digest, previous, GENESIS
        )
        checked = cls.from_json(open_entry.to_json())
        return replace(checked, hash=checked.computed_hash())

    def computed_hash(self) -> str:
        """SHA-256 (hexadecimal) over the canonical JSON of all fields but ``hash``."""
        document = self.to_json()
        del document["hash"]
        return hashlib.sha256(canonical_json(document)).hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerAnchor:
    """What a chain looked like at its end once, kept elsewhere: whoever cuts or rewrites it contradicts this.

    Attributes:
        schema: The format.
        revision: Of the signed document.
        seq: Number of the entry that was the last one.
        hash: Of that entry.
        at: When it was written.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.ledger_anchor.v1"] = field(default=LEDGER_ANCHOR_SCHEMA, kw_only=True)
    revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    seq: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    hash: Digest
    at: UtcTime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LedgerAnchor:
        """Read a document whose signature was checked and taken off.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its name.
        """
        return read_document(cls, document)


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where a chain is broken first.

    Attributes:
        seq: Number of the first entry that does not follow from those before it.
        problem: What is wrong with it.
    """

    seq: int
    problem: str


def verify_chain(entries: Iterable[LedgerEntry], *, after: LedgerEntry | None = None) -> ChainBreak | None:
    """Find the first entry that does not follow from those before it; None where every one does.

    A chain that was cut at its end still verifies: only an anchor kept elsewhere shows that.

    Args:
        entries: By rising ``seq``.
        after: The last entry that is already trusted; None to begin at the first entry.
    """
    seq, previous = (1, GENESIS) if after is None else (after.seq + 1, after.hash)
    for entry in entries:
        if entry.seq != seq:
            return ChainBreak(seq, f"is missing: number {entry.seq} stands in its place")
        if entry.previous != previous:
            return ChainBreak(
                seq, "does not name the hash of the entry before it: one of the two was changed"
            )
        if entry.hash != entry.computed_hash():
            return ChainBreak(seq, "was changed: its hash is not that of its fields")
        seq, previous = seq + 1, entry.hash
    return None
