"""Impressions on their way to the log, without anybody waiting for them."""

from __future__ import annotations

from services.recommendations.gateway.metrics import RecommendationMetrics
from streamrec.contracts.errors import OverloadedError
from streamrec.contracts.events import Impression
from streamrec.events.async_event_log import AsyncEventLog


class ImpressionSink:
    """Hands impressions to the event log's own bounded queue, and counts those that do not fit."""

    def __init__(self, log: AsyncEventLog, metrics: RecommendationMetrics) -> None:
        """Describe a sink.

        Args:
            log: Where impressions go.
            metrics: Where lost ones and the queue's length are shown.
        """
        self._log = log
        self._metrics = metrics
        metrics.watch_event_log(queued=lambda: log.queued_records, lost=lambda: log.lost_records)

    def offer(self, impression: Impression) -> bool:
        """Queue an impression; False if it was dropped because the queue is full."""
        try:
            self._log.enqueue([impression])
        except OverloadedError:
            self._metrics.count_dropped_impression()
            return False
        return True
