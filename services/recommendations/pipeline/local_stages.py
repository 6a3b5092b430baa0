"""The stages over models in this process, behind the ports that the pipeline calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.recommendations.contracts.candidates import (
    Candidates,
    ColdStarter,
    Ranker,
    Reranker,
    Retriever,
    UserState,
)
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    StageReply,
    Stages,
)
from streamrec.stats.random_state import seed_of


def draw_seed(user_id: str, request_id: str, version: int) -> int:
    """Return the seed of the one posterior draw that belongs to user, request and version of cold start.

    It stands in the impression, so that anybody can make the same draw again.
    """
    return seed_of(user_id, request_id, str(version))


def posterior_generator(user: UserState, request_id: str, version: int) -> np.random.Generator:
    """The generator of that draw."""
    return np.random.default_rng(draw_seed(user.user_id, request_id, version))


def draw_from_posterior(
    model: ColdStarter, version: int, user: UserState, count: int, request_id: str
) -> Candidates:
    """Answer for a new user with the draw of `posterior_generator`."""
    return model.retrieve(user, count, posterior_generator(user, request_id, version))


@dataclass(frozen=True)
class LocalRetrieval:
    """A retrieval model in this process."""

    model: Retriever
    version: int

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """Answer at once, without giving up the event loop."""
        return StageReply(self.model.retrieve(user, count), self.version)


@dataclass(frozen=True)
class LocalColdStart:
    """A cold-start model in this process."""

    model: ColdStarter
    version: int

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """Answer at once, without giving up the event loop."""
        return StageReply(
            draw_from_posterior(self.model, self.version, user, count, request_id), self.version
        )


@dataclass(frozen=True)
class LocalRanking:
    """A ranker in this process."""

    model: Ranker
    version: int

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """Answer at once, without giving up the event loop."""
        return StageReply(self.model.rank(user, candidates), self.version)


@dataclass(frozen=True)
class LocalReranking:
    """A re-ranker in this process."""

    model: Reranker
    version: int

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """Answer at once, without giving up the event loop."""
        ordered = self.model.rerank(candidates, user, current_latency_ms, slate_length=slate_length)
        return StageReply(ordered, self.version)


@dataclass(frozen=True)
class LocalModels:
    """The four models of one pipeline, all in this process.

    Attributes:
        versions: Registered version by stage name.
    """

    retrieval: Retriever
    cold_start: ColdStarter
    ranking: Ranker
    reranking: Reranker
    versions: Mapping[str, int]

    def as_stages(self) -> Stages:
        """The same models behind the ports that the pipeline calls."""
        return Stages(
            retrieval=LocalRetrieval(self.retrieval, self.versions[RETRIEVAL]),
            cold_start=LocalColdStart(self.cold_start, self.versions[COLD_START]),
            ranking=LocalRanking(self.ranking, self.versions[RANKING]),
            reranking=LocalReranking(self.reranking, self.versions[RERANKING]),
        )
