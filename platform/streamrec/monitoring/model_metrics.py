"""The metrics that every served model has: calls, failures and latency, by slot, role and version.

Slots and roles are fixed when the metrics are made, and a slot shows the versions used last, so the number
of time series has a bound whatever is served. A version that is no longer shown is counted under
`OTHER_VERSIONS`: sums over versions never fall.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from streamrec.contracts.slots import ServingRole

LATENCY_BUCKETS_S: Final = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.010,
    0.015,
    0.020,
    0.030,
    0.040,
    0.050,
    0.065,
    0.085,
    0.100,
    0.150,
    0.250,
    0.500,
    1.0,
    2.5,
    10.0,
)
"""What matters is a bound: the goal of 40 ms, 85 ms for starting optional work, the promise of 100 ms."""

OTHER_VERSIONS: Final = "other"
"""Stands for all versions that a slot no longer shows."""

UNKNOWN_VERSION: Final = "unknown"
"""Stands for the version of a call that nothing answered."""

DEFAULT_MAXIMUM_VERSIONS: Final = 8
"""Champion, challenger, shadow and holdback, before and after a change."""

_LABELS: Final = ("slot", "role", "version")


class CallResult(StrEnum):
    """What came of one call of a model."""

    ANSWERED = "answered"
    DEGRADED = "degraded"
    """It answered with less than it should have: a missing input, a fallback inside it."""
    SKIPPED = "skipped"
    """It was late, or there was no time left to ask it; its caller went on without it."""
    FAILED = "failed"
    """It raised an error, or answered something that could not be used."""


@dataclass(slots=True)
class _Series:
    """The counts of one slot, role and version."""

    results: dict[CallResult, int] = field(default_factory=lambda: dict.fromkeys(CallResult, 0))
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    latency_sum_s: float = 0.0

    def observe(self, latency_s: float, result: CallResult) -> None:
        self.results[result] += 1
        bucket = next(
            (index for index, bound in enumerate(LATENCY_BUCKETS_S) if latency_s <= bound),
            len(LATENCY_BUCKETS_S),
        )
        self.latency_counts[bucket] += 1
        self.latency_sum_s += latency_s

    def add(self, other: _Series) -> None:
        for result, count in other.results.items():
            self.results[result] += count
        self.latency_counts = [
            mine + more for mine, more in zip(self.latency_counts, other.latency_counts, strict=True)
        ]
        self.latency_sum_s += other.latency_sum_s


class ModelMetrics(Collector):
    """Counts the calls of served models. Safe to use from several threads."""

    def __init__(
        self,
        registry: CollectorRegistry,
        slots: Iterable[str],
        *,
        maximum_versions: int = DEFAULT_MAXIMUM_VERSIONS,
    ) -> None:
        """Register the metrics.

        Args:
            registry: Where they are exposed, beside others.
            slots: The only slots that calls may name.
            maximum_versions: Versions that each slot shows, the most recently used ones.
        """
        if maximum_versions < 1:
            raise ValueError("a slot needs room for one version")
        self._slots = frozenset(slots)
        self._maximum_versions = maximum_versions
        self._lock = Lock()
        self._recent: dict[str, OrderedDict[str, None]] = {slot: OrderedDict() for slot in self._slots}
        self._series: dict[tuple[str, ServingRole, str], _Series] = {}
        self._serving: dict[tuple[str, ServingRole], str] = {}
        registry.register(self)

    def observe(
        self, slot: str, role: ServingRole, version: str | None, *, latency_ms: float, result: CallResult
    ) -> None:
        """Count one call.

        Args:
            slot: One of those named at construction.
            role: Why this version was asked.
            version: ``NAME@VERSION`` of what answered; None where nothing did.
            latency_ms: Time that the caller waited, whatever came of it.
            result: What came of it.

        Raises:
            ValueError: The slot was not named at construction.
        """
        self._check(slot)
        with self._lock:
            self._series_of(slot, role, version).observe(latency_ms / 1000.0, result)

    def set_serving(self, slot: str, role: ServingRole, version: str | None) -> None:
        """Say which version answers now; None for none.

        Raises:
            ValueError: The slot was not named at construction.
        """
        self._check(slot)
        with self._lock:
            if version is None:
                self._serving.pop((slot, role), None)
                return
            self._serving[slot, role] = version
            self._series_of(slot, role, version)  # shown with zeros, so that a rate has a beginning

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a registry asks for them."""
        predictions = CounterMetricFamily(
            "streamrec_model_predictions", "Calls of a model, whatever came of them.", labels=_LABELS
        )
        degraded = CounterMetricFamily(
            "streamrec_model_degraded",
            "Calls that a model answered with less than it should.",
            labels=_LABELS,
        )
        skipped = CounterMetricFamily(
            "streamrec_model_skipped", "Calls that were late or had no time left.", labels=_LABELS
        )
        failures = CounterMetricFamily(
            "streamrec_model_failures", "Calls that failed or were answered unusably.", labels=_LABELS
        )
        latency = HistogramMetricFamily(
            "streamrec_model_latency_seconds", "Time that the caller of a model waited.", labels=_LABELS
        )
        serving = GaugeMetricFamily(
            "streamrec_model_serving", "1 for the version that answers now.", labels=_LABELS
        )
        with self._lock:
            for (slot, role, version), series in self._series.items():
                labels = (slot, role.value, version)
                predictions.add_metric(labels, sum(series.results.values()))
                degraded.add_metric(labels, series.results[CallResult.DEGRADED])
                skipped.add_metric(labels, series.results[CallResult.SKIPPED])
                failures.add_metric(labels, series.results[CallResult.FAILED])
                latency.add_metric(labels, _cumulative(series.latency_counts), series.latency_sum_s)
            for (slot, role), version in self._serving.items():
                serving.add_metric((slot, role.value, version), 1.0)
        yield from (predictions, degraded, skipped, failures, latency, serving)

    def _check(self, slot: str) -> None:
        if slot not in self._slots:
            raise ValueError(f"unknown slot {slot!r}: known are {sorted(self._slots)}")

    def _series_of(self, slot: str, role: ServingRole, version: str | None) -> _Series:
        shown = UNKNOWN_VERSION
        if version is not None:
            shown = version
            recent = self._recent[slot]
            recent[version] = None
            recent.move_to_end(version)
            if len(recent) > self._maximum_versions:
                forgotten, _ = recent.popitem(last=False)
                self._fold(slot, forgotten)
        return self._series.setdefault((slot, role, shown), _Series())

    def _fold(self, slot: str, version: str) -> None:
        for role in ServingRole:
            series = self._series.pop((slot, role, version), None)
            if series is not None:
                self._series.setdefault((slot, role, OTHER_VERSIONS), _Series()).add(series)


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
    total = 0
    cumulative: list[tuple[str, float]] = []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        cumulative.append((bound, float(total)))
    return cumulative
