"""The metrics of the recommendation service, in the Prometheus text format.

Those of its models are the hub's (`streamrec.monitoring.model_metrics`). Label values come from fixed sets,
so a hostile request cannot grow the number of time series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.empty_slates import EmptyReason
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import MODEL_STAGES, SLOTS, version_name
from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.slots import ServingRole
from streamrec.events.records import QuarantineReason
from streamrec.monitoring.caller_metrics import CallerMetrics
from streamrec.monitoring.model_metrics import LATENCY_BUCKETS_S, CallResult, ModelMetrics
from streamrec.serving.load_control import LoadControl

_NO_RUNG: Final = "none"
_CATALOGUE: Final = "catalogue"
_GATEWAY: Final = "gateway"
_USER_ROWS: Final = "user_rows"
_ITEM_FEATURES: Final = "item_features"
_NEWEST_EVENT: Final = "newest_event"


class RecommendationMetrics:
    """One process's metrics, in a registry of their own. Safe to use from several threads."""

    def __init__(self, gateway: str | None = None) -> None:
        """Begin at zero.

        Args:
            gateway: Its name among several, for the label ``gateway``: a proxy chooses which one is asked for
                its metrics, and without the label the counters of one would go on in those of another. None
                leaves the label out.
        """
        self._registry = CollectorRegistry()
        self._shown: CollectorRegistry = self._registry
        if gateway is not None:
            self._shown = CollectorRegistry()
            self._shown.register(_OfGateway(self._registry, gateway))
        self._models = ModelMetrics(self._registry, SLOTS.values())
        self.callers = CallerMetrics(self._registry)
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
            buckets=LATENCY_BUCKETS_S,
        )
        self._features_latency = Histogram(
            "streamrec_features_latency_seconds",
            "Time the gateway waited for a user's features.",
            registry=self._registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self._features_age = Gauge(
            "streamrec_features_age_seconds",
            "How long ago the rows of users and the features of items that answer were materialised, and how "
            "long ago the newest event was then; NaN where it is not known.",
            ("part",),
            registry=self._registry,
        )
        self._features_failures = Counter(
            "streamrec_features_failures",
            "Requests answered without the user's features.",
            registry=self._registry,
        )
        self._degraded = Counter(
            "streamrec_degraded", "Answers that a stage is missing from.", registry=self._registry
        )
        self._late = Counter(
            "streamrec_late", "Answers that left after their request's deadline.", registry=self._registry
        )
        self._event_loop_lag = Gauge(
            "streamrec_event_loop_lag_seconds",
            "How late the gateway's event loop runs what is due: so long a request waits unseen.",
            registry=self._registry,
        )
        self._empty = Counter(
            "streamrec_empty_answers",
            "Answers without an item, by reason.",
            ("reason",),
            registry=self._registry,
        )
        self._refused = Counter(
            "streamrec_refused",
            "Requests refused because there were too many, by what was asked for and by why: no place was "
            "free, or the request's time was over before its turn came.",
            ("what", "reason"),
            registry=self._registry,
        )
        self._without_place = self._refused.labels("recommendations", "no_place")
        self._events_without_place = self._refused.labels("events", "no_place")
        self._expired = self._refused.labels("recommendations", "deadline")
        self._requests_refused = self._requests.labels("503", _NO_RUNG)
        self._queue = Histogram(
            "streamrec_queue_seconds",
            "Time from a recommendation request's first byte to its turn, waiting unseen included.",
            registry=self._registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self._limit = Gauge(
            "streamrec_concurrency_limit",
            "Recommendation requests that may be under way at once, by what is measured.",
            registry=self._registry,
        )
        answers = Counter(
            "streamrec_effort",
            "Recommendation requests by how much was done for them; all but `full` are a brown-out.",
            ("effort",),
            registry=self._registry,
        )
        self._efforts = {effort: answers.labels(effort.value) for effort in Effort}
        self._brown_out = Gauge(
            "streamrec_brown_out_level",
            "Steps of the brown-out: 0 nothing, 1 fewer candidates, 2 no re-ranking either.",
            registry=self._registry,
        )
        self._pressure = Gauge(
            "streamrec_pressure",
            "Part of the places for recommendation requests that was given away lately; 1 where it refuses.",
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "streamrec_in_flight", "Recommendation requests under way.", registry=self._registry
        )
        self._faults = Counter(
            "streamrec_faults",
            "Exceptions of what the gateway depends on that a request went on without, by what raised which.",
            ("dependency", "error"),
            registry=self._registry,
        )
        self._bodies_refused = Counter(
            "streamrec_bodies_refused",
            "Requests refused because of their body's size, time or encoding, by kind of problem.",
            ("problem",),
            registry=self._registry,
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
        self._events_waiting = Gauge(
            "streamrec_events_waiting",
            "Events set aside because their item is not known yet, which count when it is.",
            registry=self._registry,
        )
        self._catalogue_items = Gauge(
            "streamrec_catalogue_items", "Items in the catalogue.", registry=self._registry
        )
        self._item_log_readable = Gauge(
            "streamrec_item_log_readable",
            "1 where the item log could be read at the last look; 0 where the catalogue stays as it was.",
            registry=self._registry,
        )
        self._item_revision = Gauge(
            "streamrec_item_revision",
            "Of the item log that the catalogue, and each stage as of its last answer, has followed.",
            ("part",),
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
        for why in EmptyReason:
            self._empty.labels(why.value)
        for kind in InteractionKind:
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
        effort: Effort = Effort.FULL,
        late: bool = False,
        empty_reason: EmptyReason | None = None,
    ) -> None:
        """Count one answer; ``rung`` is None where there was none (a refused request)."""
        self._requests.labels(str(status), rung.value if rung is not None else _NO_RUNG).inc()
        self._request_latency.observe(latency_ms / 1000.0)
        if degraded:
            self._degraded.inc()
        if cold_start:
            self._cold_start.inc()
        if late:
            self._late.inc()
        self._efforts[effort].inc()
        if empty_reason is not None:
            self._empty.labels(empty_reason.value).inc()

    def count_request_without_place(self) -> None:
        """Count one recommendation request that was refused at the door. Cheap: there may be many."""
        self._without_place.inc()
        self._requests_refused.inc()

    def count_events_without_place(self) -> None:
        """Count one event request that was refused at the door."""
        self._events_without_place.inc()

    def count_expired(self) -> None:
        """Count one recommendation request whose time was over before its turn came."""
        self._expired.inc()

    def observe_queue(self, waited_ms: float) -> None:
        """Count one request that came to its turn."""
        self._queue.observe(waited_ms / 1000.0)

    def watch_load(self, load: LoadControl) -> None:
        """Ask this for limit, places and brown-out whenever the metrics are read."""
        self._limit.set_function(lambda: load.limit.current)
        self._in_flight.set_function(lambda: load.admission.under_way)
        self._brown_out.set_function(lambda: load.brown_out.level)
        self._pressure.set_function(lambda: load.brown_out.pressure)

    def watch_event_loop(self, lag_ms: Callable[[], float]) -> None:
        """Ask this for the event loop's lag whenever the metrics are read."""
        self._event_loop_lag.set_function(lambda: lag_ms() / 1000.0)

    def observe_features(self, latency_ms: float, *, failed: bool = False) -> None:
        """Count one wait for a user's features, read or not."""
        self._features_latency.observe(latency_ms / 1000.0)
        if failed:
            self._features_failures.inc()

    def count_fault(self, dependency: str, error: str) -> None:
        """Count one exception; both names must come from small sets."""
        self._faults.labels(dependency, error).inc()

    def count_refused_body(self, problem: str) -> None:
        """Count one request that was refused before its body was looked into."""
        self._bodies_refused.labels(problem).inc()

    def observe_model(
        self,
        stage: str,
        version: int | None,
        latency_ms: float,
        result: CallResult,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        """Count one call of a model stage; ``version`` is None where it is not known."""
        named = None if version is None else version_name(stage, version)
        self._models.observe(SLOTS[stage], role, named, latency_ms=latency_ms, result=result)

    def count_event(self, kind: InteractionKind) -> None:
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

    def watch_waiting_events(self, waiting: Callable[[], int]) -> None:
        """Ask this for the number of waiting events whenever the metrics are read."""
        self._events_waiting.set_function(waiting)

    def watch_event_log(self, queued: Callable[[], int], lost: Callable[[], int]) -> None:
        """Ask these for the queue's length and for the records lost whenever the metrics are read."""
        self._event_log_queued.set_function(queued)
        self._event_log_lost.set_function(lost)

    def watch_features(
        self,
        rows: Callable[[], datetime],
        items: Callable[[], datetime],
        newest_event: Callable[[], datetime | None],
    ) -> None:
        """Ask these for three times whenever the metrics are read, to say how long ago they are.

        Args:
            rows: When the rows of users were materialised.
            items: When the features of items were that answer.
            newest_event: Of the newest event in the rows as they were materialised.
        """
        for part, moment in ((_USER_ROWS, rows), (_ITEM_FEATURES, items), (_NEWEST_EVENT, newest_event)):
            self._features_age.labels(part).set_function(partial(_age_s, moment))

    def watch_catalogue(
        self, items: Callable[[], int], revision: Callable[[], int], readable: Callable[[], bool]
    ) -> None:
        """Ask these for the catalogue's size, its item revision and whether it follows the item log."""
        self._item_log_readable.set_function(readable)
        self._catalogue_items.set_function(items)
        self._item_revision.labels(_CATALOGUE).set_function(revision)

    def set_item_revision(self, stage: str, revision: int) -> None:
        """Say which item revision a stage answered with last."""
        self._item_revision.labels(stage).set(revision)

    def set_model_versions(
        self, versions: Mapping[str, int], role: ServingRole = ServingRole.CHAMPION
    ) -> None:
        """Say which version of each stage answers now; a stage that is not named has none."""
        for stage in MODEL_STAGES:
            version = versions.get(stage)
            named = None if version is None else version_name(stage, version)
            self._models.set_serving(SLOTS[stage], role, named)

    def set_versions_by_role(self, versions: Mapping[ServingRole, Mapping[str, int]]) -> None:
        """Say the same of several roles."""
        for role, by_stage in versions.items():
            self.set_model_versions(by_stage, role)

    def render(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._shown), CONTENT_TYPE_LATEST


class _OfGateway(Collector):
    """What a registry holds, with the gateway's name on every sample."""

    def __init__(self, registry: CollectorRegistry, gateway: str) -> None:
        self._registry, self._label = registry, {_GATEWAY: gateway}

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now."""
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels=self._label | dict(sample.labels)) for sample in metric.samples
            ]
            yield metric


def _age_s(moment: Callable[[], datetime | None]) -> float:
    """Seconds since a moment; NaN where there is none, or where it cannot be told now."""
    try:
        then = moment()
    except StreamRecError:
        return math.nan
    return math.nan if then is None else (datetime.now(UTC) - then).total_seconds()
