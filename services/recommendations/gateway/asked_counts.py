"""Who was asked and what came of it: into the metrics, and into the tally that rollouts are decided by."""

from __future__ import annotations

from typing import Final

from services.recommendations.contracts.rungs import Rung
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.pipeline.pipeline import PipelineAnswer
from services.recommendations.pipeline.trace import AskedVersion
from streamrec.monitoring.model_metrics import CallResult
from streamrec.serving.served_counts import AskedOutcome, CountedUnder, ServedCounts

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
