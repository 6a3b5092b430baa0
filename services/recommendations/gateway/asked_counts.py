"""Who was asked and what came of it: into the metrics, and into the tally that rollouts are decided by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import SLOTS, version_name
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.pipeline.pipeline import PipelineAnswer
from services.recommendations.pipeline.trace import AskedVersion
from services.recommendations.pipeline.trials import ShadowAnswer
from streamrec.contracts.errors import OverloadedError
from streamrec.contracts.events import Prediction
from streamrec.contracts.slots import ServingRole
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.compaction import nobody
from streamrec.monitoring.model_metrics import CallResult
from streamrec.serving.counting.served_counts import AskedOutcome, CountedUnder, ServedCounts

_RESULTS: Final = {
    AskedOutcome.ANSWERED: CallResult.ANSWERED,
    AskedOutcome.FAILED: CallResult.FAILED,
    AskedOutcome.MALFORMED: CallResult.FAILED,
    AskedOutcome.LATE: CallResult.SKIPPED,
    AskedOutcome.NOT_ASKED: CallResult.SKIPPED,
}


class AskedCounts:
    """Counts who was asked. For one event loop."""

    def __init__(self, counts: ServedCounts | None, metrics: RecommendationMetrics) -> None:
        """Describe it.

        Args:
            counts: What the tally is made of; None: no tally is kept.
            metrics: Of the service.
        """
        self._counts, self._metrics = counts, metrics

    def answer(self, answer: PipelineAnswer) -> None:
        """Count all whom one request asked."""
        # What is left out because there is much to do says nothing of the versions.
        degraded = answer.rung is not Rung.RANKED or bool(answer.skipped)
        for asked in answer.asked:
            self._observe(asked)
            if not asked.instead:
                self._count(asked, degraded=degraded)

    def shadow(self, asked: AskedVersion, *, disagreed: bool) -> None:
        """Count one shadow."""
        self._observe(asked)
        self._count(asked, disagreed=disagreed)

    def _observe(self, asked: AskedVersion) -> None:
        version = asked.version
        if version is None and asked.pin is not None:
            version = asked.pin.version
        self._metrics.observe_model(
            asked.stage, version, asked.waited_ms, _RESULTS[asked.outcome], asked.role
        )

    def _count(self, asked: AskedVersion, *, degraded: bool = False, disagreed: bool = False) -> None:
        pin = asked.pin
        if self._counts is None or pin is None:
            return
        self._counts.count(
            CountedUnder(pin.slot, pin.role, pin.ref, pin.holder, pin.weight_bp),
            asked.outcome,
            asked.model_ms,
            degraded=degraded,
            disagreed=disagreed,
        )


class ShadowLog:
    """Takes note of shadows. For one event loop."""

    def __init__(
        self,
        counts: AskedCounts,
        log: AsyncEventLog,
        is_erased: Callable[[str], bool] = nobody,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Describe it.

        Args:
            counts: Where they are counted.
            log: Where predictions go.
            is_erased: Whether nothing may be kept of a user.
            now: Now, UTC.
        """
        self._counts, self._log, self._is_erased, self._now = counts, log, is_erased, now

    def note(self, shadow: ShadowAnswer) -> None:
        """Count it, and queue what it answered; where the queue is full it is counted alone."""
        asked = shadow.asked
        self._counts.shadow(asked, disagreed=shadow.disagreed)
        if asked.version is None or self._is_erased(shadow.unit):
            return
        prediction = Prediction(
            request_id=shadow.request_id,
            unit=shadow.unit,
            slot=SLOTS[asked.stage],
            role=ServingRole.SHADOW,
            version=version_name(asked.stage, asked.version),
            predicted_at=self._now(),
            traffic_revision=shadow.traffic_revision,
            output={"item_ids": list(shadow.item_ids), "disagreed": shadow.disagreed},
        )
        try:
            self._log.enqueue([prediction])
        except OverloadedError:
            return
