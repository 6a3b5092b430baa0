"""The stage ports over Ray Serve handles, pinned to versions; Ray's errors become the platform's."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

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
from streamrec.contracts.errors import DependencyError, NotReadyError, OverloadedError


@contextmanager
def _translated(stage: str) -> Iterator[None]:
    try:
        yield
    except BackPressureError as error:
        raise OverloadedError(f"{stage}: its queue is full") from error
    except RayTaskError:
        raise  # the replica is there and its code failed: another attempt would fail alike
    except (RayError, RayServeException, ConnectionError) as error:
        raise DependencyError(f"{stage}: {type(error).__name__}") from error


@dataclass(frozen=True)
class _RayStage:
    """One stage.

    Attributes:
        name: Of the stage.
        handle: Of its deployment.
        version: The version that its calls ask for; None where none is promoted.
    """

    name: str
    handle: DeploymentHandle
    version: int | None = None

    def _asked_for(self) -> int:
        if self.version is None:
            raise NotReadyError(f"{self.name}: no version is promoted")
        return self.version

    async def _reply(self, response: Awaitable[Any]) -> StageReply:
        with _translated(self.name):
            reply = await response
        if not isinstance(reply, StageReply):
            raise TypeError(f"{self.name} answered with a {type(reply).__name__}")
        return reply

    async def status(self) -> StageStatus:
        """Ask a replica whether its model is loaded."""
        with _translated(self.name):
            status: StageStatus = await self.handle.status.remote()
        return status


class RayRetrieval(_RayStage):
    """Implements `RetrievalStage`."""

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """Ask a replica."""
        return await self._reply(self.handle.retrieve.remote(user, count, self._asked_for()))


class RayColdStart(_RayStage):
    """Implements `ColdStartStage`."""

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """Ask a replica."""
        return await self._reply(self.handle.retrieve.remote(user, count, request_id, self._asked_for()))


class RayRanking(_RayStage):
    """Implements `RankingStage`."""

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """Ask a replica."""
        return await self._reply(self.handle.rank.remote(user, candidates, self._asked_for()))


class RayReranking(_RayStage):
    """Implements `RerankingStage`."""

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """Ask a replica."""
        return await self._reply(
            self.handle.rerank.remote(candidates, user, current_latency_ms, slate_length, self._asked_for())
        )


@dataclass(frozen=True)
class RayStages:
    """All four, as the pipeline wants them."""

    retrieval: RayRetrieval
    cold_start: RayColdStart
    ranking: RayRanking
    reranking: RayReranking

    def pinned(self, versions: Mapping[str, int], traffic_revision: int | None) -> Stages:
        """Return them behind the ports that the pipeline calls, each asking for one version.

        Args:
            versions: Version by stage; a stage without one cannot be called.
            traffic_revision: Of the traffic document that names them.
        """
        return Stages(
            replace(self.retrieval, version=versions.get(RETRIEVAL)),
            replace(self.cold_start, version=versions.get(COLD_START)),
            replace(self.ranking, version=versions.get(RANKING)),
            replace(self.reranking, version=versions.get(RERANKING)),
            traffic_revision,
        )

    def all(self) -> tuple[_RayStage, ...]:
        """Return them in the order of a request."""
        return (self.retrieval, self.cold_start, self.ranking, self.reranking)
