"""What a process counts of the answers in each slot, role and step, to be written down as its tally.

Counting is a few additions to a dictionary, so that it costs a request nothing that could be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import NamedTuple

from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.tallies import (
    MAXIMUM_ROWS,
    Answers,
    ServedTally,
    TallyRow,
    latency_bucket,
)
from streamrec.contracts.slots import ServingRole


class AskedOutcome(StrEnum):
    """What came of asking a version."""

    ANSWERED = "answered"
    FAILED = "failed"
    """It raised, was not there, refused, or its replica died."""
    MALFORMED = "malformed"
    """It answered what must not be shown."""
    LATE = "late"
    """It was not done in the time that it was given."""
    NOT_ASKED = "not_asked"
    """There was no time left to ask it, which says nothing of it."""


class CountedUnder(NamedTuple):
    """What answers are counted by.

    Attributes:
        slot, role, version: Who was asked.
        holder: The rollout or experiment that held the slot; None where none did.
        weight_bp: Share of the challenger then, in basis points.
    """

    slot: str
    role: ServingRole
    version: ModelRef
    holder: str | None
    weight_bp: int


@dataclass(slots=True)
class _Counts:
    asked: int = 0
    failed: int = 0
    malformed: int = 0
    late: int = 0
    degraded: int = 0
    disagreed: int = 0
    latency: dict[int, int] = field(default_factory=dict)

    def as_answers(self) -> Answers:
        latency = {str(bucket): self.latency[bucket] for bucket in sorted(self.latency)}
        return Answers(
            self.asked, self.failed, self.malformed, self.late, self.degraded, self.disagreed, latency
        )


class ServedCounts:
    """Counts since the process began. Safe to use from several threads."""

    def __init__(self, server: str, *, maximum_rows: int = MAXIMUM_ROWS) -> None:
        """Begin at zero.

        Args:
            server: Name of the process, never used again.
            maximum_rows: Rows that are kept; beyond, the oldest that no rollout held goes, else the oldest.
        """
        self._server = server
        self._maximum_rows = maximum_rows
        self._lock = Lock()
        self._rows: dict[CountedUnder, _Counts] = {}
        self._counted = 0

    @property
    def server(self) -> str:
        """Name of the process."""
        return self._server

    @property
    def counted(self) -> int:
        """How many were counted in all: unchanged where there is nothing new to write down."""
        return self._counted

    def count(
        self,
        under: CountedUnder,
        outcome: AskedOutcome,
        model_ms: float = 0.0,
        *,
        degraded: bool = False,
        disagreed: bool = False,
    ) -> None:
        """Count one request that a version was asked for; nothing where it was not asked.

        Args:
            under: Who was asked, under which step.
            outcome: What came of it.
            model_ms: The model's own time where it answered, waiting for its turn included.
            degraded: Whether the user got less than they should have.
            disagreed: Of a shadow: whether it answered otherwise than the champion.
        """
        if outcome is AskedOutcome.NOT_ASKED:
            return
        with self._lock:
            counts = self._row(under)
            counts.asked += 1
            counts.degraded += degraded
            counts.disagreed += disagreed
            if outcome is AskedOutcome.ANSWERED:
                bucket = latency_bucket(model_ms)
                counts.latency[bucket] = counts.latency.get(bucket, 0) + 1
            elif outcome is AskedOutcome.FAILED:
                counts.failed += 1
            elif outcome is AskedOutcome.MALFORMED:
                counts.malformed += 1
            else:
                counts.late += 1
            self._counted += 1

    def tally(self, now: Callable[[], datetime]) -> ServedTally:
        """All counts as they are now, as the document that is written."""
        with self._lock:
            rows = tuple(TallyRow(*under, counts.as_answers()) for under, counts in self._rows.items())
        return ServedTally(self._server, now(), rows)

    def _row(self, under: CountedUnder) -> _Counts:
        counts = self._rows.get(under)
        if counts is None:
            counts = self._rows[under] = _Counts()
            if len(self._rows) > self._maximum_rows:
                del self._rows[self._first_to_go(under)]
        return counts

    def _first_to_go(self, new: CountedUnder) -> CountedUnder:
        """The oldest row that no rollout held, or else the oldest of all."""
        others = [row for row in self._rows if row != new]
        return next((row for row in others if row.holder is None), others[0])
