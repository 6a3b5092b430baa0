"""The four stages as deployments: thin shells around a model, one request at a time.

A stage answers in a millisecond or stops at its own budget, and a replica has one core: a thread would only
add a hand-over, so models run on the event loop.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.recommendations.contracts.candidates import (
    CANDIDATE_COUNT,
    Candidates,
    ColdStarter,
    Ranker,
    Retriever,
    UserState,
)
from services.recommendations.contracts.stages import RETRIEVAL, WARM_UP_USER, StageReply
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.pipeline.local_stages import draw_from_posterior
from services.recommendations.reranking.live_prices import LivePrices
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import StageReplica
from streamrec.contracts.errors import ArtifactError
from streamrec.serving.slot import FetchedModel
from streamrec.stats.random_state import generator_for

_WARM_UP_CANDIDATES: Final = Candidates(("warm-up-1", "warm-up-2"), np.array([1.0, 0.5], dtype=np.float32))
"""Items that no catalogue has: ranking and re-ranking must answer for them too."""


class RetrievalDeployment(StageReplica[Retriever]):
    """Implements `RetrievalStage`. The search takes a millisecond, so it runs on the event loop."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_retriever, _warm_up_retrieval)

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """See `RetrievalStage.retrieve`."""
        loaded = self.current()
        return StageReply(loaded.model.retrieve(user, count), loaded.ref.version)


def load_retriever(fetched: FetchedModel) -> Retriever:
    """Load a verified artifact."""
    from services.recommendations.retrieval.model import TwoTowerRetriever

    return TwoTowerRetriever.load(fetched.folder)


def _warm_up_retrieval(model: Retriever) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT)


class ColdStartDeployment(StageReplica[ColdStarter]):
    """Implements `ColdStartStage`. Update, draw and search take a millisecond: they run on the event loop."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_cold_starter, _warm_up_cold_start)

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """See `ColdStartStage.retrieve`."""
        loaded = self.current()
        version = loaded.ref.version
        return StageReply(draw_from_posterior(loaded.model, version, user, count, request_id), version)


def load_cold_starter(fetched: FetchedModel) -> ColdStarter:
    """Load a verified artifact and the index whose space it lives in.

    Raises:
        ArtifactError: The version does not say which retrieval version it belongs to.
    """
    from services.recommendations.cold_start.model import ColdStartModel
    from services.recommendations.item_index.index import ItemIndex

    try:
        retrieval = fetched.dependencies[RETRIEVAL]
    except KeyError as error:
        raise ArtifactError(
            f"{fetched.version.ref} does not say which retrieval version's space it lives in; train it again"
        ) from error
    return ColdStartModel.load(fetched.folder, ItemIndex.load(retrieval.folder))


def _warm_up_cold_start(model: ColdStarter) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT, generator_for(WARM_UP_USER.user_id))


class RankingDeployment(StageReplica[Ranker]):
    """Implements `RankingStage`. A replica has one core, so a thread would only add a hand-over."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_ranker, _warm_up_ranking)

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """See `RankingStage.rank`."""
        loaded = self.current()
        return StageReply(loaded.model.rank(user, candidates), loaded.ref.version)


def load_ranker(fetched: FetchedModel) -> Ranker:
    """Load a verified artifact."""
    from services.recommendations.ranking.student.model import StudentRanker

    return StudentRanker.load(fetched.folder)


def _warm_up_ranking(model: Ranker) -> None:
    model.rank(WARM_UP_USER, _WARM_UP_CANDIDATES)


class RerankingDeployment(StageReplica[DiversityReranker]):
    """Implements `RerankingStage`. The re-ranker stops at its own budget, so it runs on the event loop."""

    def __init__(self, source: ModelSource, model_name: str, price_files: PriceFiles | None = None) -> None:
        """Load the champion.

        Args:
            source: Where the model is.
            model_name: Its registered name.
            price_files: Where a controller publishes exposure prices; the model's own serve while there are
                none.
        """
        self._live_prices = None if price_files is None else LivePrices(price_files.open_follower())
        super().__init__(source, model_name, load_reranker, _warm_up_reranking)
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


def _warm_up_reranking(model: DiversityReranker) -> None:
    model.rerank(_WARM_UP_CANDIDATES, WARM_UP_USER, 0.0)
