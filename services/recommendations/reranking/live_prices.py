"""The newest published exposure prices under a loaded re-ranker; polled beside the requests, never by one."""

from __future__ import annotations

from typing import Final

from services.recommendations.exposure_control.exposure_prices import ExposurePrices
from services.recommendations.reranking.model import DiversityReranker
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.polling import Poller

POLL_INTERVAL_S: Final = 5.0
"""A window of the controller lasts minutes; a poll where nothing changed is one system call for the file and
one for the keys."""


class LivePrices:
    """Gives a re-ranker the newest good prices. Safe to use from several threads."""

    def __init__(
        self, follower: DocumentFollower[ExposurePrices], *, interval_s: float = POLL_INTERVAL_S
    ) -> None:
        self._follower = follower
        self._priced: tuple[DiversityReranker, VerifiedDocument[ExposurePrices], DiversityReranker] | None = (
            None
        )
        self._poller = Poller(follower.refresh, interval_s=interval_s, name="exposure-prices")
        follower.refresh()

    def applied(self, model: DiversityReranker) -> DiversityReranker:
        """Return ``model`` under the newest prices, or as it is while there are none; never waits."""
        document = self._follower.current
        if document is None:
            return model
        priced = self._priced
        if priced is None or priced[0] is not model or priced[1] is not document:
            priced = (model, document, model.with_prices(document.value.prices, document.revision))
            self._priced = priced
        return priced[2]

    def start(self) -> None:
        """Poll from now on, in a thread that ends with the process or with `stop`."""
        self._poller.start()

    def stop(self) -> None:
        """End the polling."""
        self._poller.stop()
