"""What was decided in the past, as the ledger has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.contracts.results import Result
from streamrec.gates.gates_report import GatesReport
from streamrec.ledger.ledger import Ledger
from streamrec.rollout.driving.transitions import TRANSITIONS, RecordedTransition, recorded_transition

MAXIMUM_ROLLOUTS: Final = 10_000
"""That are replayed at once; the newest of the range."""


@dataclass(frozen=True, slots=True)
class PastRollout:
    """The whole history of one rollout.

    Attributes:
        transitions: Oldest first; never empty.
    """

    transitions: tuple[RecordedTransition, ...]

    @property
    def name(self) -> str:
        """Of the rollout."""
        return self.transitions[0].entry.subject


@dataclass(frozen=True, slots=True)
class PastGate:
    """What the gates said of a version.

    Attributes:
        entry: The judgement in the ledger.
        results: What each gate said, with what it decided by; None where the ledger did not keep it.
    """

    entry: LedgerEntry
    results: tuple[Result, ...] | None


def read_past_rollouts(
    ledger: Ledger, start: datetime | None = None, end: datetime | None = None
) -> tuple[PastRollout, ...]:
    """Rollouts that began in a range of time, oldest first, each with all of its history.

    Args:
        ledger: Where they are.
        start, end: From the one on, and before the other; None: from the beginning, until now.

    Raises:
        ArtifactError, NotFoundError: An entry or its evidence was changed, or is missing.
        TemporaryError: The ledger cannot be read.
    """
    by_name: dict[str, list[LedgerEntry]] = {}
    for entry in ledger.entries(kinds=TRANSITIONS):
        by_name.setdefault(entry.subject, []).append(entry)
    wanted = [entries for entries in by_name.values() if _in_range(entries[0], start, end)]
    return tuple(
        PastRollout(tuple(recorded_transition(ledger, entry) for entry in entries))
        for entries in wanted[-MAXIMUM_ROLLOUTS:]
    )


def read_past_gates(
    ledger: Ledger, start: datetime | None = None, end: datetime | None = None
) -> tuple[PastGate, ...]:
    """Judgements of gates in a range of time, oldest first.

    Args:
        ledger: Where they are.
        start, end: As of `read_past_rollouts`.

    Raises:
        ArtifactError, NotFoundError: An entry or its evidence was changed, or is missing.
        TemporaryError: The ledger cannot be read.
    """
    return tuple(
        PastGate(entry, _results(ledger, entry))
        for entry in ledger.entries(kinds=(EntryKind.GATES_JUDGED,))
        if _in_range(entry, start, end)
    )


def _results(ledger: Ledger, entry: LedgerEntry) -> tuple[Result, ...] | None:
    if entry.evidence_digest is None:
        return None
    report = ledger.evidence(entry.evidence_digest).get("report")
    if report is None:
        return None  # it was too large for the ledger, which keeps its digest
    try:
        return GatesReport.from_json(report).results
    except InvalidInputError as error:
        raise ArtifactError(
            f"the evidence of entry {entry.seq} of the ledger is not that of gates of this release: {error}"
        ) from error


def _in_range(entry: LedgerEntry, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or entry.at >= start) and (end is None or entry.at < end)
