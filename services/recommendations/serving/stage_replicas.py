"""What serves each of the four stages: thin shells around a model, one request at a time.

A stage answers in a millisecond or stops at its own budget, and a replica has one core: a thread would only
add a hand-over, so models run on the event loop. What changes a model beside the requests (another version,
other items) runs in threads and exchanges it in one step.

They know neither Ray nor each other: each can be a deployment of its own (`stage_deployments`), or all four
live in the gateway's process (`stages_in_process`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.recommendations.contracts.candidates import (
    CANDIDATE_COUNT,
    Candidates,
    ColdStarter,
    Ranker,
    Retriever,
    UserState,
)
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    WARM_UP_USER,
    StageReply,
)
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.pipeline.local_stages import draw_from_posterior
from services.recommendations.reranking.live_prices import LivePrices
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import Answering, StageReplica
from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.slots import ServingRole
from streamrec.items.state import ItemState
from streamrec.serving.loaded_versions import FetchedModel
from streamrec.stats.random_state import generator_for

_WARM_UP_CANDIDATES: Final = Candidates(("warm-up-1", "warm-up-2"), np.array([1.0, 0.5], dtype=np.float32))
"""Items that no catalogue has: ranking and re-ranking must answer for them too."""


def _reply(found: Candidates, answering: Answering[Any], started_s: float) -> StageReply:
    spent_ms = (time.perf_counter() - started_s) * 1000.0
    return StageReply(found, answering.version, item_revision=answering.item_revision, model_ms=spent_ms)


class RetrievalReplica(StageReplica[Retriever]):
    """Implements `VersionedRetrieval`. The search takes a millisecond, so it runs on the event loop."""

    def __init__(
        self,
        source: ModelSource,
        item_log: Path | None = None,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        super().__init__(source, RETRIEVAL, load_retriever, _warm_up_retrieval, item_log, role)

    async def retrieve(self, user: UserState, count: int, version: int) -> StageReply:
        """See `RetrievalStage.retrieve`."""
        started_s = time.perf_counter()
        answering = await self.current(version)
        found = answering.model.retrieve(user, count)
        return _reply(found, answering, started_s)


def load_retriever(fetched: FetchedModel) -> Callable[[ItemState], Retriever]:
    """Load a verified artifact; returns what makes the model as of an item state."""
    from services.recommendations.retrieval.model import TwoTowerRetriever

    return TwoTowerRetriever.load(fetched.folder).with_items


def _warm_up_retrieval(model: Retriever) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT)


class ColdStartReplica(StageReplica[ColdStarter]):
    """Implements `VersionedColdStart`. Update, draw and search take a millisecond: no thread."""

    def __init__(
        self,
        source: ModelSource,
        item_log: Path | None = None,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        super().__init__(source, COLD_START, load_cold_starter, _warm_up_cold_start, item_log, role)

    async def retrieve(self, user: UserState, count: int, request_id: str, version: int) -> StageReply:
        """See `ColdStartStage.retrieve`."""
        started_s = time.perf_counter()
        answering = await self.current(version)
        found = draw_from_posterior(answering.model, answering.version, user, count, request_id)
        return _reply(found, answering, started_s)


def load_cold_starter(fetched: FetchedModel) -> Callable[[ItemState], ColdStarter]:
    """Load a verified artifact and the retrieval model whose space it lives in; see `load_retriever`.

    Raises:
        ArtifactError: The version does not say which retrieval version it belongs to.
    """
    from services.recommendations.cold_start.model import ColdStartModel
    from services.recommendations.retrieval.model import TwoTowerRetriever

    try:
        retrieval = fetched.dependencies[RETRIEVAL]
    except KeyError as error:
        raise ArtifactError(
            f"{fetched.version.ref} does not say which retrieval version's space it lives in; train it again"
        ) from error
    # The item tower places new items in the space.
    towers = TwoTowerRetriever.load(retrieval.folder)
    model = ColdStartModel.load(fetched.folder, towers.index)
    return lambda state: model.with_index(towers.with_items(state).index)


def _warm_up_cold_start(model: ColdStarter) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT, generator_for(WARM_UP_USER.user_id))


class RankingReplica(StageReplica[Ranker]):
    """Implements `VersionedRanking`. A replica has one core, so a thread would only add a hand-over."""

    def __init__(
        self,
        source: ModelSource,
        item_log: Path | None = None,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        super().__init__(source, RANKING, load_ranker, _warm_up_ranking, item_log, role)

    async def rank(self, user: UserState, candidates: Candidates, version: int) -> StageReply:
        """See `RankingStage.rank`."""
        started_s = time.perf_counter()
        answering = await self.current(version)
        ranked = answering.model.rank(user, candidates)
        return _reply(ranked, answering, started_s)


def load_ranker(fetched: FetchedModel) -> Callable[[ItemState], Ranker]:
    """Load a verified artifact; see `load_retriever`."""
    from services.recommendations.ranking.student.model import StudentRanker

    return StudentRanker.load(fetched.folder).with_items


def _warm_up_ranking(model: Ranker) -> None:
    model.rank(WARM_UP_USER, _WARM_UP_CANDIDATES)


class RerankingReplica(StageReplica[DiversityReranker]):
    """Implements `VersionedReranking`. The re-ranker stops at its own budget: it runs on the event loop."""

    def __init__(
        self,
        source: ModelSource,
        item_log: Path | None = None,
        price_files: PriceFiles | None = None,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        """Follow the traffic document and the items.

        Args:
            source: Where the model is.
            item_log: Where items are put and removed; None: the model keeps to those it was trained on.
            price_files: Where a controller publishes exposure prices; the model's own serve while there are
                none.
            role: Whose requests it takes.
        """
        self._live_prices = None if price_files is None else LivePrices(price_files.open_follower())
        super().__init__(source, RERANKING, load_reranker, _warm_up_reranking, item_log, role)
        if self._live_prices is not None:
            self._live_prices.start()

    async def rerank(
        self,
        candidates: Candidates,
        user: UserState,
        current_latency_ms: float,
        slate_length: int,
        version: int,
    ) -> StageReply:
        """See `RerankingStage.rerank`."""
        started_s = time.perf_counter()
        answering = await self.current(version)
        model = answering.model if self._live_prices is None else self._live_prices.applied(answering.model)
        ordered, complete = model.rerank_in_time(
            candidates, user, current_latency_ms, slate_length=slate_length
        )
        reply = _reply(ordered, answering, started_s)
        return replace(reply, price_revision=model.price_revision, in_full=complete)


def load_reranker(fetched: FetchedModel) -> Callable[[ItemState], DiversityReranker]:
    """Load a verified artifact; see `load_retriever`."""
    return DiversityReranker.load(fetched.folder).with_items


def _warm_up_reranking(model: DiversityReranker) -> None:
    model.rerank(_WARM_UP_CANDIDATES, WARM_UP_USER, 0.0)
