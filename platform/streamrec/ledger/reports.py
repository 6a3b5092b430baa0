"""What was found in a ledger, as results that programs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from streamrec.contracts.canonical_json import one_line
from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.contracts.results import MAXIMUM_MESSAGE_CHARACTERS, Reason, Result, Verdict
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.served import Served
from streamrec.ledger.verification import Verification

VERIFICATION_SCHEMA: Final = "streamrec.ledger_verification.v1"
SERVED_SCHEMA: Final = "streamrec.ledger_served.v1"
ENTRIES_SCHEMA: Final = "streamrec.ledger_entries.v1"

DAMAGED: Final = "ledger_damaged"
"""Code: the database itself is damaged, so that no entry can be named."""

ANCHOR_REFUSED: Final = "anchor_refused"
"""Code: what lies at the anchor's place was not signed by a key that counts."""


def verification_result(place: str, found: Verification) -> Result:
    """Report whether a ledger is what it was.

    An empty one that was never anchored is inconclusive: there is nothing that could be right.
    """
    content = {
        "ledger": place,
        "entries": found.entries,
        "last": None if found.last is None else found.last.to_json(),
        "anchored": found.anchored,
        "bad": None if found.bad is None else {"seq": found.bad.seq, "damage": found.bad.damage.value},
    }
    if found.bad is not None:
        path, problem = f"entries.{found.bad.seq}", f"entry {found.bad.seq} {found.bad.problem}"
        reason = _reason(found.bad.damage.value, path, problem)
        return Result(VERIFICATION_SCHEMA, Verdict.FAILED, (reason,), content)
    if found.last is None:
        reason = _reason("ledger_empty", "entries", f"{place} has no entries")
        return Result(VERIFICATION_SCHEMA, Verdict.INCONCLUSIVE, (reason,), content)
    reasons = []
    if found.anchored < found.entries:
        behind = f"the last {found.entries - found.anchored:,} of {found.entries:,} entries are not anchored"
        reasons.append(
            _reason(
                "not_anchored", "anchored", f"{behind}: whether entries behind them were cut is not known"
            )
        )
    return Result(VERIFICATION_SCHEMA, Verdict.PASSED, tuple(reasons), content)


def unreadable_result(place: str, code: str, problem: str) -> Result:
    """Report that a ledger, or its anchor, cannot be what it was."""
    return Result(VERIFICATION_SCHEMA, Verdict.FAILED, (_reason(code, "ledger", problem),), {"ledger": place})


def served_result(ledger: Ledger, found: Served) -> Result:
    """Report what served, who made it so, and what had been decided about it.

    Raises:
        ArtifactError: The evidence of a decision was changed.
        TemporaryError: The ledger cannot be read.
    """
    decisions = [{**entry.to_json(), "verdict": verdict_in(ledger, entry)} for entry in found.decisions]
    before = found.change.before.get(found.slot)
    return Result(
        SERVED_SCHEMA,
        Verdict.PASSED,
        (),
        {
            "slot": found.slot,
            "at": found.at.isoformat(),
            "version": None if found.version is None else str(found.version),
            "revision": found.change.revision,
            "before": None if before is None else str(before),
            "since": found.since.to_json(),
            "until": None if found.until is None else found.until.to_json(),
            "approved_by": [
                {name: entry[name] for name in ("seq", "at", "actor", "role", "evidence_digest")}
                for entry in decisions
                if entry["kind"] == EntryKind.REVIEW_APPROVED
            ],
            "decisions": decisions,
        },
    )


def nothing_served_result(slot: str, at: str) -> Result:
    """Report that nothing had been promoted yet."""
    reason = _reason("nothing_served", "slot", f"no version had been promoted in {slot} by {at}")
    return Result(SERVED_SCHEMA, Verdict.INCONCLUSIVE, (reason,), {"slot": slot, "at": at, "version": None})


def entries_result(entries: Iterable[LedgerEntry]) -> Result:
    """Report entries as they are."""
    return Result(ENTRIES_SCHEMA, Verdict.PASSED, (), {"entries": [entry.to_json() for entry in entries]})


def verdict_in(ledger: Ledger, entry: LedgerEntry) -> str | None:
    """The field ``verdict`` of an entry's evidence; None where it has none.

    Raises:
        ArtifactError, TemporaryError: See `Ledger.evidence`.
    """
    if entry.evidence_digest is None:
        return None
    try:
        evidence: Mapping[str, Any] = ledger.evidence(entry.evidence_digest)
    except NotFoundError:
        return None
    verdict = evidence.get("verdict")
    return verdict if isinstance(verdict, str) else None


def _reason(code: str, path: str, message: str) -> Reason:
    return Reason(code, path, one_line(message)[:MAXIMUM_MESSAGE_CHARACTERS])
