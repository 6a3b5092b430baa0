"""What a load generator saw, request by request, and the file that carries it to whoever sums it up."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import STAGES

STAGE_NAMES: Final = STAGES
RUNGS: Final = tuple(rung.value for rung in Rung)
NO_RUNG: Final = -1


@dataclass
class Recording:
    """One load. Times are seconds from its start.

    Attributes:
        times_s: Shape (n,): when each request was planned.
        sent_s: Shape (n,): when it was sent; what lies between is the generator's own lateness.
        done_s: Shape (n,): when its answer was whole, or it was known that none comes; NaN for neither.
        status: Shape (n,): HTTP status; 0 without an answer.
        known: Shape (n,): whether the user has a history.
        degraded: Shape (n,), of answers.
        rung: Shape (n,): position in `RUNGS`, `NO_RUNG` without an answer.
        stages_ms: Shape (n, stages): what the answer says of each of `STAGE_NAMES`; NaN for nothing.
        event_waits_ms: Time to the acknowledgement of each event, from when it was sent.
        failed_events: Events without one.
        process_cpu_s: Processor time that the generator took for it.
    """

    times_s: NDArray[np.float64]
    sent_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    status: NDArray[np.int16]
    known: NDArray[np.bool_]
    degraded: NDArray[np.bool_]
    rung: NDArray[np.int8]
    stages_ms: NDArray[np.float32]
    event_waits_ms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    failed_events: int = 0
    process_cpu_s: float = 0.0

    @classmethod
    def empty(cls, count: int) -> Self:
        """Of so many requests, none of which was sent."""
        return cls(
            times_s=np.full(count, np.nan),
            sent_s=np.full(count, np.nan),
            done_s=np.full(count, np.nan),
            status=np.zeros(count, dtype=np.int16),
            known=np.zeros(count, dtype=np.bool_),
            degraded=np.zeros(count, dtype=np.bool_),
            rung=np.full(count, NO_RUNG, dtype=np.int8),
            stages_ms=np.full((count, len(STAGE_NAMES)), np.nan, dtype=np.float32),
        )

    def write(self, path: Path) -> None:
        """Write it."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: getattr(self, name) for name in _names()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in _names()}
        values["failed_events"] = int(values["failed_events"])
        values["process_cpu_s"] = float(values["process_cpu_s"])
        return cls(**values)


def _names() -> list[str]:
    return [entry.name for entry in fields(Recording)]
