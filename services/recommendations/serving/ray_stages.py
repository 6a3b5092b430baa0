"""The stage ports over Ray Serve handles, with Ray's errors turned into the platform's."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import StageReply, Stages, StageStatus
from streamrec.contracts.errors import DependencyError, OverloadedError


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
    name: str
    handle: DeploymentHandle

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
        return await self._reply(self.handle.retrieve.remote(user, count))


class RayColdStart(_RayStage):
    """Implements `ColdStartStage`."""

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """Ask a replica."""
        return await self._reply(self.handle.retrieve.remote(user, count, request_id))


class RayRanking(_RayStage):
    """Implements `RankingStage`."""

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """Ask a replica."""
        return await self._reply(self.handle.rank.remote(user, candidates))


class RayReranking(_RayStage):
    """Implements `RerankingStage`."""

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """Ask a replica."""
        return await self._reply(
            self.handle.rerank.remote(candidates, user, current_latency_ms, slate_length)
        )


@dataclass(frozen=True)
class RayStages:
    """All four, as the pipeline wants them."""

    retrieval: RayRetrieval
    cold_start: RayColdStart
    ranking: RayRanking
    reranking: RayReranking

    def as_stages(self) -> Stages:
        """Return them behind the ports that the pipeline calls."""
        return Stages(self.retrieval, self.cold_start, self.ranking, self.reranking)

    def all(self) -> tuple[_RayStage, ...]:
        """Return them in the order of a request."""
        return (self.retrieval, self.cold_start, self.ranking, self.reranking)
