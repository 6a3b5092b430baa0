"""The stages behind the ports that the pipeline calls, wherever they run: each asks for one version.

A request is answered by versions that belong together. So what serves them takes the version with every call,
and here four calls are bound to the versions of one revision of the traffic document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    StageReply,
    Stages,
    StageStatus,
)
from streamrec.contracts.errors import NotReadyError


class VersionedStage(Protocol):
    """Whatever serves a stage."""

    async def status(self) -> StageStatus:
        """Say whether the champion is loaded."""
        ...


class VersionedRetrieval(VersionedStage, Protocol):
    """Serves `RetrievalStage`."""

    async def retrieve(self, user: UserState, count: int, version: int) -> StageReply:
        """See `RetrievalStage.retrieve`; ``version`` is to answer."""
        ...


class VersionedColdStart(VersionedStage, Protocol):
    """Serves `ColdStartStage`."""

    async def retrieve(self, user: UserState, count: int, request_id: str, version: int) -> StageReply:
        """See `ColdStartStage.retrieve`; ``version`` is to answer."""
        ...


class VersionedRanking(VersionedStage, Protocol):
    """Serves `RankingStage`."""

    async def rank(self, user: UserState, candidates: Candidates, version: int) -> StageReply:
        """See `RankingStage.rank`; ``version`` is to answer."""
        ...


class VersionedReranking(VersionedStage, Protocol):
    """Serves `RerankingStage`."""

    async def rerank(
        self,
        candidates: Candidates,
        user: UserState,
        current_latency_ms: float,
        slate_length: int,
        version: int,
    ) -> StageReply:
        """See `RerankingStage.rerank`; ``version`` is to answer."""
        ...


@dataclass(frozen=True)
class VersionedStages:
    """All four.

    Attributes:
        close: Lets go of what was opened for them; blocks for a moment.
        on_this_loop: Whether the models compute on the event loop that calls them.
    """

    retrieval: VersionedRetrieval
    cold_start: VersionedColdStart
    ranking: VersionedRanking
    reranking: VersionedReranking
    close: Callable[[], None] = lambda: None
    on_this_loop: bool = False

    def pinned(self, versions: Mapping[str, int], traffic_revision: int | None) -> Stages:
        """Return them behind the ports that the pipeline calls, each asking for one version.

        Args:
            versions: Version by stage; a stage without one cannot be called.
            traffic_revision: Of the traffic document that names them.
        """
        return Stages(
            _PinnedRetrieval(self.retrieval, _Pin(RETRIEVAL, versions.get(RETRIEVAL))),
            _PinnedColdStart(self.cold_start, _Pin(COLD_START, versions.get(COLD_START))),
            _PinnedRanking(self.ranking, _Pin(RANKING, versions.get(RANKING))),
            _PinnedReranking(self.reranking, _Pin(RERANKING, versions.get(RERANKING))),
            traffic_revision,
        )

    def all(self) -> tuple[VersionedStage, ...]:
        """Return them in the order of a request."""
        return (self.retrieval, self.cold_start, self.ranking, self.reranking)


@dataclass(frozen=True, slots=True)
class _Pin:
    stage: str
    number: int | None

    @property
    def version(self) -> int:
        if self.number is None:
            raise NotReadyError(f"{self.stage}: no version is promoted")
        return self.number


@dataclass(frozen=True, slots=True)
class _PinnedRetrieval:
    served: VersionedRetrieval
    pin: _Pin

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        return await self.served.retrieve(user, count, self.pin.version)


@dataclass(frozen=True, slots=True)
class _PinnedColdStart:
    served: VersionedColdStart
    pin: _Pin

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        return await self.served.retrieve(user, count, request_id, self.pin.version)


@dataclass(frozen=True, slots=True)
class _PinnedRanking:
    served: VersionedRanking
    pin: _Pin

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        return await self.served.rank(user, candidates, self.pin.version)


@dataclass(frozen=True, slots=True)
class _PinnedReranking:
    served: VersionedReranking
    pin: _Pin

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        return await self.served.rerank(candidates, user, current_latency_ms, slate_length, self.pin.version)


class OpensStages(Protocol):
    """Says where the stages run. Can be sent to another process, which then opens them."""

    async def open(self) -> VersionedStages:
        """Return the stages; whether one can answer its status says. In the loop that will call them."""
        ...
