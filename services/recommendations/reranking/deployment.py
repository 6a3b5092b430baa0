"""Re-ranking as a deployment: the champion exposure settings, under the newest published prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import StageReply
from services.recommendations.exposure_control.file_price_source import FilePriceSource
from services.recommendations.reranking.live_prices import LivePrices
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import WARM_UP_USER, StageReplica
from streamrec.serving.slot import FetchedModel


class RerankingDeployment(StageReplica[DiversityReranker]):
    """Implements `RerankingStage`. The re-ranker stops at its own budget, so it runs on the event loop."""

    def __init__(self, source: ModelSource, model_name: str, price_file: Path | None = None) -> None:
        """Load the champion.

        Args:
            source: Where the model is.
            model_name: Its registered name.
            price_file: Where a controller publishes prices; the model's own are served while there is none.
        """
        self._live_prices = None if price_file is None else LivePrices(FilePriceSource(price_file))
        super().__init__(source, model_name, load_reranker, _warm_up)
        if self._live_prices is not None:
            self._live_prices.start()

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """See `RerankingStage.rerank`."""
        loaded = self.current()
        model = loaded.model if self._live_prices is None else self._live_prices.applied(loaded.model)
        ordered = model.rerank(candidates, user, current_latency_ms, slate_length=slate_length)
        return StageReply(ordered, loaded.ref.version, model.price_revision)


def load_reranker(fetched: FetchedModel) -> DiversityReranker:
    """Load a verified artifact."""
    return DiversityReranker.load(fetched.folder)


def _warm_up(model: DiversityReranker) -> None:
    # Items that no catalogue has: a re-ranker must order them too.
    candidates = Candidates(("warm-up-1", "warm-up-2"), np.array([1.0, 0.5], dtype=np.float32))
    model.rerank(candidates, WARM_UP_USER, 0.0)
