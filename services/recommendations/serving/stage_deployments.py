"""The four stages as deployments of their own: each takes messages for what serves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.serving import stage_messages
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import StageReplica
from services.recommendations.serving.stage_replicas import (
    ColdStartReplica,
    RankingReplica,
    RerankingReplica,
    RetrievalReplica,
)
from streamrec.serving.loop_lag import LoopLag

R = TypeVar("R", bound=StageReplica[Any])


class _StageDeployment(ABC, Generic[R]):
    """Holds what serves the stage; not started before it has loaded what is promoted."""

    def __init__(self, replica: R) -> None:
        self._replica = replica
        self._lag: LoopLag | None = None
        replica.wait_until_loaded()

    def __del__(self) -> None:
        """Take the heartbeat away; Ray Serve calls this when it stops a replica."""
        replica = getattr(self, "_replica", None)
        if replica is not None:
            replica.close()

    async def answer(self, message: bytes, remaining_ms: float) -> bytes:
        """Unpack, answer, pack; or `OUT_OF_TIME` for a call that waited here for longer than it had.

        Args:
            message: Of the stage's own kind.
            remaining_ms: What the call still had when it was sent. What it waited here is the loop's lag.
        """
        if self._lag is None:
            self._lag = LoopLag()
            self._lag.start()
        if self._lag.current_ms() >= remaining_ms:
            return stage_messages.OUT_OF_TIME
        return await self._answered(message)

    @abstractmethod
    async def _answered(self, message: bytes) -> bytes:
        """Unpack, answer, pack."""

    async def status(self) -> bytes:
        """Say whether the champion is loaded."""
        return stage_messages.pack_status(await self._replica.status())


class RetrievalDeployment(_StageDeployment[RetrievalReplica]):
    """Answers `RayRetrieval`."""

    def __init__(self, source: ModelSource, item_log: Path | None) -> None:
        super().__init__(RetrievalReplica(source, item_log))

    async def _answered(self, message: bytes) -> bytes:
        user, count, _, version = stage_messages.unpack_find(message)
        return stage_messages.pack_found(await self._replica.retrieve(user, count, version))


class ColdStartDeployment(_StageDeployment[ColdStartReplica]):
    """Answers `RayColdStart`."""

    def __init__(self, source: ModelSource, item_log: Path | None) -> None:
        super().__init__(ColdStartReplica(source, item_log))

    async def _answered(self, message: bytes) -> bytes:
        user, count, request_id, version = stage_messages.unpack_find(message)
        return stage_messages.pack_found(await self._replica.retrieve(user, count, request_id, version))


class RankingDeployment(_StageDeployment[RankingReplica]):
    """Answers `RayRanking`."""

    def __init__(self, source: ModelSource, item_log: Path | None) -> None:
        super().__init__(RankingReplica(source, item_log))

    async def _answered(self, message: bytes) -> bytes:
        user, candidates, version = stage_messages.unpack_rank(message)
        reply = await self._replica.rank(user, candidates, version)
        return stage_messages.pack_reordered(reply, candidates)


class RerankingDeployment(_StageDeployment[RerankingReplica]):
    """Answers `RayReranking`."""

    def __init__(self, source: ModelSource, item_log: Path | None, price_files: PriceFiles | None) -> None:
        super().__init__(RerankingReplica(source, item_log, price_files))

    async def _answered(self, message: bytes) -> bytes:
        candidates, user, spent_ms, slate_length, version = stage_messages.unpack_rerank(message)
        reply = await self._replica.rerank(candidates, user, spent_ms, slate_length, version)
        return stage_messages.pack_reordered(reply, candidates)
