"""What a ledger is: decisions are appended, entries and their evidence are read, nothing is ever changed.

`memory_ledger` and `sql_ledger` keep the same promises (``tests/contract/test_ledger.py``).

Personal data: an actor is a member of staff or a controller of the platform, and stays in the ledger as long
as the ledger is kept. Evidence holds figures about groups, versions and digests, never the id of a user: an
entry cannot be erased, so `streamrec.erasure` does not look here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import ArtifactError, ConflictError, InvalidInputError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind, LedgerEntry

MAXIMUM_EVIDENCE_BYTES: Final = 1_048_576
"""Of the canonical JSON of one entry's evidence. What is larger (predictions, logs) stays where it lies; the
evidence names it by its digest."""

MAXIMUM_DECISIONS: Final = 1_000
"""Appended at once; as many as a traffic document has slots."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided or did, as it is appended.

    Attributes:
        actor: Who: a member of staff or a controller.
        role: In which role.
        kind: What was decided or done.
        subject: About what: a version ``NAME@VERSION``, a slot ``team.slot``, a review, a key.
        reason: Why, in the actor's words.
        evidence: Plain JSON, stored under the digest of its canonical form; None where there is none.
    """

    actor: str
    role: ActorRole
    kind: EntryKind
    subject: str
    reason: str = ""
    evidence: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class UnlessNewer:
    """A condition of an appendage: nobody has appended an entry that whoever decided did not know.

    Attributes:
        kinds: Entries of these kinds count.
        seq: The newest one of them that was known when the decision was made; 0 where there was none.
    """

    kinds: frozenset[EntryKind]
    seq: int

    def __post_init__(self) -> None:
        if not self.kinds:
            raise InvalidInputError("unless_newer.kinds", "must name at least one kind")
        if self.seq < 0:
            raise InvalidInputError("unless_newer.seq", "must be 0 or more")


class Ledger(Protocol):
    """A chain of entries with their evidence. Any number of threads and processes may append."""

    def append(self, decision: Decision) -> LedgerEntry:
        """Add one entry at the end; it is on the disk when this returns.

        Raises:
            InvalidInputError: A field is out of bounds, or the evidence has no canonical form or is larger
                than `MAXIMUM_EVIDENCE_BYTES`; ``field`` says which. Nothing was appended.
            TemporaryError: It cannot be written (disk full, server gone). Nothing was appended, so nothing
                was decided.
        """
        ...

    def append_all(
        self, decisions: Sequence[Decision], *, unless_newer: UnlessNewer | None = None
    ) -> tuple[LedgerEntry, ...]:
        """Add several entries one after the other, all of them or none.

        Args:
            decisions: Nothing is done, and no condition checked, where there are none.
            unless_newer: Only if no newer entry of some kinds has come meanwhile. Of several writers that
                have read the same and append under the same condition, one wins.

        Raises:
            ConflictError: A newer entry has come; nothing was appended. Read it, and decide again.
            InvalidInputError, TemporaryError: As in `append`; or there are more than `MAXIMUM_DECISIONS`.
        """
        ...

    def entries(
        self,
        *,
        kinds: Collection[EntryKind] = (),
        subject: str | None = None,
        after_seq: int = 0,
        until: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[LedgerEntry]:
        """Read entries by rising number. Hashes are not checked: `verification.verify` does that.

        Args:
            kinds: Only these; empty: all.
            subject: Only about this.
            after_seq: Only entries with a higher number.
            until: Only entries whose time is not later; any time zone.
            newest_first: By falling number instead.
            limit: At most so many; None: all.

        Raises:
            InvalidInputError: ``until`` has no time zone.
            ArtifactError: A stored entry cannot be read; says which.
            TemporaryError: The ledger cannot be read.
        """
        ...

    def evidence(self, digest: str) -> Mapping[str, Any]:
        """Return the evidence that is stored under a digest.

        Raises:
            NotFoundError: None is.
            ArtifactError: What is stored there has another digest.
            TemporaryError: The ledger cannot be read.
        """
        ...

    def last(self) -> LedgerEntry | None:
        """Return the newest entry; None where there is none yet.

        Raises:
            ArtifactError, TemporaryError: As in `entries`.
        """
        ...

    def stored(self, *, after_seq: int = 0) -> Iterator[StoredEntry]:
        """Read everything as it is stored, by rising number, for verification and export.

        Raises:
            TemporaryError: The ledger cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry as it is stored; nothing about it is believed yet.

    Attributes:
        seq: Under which number it is stored.
        entry: What it says; None where it cannot be read.
        evidence: The bytes that are stored under the entry's digest; None where there are none.
        problem: Why it cannot be read; empty where it can.
    """

    seq: int
    entry: LedgerEntry | None
    evidence: bytes | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceContent:
    """Evidence in the form in which it is stored.

    Attributes:
        digest: SHA-256 of the content, hexadecimal.
        content: Canonical JSON.
    """

    digest: str
    content: bytes


def evidence_content(evidence: Mapping[str, Any]) -> EvidenceContent:
    """Return the bytes that are stored, and their digest.

    Raises:
        InvalidInputError: It has no canonical form, or is too large.
    """
    try:
        content = canonical_json(evidence)
    except InvalidInputError as error:
        raise InvalidInputError(f"evidence.{error.field}", error.problem) from error
    if len(content) > MAXIMUM_EVIDENCE_BYTES:
        raise InvalidInputError(
            "evidence",
            f"has {len(content):,} bytes; at most {MAXIMUM_EVIDENCE_BYTES:,} are kept with an entry: "
            "leave the large part where it lies and name it by its SHA-256",
        )
    return EvidenceContent(evidence_digest(content), content)


def evidence_digest(content: bytes) -> str:
    """SHA-256 of stored evidence, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_evidence(digest: str, content: bytes) -> Mapping[str, Any]:
    """Read stored evidence.

    Raises:
        ArtifactError: It has another digest, or is no JSON object.
    """
    if evidence_digest(content) != digest:
        raise ArtifactError(f"the evidence {digest} was changed: its bytes have another digest")
    try:
        return parse_json(content, maximum_bytes=MAXIMUM_EVIDENCE_BYTES)
    except InvalidInputError as error:
        raise ArtifactError(f"the evidence {digest} cannot be read: {error}") from error


def prepared(decisions: Sequence[Decision]) -> list[tuple[Decision, EvidenceContent | None]]:
    """Give each decision its evidence as stored, before a lock is taken.

    Raises:
        InvalidInputError: See `Ledger.append_all`.
    """
    if len(decisions) > MAXIMUM_DECISIONS:
        raise InvalidInputError("decisions", f"are {len(decisions):,}; at most {MAXIMUM_DECISIONS:,} at once")
    return [
        (decision, None if decision.evidence is None else evidence_content(decision.evidence))
        for decision in decisions
    ]


def chained(
    last: LedgerEntry | None, decisions: Sequence[tuple[Decision, EvidenceContent | None]], at: datetime
) -> tuple[LedgerEntry, ...]:
    """Make the entries that follow ``last``.

    Raises:
        InvalidInputError: A field is out of bounds.
    """
    entries: list[LedgerEntry] = []
    for decision, evidence in decisions:
        last = LedgerEntry.following(
            last,
            at=at,
            actor=decision.actor,
            role=decision.role,
            kind=decision.kind,
            subject=decision.subject,
            reason=decision.reason,
            evidence_digest=None if evidence is None else evidence.digest,
        )
        entries.append(last)
    return tuple(entries)


def newer_entry(condition: UnlessNewer, found: LedgerEntry) -> ConflictError:
    """The error of an appendage whose condition does not hold.

    Args:
        condition: Which.
        found: An entry that it did not know.
    """
    return ConflictError(
        f"entry {found.seq} ({found.kind}, about {found.subject}) has come since entry {condition.seq}; "
        "nothing was appended: read what is there now and decide again"
    )


def checked_until(until: datetime | None) -> datetime | None:
    """Return ``until``.

    Raises:
        InvalidInputError: It has no time zone.
    """
    if until is not None and until.utcoffset() is None:
        raise InvalidInputError("until", "must have a time zone")
    return until
