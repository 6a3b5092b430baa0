"""The four stages as deployments, as the gateway calls them; Ray's errors become the platform's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    StageReply,
    StageStatus,
)
from services.recommendations.serving import stage_messages
from services.recommendations.serving.versioned_stages import VersionedStages
from streamrec.contracts.errors import DeadlineExceededError, DependencyError, OverloadedError
from streamrec.serving.deadline import remaining_of_call_ms


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


class _RayStage:
    """One stage."""

    def __init__(self, name: str, handle: Any) -> None:
        """Describe it.

        Args:
            name: Of the stage.
            handle: Of its deployment, a `DeploymentHandle`.
        """
        self._name = name
        self._handle = handle
        # Each look at a method of a handle makes another handle.
        self._answer, self._status = handle.answer, handle.status

    async def _ask(self, message: bytes) -> bytes:
        with _translated(self._name):
            reply = await self._answer.remote(message, remaining_of_call_ms())
        if not isinstance(reply, bytes):
            raise TypeError(f"{self._name} answered with a {type(reply).__name__}")
        if reply == stage_messages.OUT_OF_TIME:
            raise DeadlineExceededError(f"{self._name}: the call's time was over before its turn came")
        return reply

    async def hold(self, for_s: float) -> None:
        """Have a replica for so long: one is started where there is none."""
        with _translated(self._name):
            await self._handle.hold.remote(for_s)

    async def status(self) -> StageStatus:
        """Ask a replica whether its model is loaded."""
        with _translated(self._name):
            message = await self._status.remote()
        return stage_messages.unpack_status(message)


class RayRetrieval(_RayStage):
    """Implements `VersionedRetrieval`."""

    async def retrieve(self, user: UserState, count: int, version: int) -> StageReply:
        """Ask a replica."""
        message = stage_messages.pack_find(user, count, "", version)
        return stage_messages.unpack_found(await self._ask(message))


class RayColdStart(_RayStage):
    """Implements `VersionedColdStart`."""

    async def retrieve(self, user: UserState, count: int, request_id: str, version: int) -> StageReply:
        """Ask a replica."""
        message = stage_messages.pack_find(user, count, request_id, version)
        return stage_messages.unpack_found(await self._ask(message))


class RayRanking(_RayStage):
    """Implements `VersionedRanking`."""

    async def rank(self, user: UserState, candidates: Candidates, version: int) -> StageReply:
        """Ask a replica."""
        message = stage_messages.pack_rank(user, candidates, version)
        return stage_messages.unpack_reordered(await self._ask(message), candidates)


class RayReranking(_RayStage):
    """Implements `VersionedReranking`."""

    async def rerank(
        self,
        candidates: Candidates,
        user: UserState,
        current_latency_ms: float,
        slate_length: int,
        version: int,
    ) -> StageReply:
        """Ask a replica."""
        message = stage_messages.pack_rerank(candidates, user, current_latency_ms, slate_length, version)
        return stage_messages.unpack_reordered(await self._ask(message), candidates)


@dataclass(frozen=True)
class ChallengerStages:
    """The stages of the challengers, and what keeps their replicas.

    Attributes:
        stages: Ask them.
        hold: Has a replica of a stage for so many seconds.
    """

    stages: VersionedStages
    hold: Callable[[str, float], Awaitable[None]]


@dataclass(frozen=True)
class RayStages:
    """Implements `OpensStages`: the handles of the four deployments.

    Where it is bound into an application, the fields hold applications; Ray puts handles in their places.
    """

    retrieval: Any
    cold_start: Any
    ranking: Any
    reranking: Any

    async def open(self) -> VersionedStages:
        """Return the stages; whether a model answers is for each to say."""
        return VersionedStages(
            RayRetrieval(RETRIEVAL, self.retrieval),
            RayColdStart(COLD_START, self.cold_start),
            RayRanking(RANKING, self.ranking),
            RayReranking(RERANKING, self.reranking),
        )

    def open_challengers(self) -> ChallengerStages:
        """Return the stages of challengers, where these are the handles of theirs."""
        retrieval = RayRetrieval(RETRIEVAL, self.retrieval)
        cold_start = RayColdStart(COLD_START, self.cold_start)
        ranking = RayRanking(RANKING, self.ranking)
        reranking = RayReranking(RERANKING, self.reranking)
        served: Mapping[str, _RayStage] = {
            RETRIEVAL: retrieval,
            COLD_START: cold_start,
            RANKING: ranking,
            RERANKING: reranking,
        }

        async def hold(stage: str, for_s: float) -> None:
            await served[stage].hold(for_s)

        return ChallengerStages(VersionedStages(retrieval, cold_start, ranking, reranking), hold)
