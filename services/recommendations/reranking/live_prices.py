"""The newest published prices under a loaded re-ranker; polled beside the requests, never by one."""

from __future__ import annotations

import logging
import threading
from typing import Final

from services.recommendations.exposure_control.price_source import PriceSource
from services.recommendations.reranking.model import DiversityReranker

_LOG = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 5.0
"""A window of the controller lasts minutes; a poll of an unchanged file is one system call."""


class LivePrices:
    """Gives a re-ranker the newest good prices. Safe to use from several threads."""

    def __init__(self, source: PriceSource) -> None:
        self._source = source
        self._priced: tuple[DiversityReranker, DiversityReranker] | None = None
        self._stopped = threading.Event()
        source.refresh()

    def applied(self, model: DiversityReranker) -> DiversityReranker:
        """Return ``model`` under the newest prices, or as it is while there are none; never waits."""
        document = self._source.current
        if document is None:
            return model
        priced = self._priced
        if priced is None or priced[0] is not model or priced[1].price_revision != document.revision:
            priced = (model, model.with_prices(document.prices, document.revision))
            self._priced = priced
        return priced[1]

    def start(self, interval_s: float = POLL_INTERVAL_S) -> None:
        """Poll from now on, in a thread that ends with the process or with `stop`."""
        threading.Thread(target=self._poll, args=(interval_s,), name="language-prices", daemon=True).start()

    def stop(self) -> None:
        """End the polling."""
        self._stopped.set()

    def _poll(self, interval_s: float) -> None:
        while not self._stopped.wait(interval_s):
            if self._source.refresh():
                document = self._source.current
                _LOG.info("language prices of revision %s", document.revision if document else None)
