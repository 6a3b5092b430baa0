"""Impressions on their way to the log, without anybody waiting for them."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge

from streamrec.contracts.errors import OverloadedError
from streamrec.contracts.events import Impression
from streamrec.events.async_event_log import AsyncEventLog

_LOG = logging.getLogger(__name__)


class ImpressionSink:
    """Hands impressions to the event log's own bounded queue, and counts those that do not fit."""

    def __init__(self, log: AsyncEventLog, registry: CollectorRegistry) -> None:
        """Describe a sink.

        Args:
            log: Where impressions go.
            registry: Where lost ones and the queue's length are shown.
        """
        self._log = log
        self._dropped = Counter(
            "streamrec_impressions_dropped",
            "Impressions that were not logged because the queue was full.",
            registry=registry,
        )
        waiting = Gauge(
            "streamrec_event_log_queued_records", "Records waiting to be written.", registry=registry
        )
        waiting.set_function(lambda: log.queued_records)
        lost = Gauge(
            "streamrec_event_log_lost_records",
            "Impressions that were queued and could not be written, since the start.",
            registry=registry,
        )
        lost.set_function(lambda: log.lost_records)

    def offer(self, impression: Impression) -> bool:
        """Queue an impression; False if it was dropped because the queue is full."""
        try:
            self._log.enqueue([impression])
        except OverloadedError:
            self._dropped.inc()
            return False
        return True
