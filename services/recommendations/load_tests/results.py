"""What a load test found: one row for each system and rate, in the shape of its JSON file.

FILE: ``{"rows": [ROW, ...], "stages": {NAME: {"p50_ms", "p99_ms"}}, "machine": {...}}``. A ROW has the fields
of `Row`. NAME is ``SYSTEM.STAGE``: what a request of that system waited for the stage, at the lowest rate; or
``STAGE`` alone: what the stage's own work takes, which is what is waited for it where it runs in the process
that asks: in the monolith or, where that was not measured, in the service with its stages together.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.load_tests.recording import RUNGS, STAGE_NAMES, Recording
from services.recommendations.load_tests.schedule import LoadSettings

OK: Final = 200
REFUSED: Final = 503
_PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Row:
    """One system at one rate, all rounds together.

    Attributes:
        system: See `systems.System`.
        items: Of the catalogue.
        offered_rps: Requests planned a second, on average.
        achieved_rps: Answers with status 200 a second.
        p50_ms, p95_ms, p99_ms, p999_ms: From the planned time of a request to its whole answer. One that was
            waited for in vain counts with that wait; one that was refused does not count.
        errors: Requests without an answer of status 200, refused ones included.
        degraded_share: Share of the answers that are less than they should be.
        cpu_ms_per_request: Processor time of all processes of the service, proxy and Ray included, for each
            answer; the events that belong to the load are paid by the answers.
    """

    system: str
    items: int
    offered_rps: float
    achieved_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    errors: int
    degraded_share: float
    cpu_ms_per_request: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """What is kept of one or several loads of one system at one rate.

    Attributes:
        waits_ms: Shape (answers,): from planned time to answer; unanswered ones included.
        refusals_ms: Shape (refused,): the same of those that were refused.
        stages_ms: Shape (answers, stages).
        answers, refused, unanswered, degraded: How many.
        rungs: Shape (rungs,): answers by rung.
        duration_s: Measured, of all loads together.
        cpu_s: By kind of process (`processes.KINDS`); empty where it was not measured.
        lateness_ms: Shape (requests,): how late each was sent.
        generator_cpu_ms: Processor time of the generator for each request.
        event_waits_ms: Of events, and
        failed_events: those without an acknowledgement; warm-up included.
    """

    waits_ms: NDArray[np.float64]
    refusals_ms: NDArray[np.float64]
    stages_ms: NDArray[np.float32]
    answers: int
    refused: int
    unanswered: int
    degraded: int
    rungs: NDArray[np.int64]
    duration_s: float
    cpu_s: Mapping[str, float]
    lateness_ms: NDArray[np.float64]
    generator_cpu_ms: float
    event_waits_ms: NDArray[np.float64]
    failed_events: int

    @classmethod
    def of(cls, recording: Recording, load: LoadSettings, cpu_s: Mapping[str, float]) -> Self:
        """Sum up what a generator saw after the warm-up."""
        measured = recording.times_s >= load.warm_up_s
        status = recording.status[measured]
        answered = status == OK
        # Of one that was never answered it is known how long it was waited for.
        done_s = np.nan_to_num(recording.done_s[measured], nan=load.total_s + load.patience_s)
        waits_ms = (done_s - recording.times_s[measured]) * 1000.0
        rungs = recording.rung[measured][answered]
        return cls(
            waits_ms=waits_ms[answered | np.isnan(recording.done_s[measured])],
            refusals_ms=waits_ms[status == REFUSED],
            stages_ms=recording.stages_ms[measured][answered],
            answers=int(answered.sum()),
            refused=int((status == REFUSED).sum()),
            unanswered=int((~answered & (status != REFUSED)).sum()),
            degraded=int(recording.degraded[measured][answered].sum()),
            rungs=np.bincount(rungs[rungs >= 0], minlength=len(RUNGS)),
            duration_s=load.duration_s,
            cpu_s=dict(cpu_s),
            lateness_ms=(recording.sent_s[measured] - recording.times_s[measured]) * 1000.0,
            generator_cpu_ms=1000.0 * recording.process_cpu_s / max(1, len(recording.times_s)),
            event_waits_ms=recording.event_waits_ms,
            failed_events=recording.failed_events,
        )

    @classmethod
    def together(cls, loads: Sequence[Measured]) -> Self:
        """Several rounds as one; ``loads`` must not be empty."""
        cpu_s: dict[str, float] = {}
        for load in loads:
            for kind, seconds in load.cpu_s.items():
                cpu_s[kind] = cpu_s.get(kind, 0.0) + seconds
        return cls(
            waits_ms=np.concatenate([load.waits_ms for load in loads]),
            refusals_ms=np.concatenate([load.refusals_ms for load in loads]),
            stages_ms=np.concatenate([load.stages_ms for load in loads]),
            answers=sum(load.answers for load in loads),
            refused=sum(load.refused for load in loads),
            unanswered=sum(load.unanswered for load in loads),
            degraded=sum(load.degraded for load in loads),
            rungs=np.sum([load.rungs for load in loads], axis=0),
            duration_s=sum(load.duration_s for load in loads),
            cpu_s=cpu_s,
            lateness_ms=np.concatenate([load.lateness_ms for load in loads]),
            generator_cpu_ms=float(np.mean([load.generator_cpu_ms for load in loads])),
            event_waits_ms=np.concatenate([load.event_waits_ms for load in loads]),
            failed_events=sum(load.failed_events for load in loads),
        )

    @property
    def errors(self) -> int:
        """Requests without an answer of status 200."""
        return self.refused + self.unanswered

    @property
    def degraded_share(self) -> float:
        """Of the answers; 0 without any."""
        return self.degraded / self.answers if self.answers else 0.0

    def percentile_ms(self, percent: float) -> float | None:
        """Of the waits; None without any."""
        return percentile(self.waits_ms, percent)

    def cpu_ms_per_request(self, *kinds: str) -> float | None:
        """Processor time of some kinds of processes, of all where none is named, for each answer."""
        if not self.cpu_s or not self.answers:
            return None
        return 1000.0 * sum(self.cpu_s[kind] for kind in (kinds or self.cpu_s)) / self.answers

    def row(self, system: str, items: int, offered_rps: float) -> Row:
        """The row of the JSON file."""
        p50, p95, p99, p999 = (self.percentile_ms(percent) for percent in _PERCENTILES)
        cpu_ms = self.cpu_ms_per_request()
        return Row(
            system,
            items,
            offered_rps,
            round(self.answers / self.duration_s, 3),
            p50,
            p95,
            p99,
            p999,
            self.errors,
            round(self.degraded_share, 6),
            None if cpu_ms is None else round(cpu_ms, 3),
        )

    def stages(self) -> dict[str, dict[str, float]]:
        """By stage that answered at all: ``p50_ms`` and ``p99_ms`` of what the gateway waited for it."""
        found = {}
        for column, name in enumerate(STAGE_NAMES):
            spent_ms = self.stages_ms[:, column]
            spent_ms = spent_ms[~np.isnan(spent_ms)]
            if spent_ms.size:
                p50, p99 = np.percentile(spent_ms, (50.0, 99.0)).tolist()
                found[name] = {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}
        return found

    def details(self) -> dict[str, Any]:
        """What the row does not say, as plain JSON values."""
        return {
            "requests": self.answers + self.errors,
            "refused": self.refused,
            "refused_ms": {
                "p50": percentile(self.refusals_ms, 50.0),
                "p99": percentile(self.refusals_ms, 99.0),
            },
            "unanswered": self.unanswered,
            "rungs": dict(zip(RUNGS, self.rungs.tolist(), strict=True)),
            "stages": self.stages(),
            "cpu_ms_per_request": {kind: self.cpu_ms_per_request(kind) for kind in self.cpu_s},
            "generator_cpu_ms_per_request": round(self.generator_cpu_ms, 3),
            "sent_late_ms": {
                "p50": percentile(self.lateness_ms, 50.0),
                "p99": percentile(self.lateness_ms, 99.0),
            },
            "events": {
                "acknowledged": len(self.event_waits_ms),
                "failed": self.failed_events,
                "p50_ms": percentile(self.event_waits_ms, 50.0),
                "p99_ms": percentile(self.event_waits_ms, 99.0),
            },
        }


def percentile(values: NDArray[np.float64], percent: float) -> float | None:
    """Linear between the two nearest values, in microseconds' precision; None of nothing."""
    return round(float(np.percentile(values, percent)), 3) if values.size else None


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import psutil

    load_1m, load_5m, _ = os.getloadavg()
    return {
        "cpus": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": {"1m": round(load_1m, 2), "5m": round(load_5m, 2)},
    }


def _cpu_model() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        described = []
    names = [line.partition(":")[2].strip() for line in described if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
