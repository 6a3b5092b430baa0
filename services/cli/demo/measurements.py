"""What the traffic measured, and the arithmetic from there to the summary's figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.intervals import Interval
from streamrec.stats.inequality import gini
from streamrec.stats.intervals import bootstrap_mean

LATENCY_BUDGET_MS: Final = 100.0
"""The platform's promise for the 99th percentile of a request."""

_PERCENTILES: Final = (50, 95, 99)
_HISTOGRAM_BINS: Final = 40


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One recommendation request as its client saw it.

    Attributes:
        user_id: Who asked.
        known_user: Whether the user has a history in the data that the models were trained on.
        latency_ms: From the first byte sent to the last byte read, retries and their pauses included.
        attempts: 1 without a retry.
        failure: Empty for an answer; else the status or the exception that ended the last attempt.
        item_ids: The slate, first position first.
        rung: Step of the fallback ladder.
        degraded: Whether the answer says that a stage was skipped.
        in_full: Whether no stage cut its work off to be in time.
        cold_start: Whether candidates came from the cold-start model.
        stages_ms: Time in each stage, by the server's clock.
        model_versions: Version by stage, of the stages that answered.
    """

    user_id: str
    known_user: bool
    latency_ms: float
    attempts: int
    failure: str = ""
    item_ids: tuple[str, ...] = ()
    rung: str = ""
    degraded: bool = False
    in_full: bool = True
    cold_start: bool = False
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    model_versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether the client got an answer it can show."""
        return not self.failure


def latency_percentiles(values_ms: Sequence[float] | NDArray[np.float64]) -> dict[str, float | None]:
    """Percentiles 50, 95 and 99, interpolated linearly; None for each where there is no value."""
    if len(values_ms) == 0:
        return {f"p{percentile}_ms": None for percentile in _PERCENTILES}
    found = np.percentile(np.asarray(values_ms, dtype=np.float64), _PERCENTILES)
    return {
        f"p{percentile}_ms": round(float(value), 3)
        for percentile, value in zip(_PERCENTILES, found, strict=True)
    }


def served_figures(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """Count answers and errors; shares and percentiles are over the answered requests."""
    answered = [record for record in records if record.answered]
    return {
        "requests": len(records),
        "errors": len(records) - len(answered),
        "degraded_share": _share(record.degraded for record in answered),
        "cold_start_share": _share(record.cold_start for record in answered),
        **latency_percentiles([record.latency_ms for record in answered]),
        "retried_requests": sum(record.attempts > 1 for record in records),
        "failures": dict(Counter(record.failure for record in records if record.failure).most_common(10)),
        "rungs": dict(Counter(record.rung for record in answered).most_common()),
        "users": len({record.user_id for record in records}),
        "new_users": len({record.user_id for record in records if not record.known_user}),
        "new_user_requests": sum(not record.known_user for record in records),
        "over_budget_share": _share(record.latency_ms > LATENCY_BUDGET_MS for record in answered),
        "budget_ms": LATENCY_BUDGET_MS,
    }


def stage_figures(
    records: Sequence[RequestRecord], order: Sequence[str] = ()
) -> dict[str, dict[str, float | int | None]]:
    """Percentiles of each stage's time over the answers that went through it; ``order`` comes first."""
    values: dict[str, list[float]] = {stage: [] for stage in order}
    for record in records:
        for stage, spent_ms in record.stages_ms.items():
            values.setdefault(stage, []).append(spent_ms)
    return {
        stage: {**latency_percentiles(spent), "requests": len(spent)}
        for stage, spent in values.items()
        if spent
    }


def latency_histogram(records: Sequence[RequestRecord]) -> dict[str, list[float] | list[int]]:
    """Counts of client latencies in bins of equal width; the last bin's edge is the slowest answer."""
    values = np.array([record.latency_ms for record in records if record.answered])
    if values.size == 0:
        return {"edges_ms": [], "counts": []}
    counts, edges = np.histogram(values, bins=_HISTOGRAM_BINS, range=(0.0, float(values.max())))
    return {"edges_ms": [round(float(edge), 3) for edge in edges], "counts": [int(count) for count in counts]}


def language_exposure(
    slates: Iterable[Sequence[str]], language_of: Mapping[str, str], languages: Sequence[str]
) -> NDArray[np.float64]:
    """Count how often items of each creator language were shown.

    Every position counts once, as in the measure of the simulated world's old policy: the two compare.

    Args:
        slates: Item ids.
        language_of: Creator language by item id.
        languages: Every language of the catalogue, also those that are never shown.

    Returns:
        Shape (len(languages),).
    """
    counts = Counter(language_of[item_id] for slate in slates for item_id in slate)
    return np.array([counts[language] for language in languages], dtype=np.float64)


def exposure_gini(exposure: NDArray[np.float64]) -> float | None:
    """Gini of the exposure over languages; None where nothing was shown or there is one language only."""
    if exposure.size < 2 or exposure.sum() <= 0.0:
        return None
    return gini(exposure)


def share_interval(outcomes: Sequence[bool | float], seed: int) -> Interval | None:
    """Mean of per-user outcomes with its 95 % bootstrap interval; None where nobody was counted."""
    if len(outcomes) == 0:
        return None
    return bootstrap_mean(np.asarray(outcomes, dtype=np.float64), rng=np.random.default_rng(seed))


def _share(flags: Iterable[bool]) -> float | None:
    counted = list(flags)
    return round(sum(counted) / len(counted), 6) if counted else None
