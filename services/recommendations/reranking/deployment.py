"""Re-ranking as a deployment: the champion exposure settings."""

from __future__ import annotations

import numpy as np

from services.recommendations.gateway.stages import StageReply
from services.recommendations.model_source import ModelSource
from services.recommendations.stage_replica import WARM_UP_USER, StageReplica
from services.recommendations.types import Candidates, Reranker, UserState
from streamrec.serving.slot import FetchedModel


class RerankingDeployment(StageReplica[Reranker]):
    """Implements `RerankingStage`. The re-ranker stops at its own budget, so it runs on the event loop."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_reranker, _warm_up)

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """See `RerankingStage.rerank`."""
        loaded = self.current()
        ordered = loaded.model.rerank(candidates, user, current_latency_ms, slate_length=slate_length)
        return StageReply(ordered, loaded.ref.version)


def load_reranker(fetched: FetchedModel) -> Reranker:
    """Load a verified artifact."""
    from services.recommendations.reranking.model import DiversityReranker

    return DiversityReranker.load(fetched.folder)


def _warm_up(model: Reranker) -> None:
    # Items that no catalogue has: a re-ranker must order them too.
    candidates = Candidates(("warm-up-1", "warm-up-2"), np.array([1.0, 0.5], dtype=np.float32))
    model.rerank(candidates, WARM_UP_USER, 0.0)
