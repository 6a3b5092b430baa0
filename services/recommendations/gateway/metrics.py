"""The metrics of the recommendation service, in the Prometheus text format.

Label values come from fixed sets, so a hostile request cannot grow the number of time series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from streamrec.contracts.events import EventKind, Rung
from streamrec.events.records import QuarantineReason

_LATENCY_BUCKETS_S: Final = (
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
"""What matters is a bound: the goal of 40 ms, the re-ranker's 85 ms, the promise of 100 ms."""

_NO_RUNG: Final = "none"


class RecommendationMetrics:
    """One process's metrics, in a registry of their own. Safe to use from several threads."""

    def __init__(self, stages: Iterable[str]) -> None:
        """Create the metrics; ``stages`` are the only stage names that `observe_stage` accepts."""
        self._registry = CollectorRegistry()
        self._stages = frozenset(stages)
        self._requests = Counter(
            "streamrec_requests",
            "Recommendation requests by HTTP status and by the rung of the fallback ladder.",
            ("status", "rung"),
            registry=self._registry,
        )
        self._request_latency = Histogram(
            "streamrec_request_latency_seconds",
            "Time from a recommendation request's arrival to its answer.",
            registry=self._registry,
            buckets=_LATENCY_BUCKETS_S,
        )
        self._stage_latency = Histogram(
            "streamrec_stage_latency_seconds",
            "Time the gateway waited for a stage.",
            ("stage",),
            registry=self._registry,
            buckets=_LATENCY_BUCKETS_S,
        )
        self._stage_failures = Counter(
            "streamrec_stage_failures",
            "Stages that were skipped because they failed or were late.",
            ("stage",),
            registry=self._registry,
        )
        self._degraded = Counter(
            "streamrec_degraded", "Answers that a stage is missing from.", registry=self._registry
        )
        self._cold_start = Counter(
            "streamrec_cold_start",
            "Answers whose candidates came from the cold-start model.",
            registry=self._registry,
        )
        self._events_accepted = Counter(
            "streamrec_events_accepted", "Events acknowledged, by kind.", ("kind",), registry=self._registry
        )
        self._events_duplicate = Counter(
            "streamrec_events_duplicate", "Events that had been sent before.", registry=self._registry
        )
        self._events_quarantined = Counter(
            "streamrec_events_quarantined",
            "Events set aside, by reason.",
            ("reason",),
            registry=self._registry,
        )
        self._catalogue_items = Gauge(
            "streamrec_catalogue_items", "Items in the catalogue.", registry=self._registry
        )
        self._model_version = Gauge(
            "streamrec_model_version",
            "Version of each model that answers now.",
            ("model",),
            registry=self._registry,
        )
        self._impressions_dropped = Counter(
            "streamrec_impressions_dropped",
            "Impressions that were not logged because the queue was full.",
            registry=self._registry,
        )
        self._event_log_queued = Gauge(
            "streamrec_event_log_queued_records", "Records waiting to be written.", registry=self._registry
        )
        self._event_log_lost = Gauge(
            "streamrec_event_log_lost_records",
            "Impressions that were queued and could not be written, since the start.",
            registry=self._registry,
        )
        for stage in self._stages:
            self._stage_latency.labels(stage)
            self._stage_failures.labels(stage)
        for kind in EventKind:
            self._events_accepted.labels(kind.value)
        for reason in QuarantineReason:
            self._events_quarantined.labels(reason.value)

    def observe_request(
        self,
        *,
        status: int,
        rung: Rung | None,
        latency_ms: float,
        cold_start: bool = False,
        degraded: bool = False,
    ) -> None:
        """Count one answer; ``rung`` is None where no items were returned (a refused request)."""
        self._requests.labels(str(status), rung.value if rung is not None else _NO_RUNG).inc()
        self._request_latency.observe(latency_ms / 1000.0)
        if degraded:
            self._degraded.inc()
        if cold_start:
            self._cold_start.inc()

    def observe_stage(self, stage: str, latency_ms: float, *, failed: bool = False) -> None:
        """Count one call of a stage, answered or not.

        Raises:
            ValueError: The stage was not named at construction.
        """
        if stage not in self._stages:
            raise ValueError(f"unknown stage {stage!r}: known are {sorted(self._stages)}")
        self._stage_latency.labels(stage).observe(latency_ms / 1000.0)
        if failed:
            self._stage_failures.labels(stage).inc()

    def count_event(self, kind: EventKind) -> None:
        """Count one acknowledged event."""
        self._events_accepted.labels(kind.value).inc()

    def count_duplicate_event(self) -> None:
        """Count one event that had been sent before."""
        self._events_duplicate.inc()

    def count_quarantined_event(self, reason: QuarantineReason) -> None:
        """Count one event that was set aside."""
        self._events_quarantined.labels(reason.value).inc()

    def count_dropped_impression(self) -> None:
        """Count one impression that found the log's queue full."""
        self._impressions_dropped.inc()

    def watch_event_log(self, queued: Callable[[], int], lost: Callable[[], int]) -> None:
        """Ask these for the queue's length and for the records lost whenever the metrics are read."""
        self._event_log_queued.set_function(queued)
        self._event_log_lost.set_function(lost)

    def set_catalogue_items(self, count: int) -> None:
        """Say how many items the catalogue has."""
        self._catalogue_items.set(count)

    def set_model_versions(self, versions: Mapping[str, int]) -> None:
        """Say which version of each model answers now; models that are not named are dropped."""
        self._model_version.clear()
        for model, version in versions.items():
            self._model_version.labels(model).set(version)

    def render(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
