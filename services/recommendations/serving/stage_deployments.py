"""The four stages as deployments of their own: each takes messages for what serves it.

Each stage is two deployments: one of champions, one of challengers. The latter has no replica while the
traffic document names no challenger; the first call wakes one.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

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
from streamrec.contracts.slots import ServingRole
from streamrec.serving.loop_lag import LoopLag
from streamrec.serving.process_limits import be_ended_first, limit_memory

R = TypeVar("R", bound=StageReplica[Any])

LONGEST_HOLD_S: Final = 30.0
"""For how long one call may keep a replica from being stopped."""


def role_within(challenger_memory_bytes: int | None) -> ServingRole:
    """The role of a replica; one of challengers is given so much memory from now on, and no more."""
    if challenger_memory_bytes is None:
        return ServingRole.CHAMPION
    limit_memory(challenger_memory_bytes)
    be_ended_first()
    return ServingRole.CHALLENGER


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
        waited_ms = self._lag.current_ms()
        if waited_ms >= remaining_ms:
            return stage_messages.OUT_OF_TIME
        return await self._answered(message, waited_ms)

    @abstractmethod
    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        """Unpack, answer, pack; the answer says that the call waited so long before."""

    async def status(self) -> bytes:
        """Say whether the champion is loaded."""
        return stage_messages.pack_status(await self._replica.status())

    async def hold(self, for_s: float) -> bytes:
        """Return after a while: a deployment with a call under way has a replica.

        Args:
            for_s: At most `LONGEST_HOLD_S`.
        """
        await asyncio.sleep(min(for_s, LONGEST_HOLD_S))
        return b""


class RetrievalDeployment(_StageDeployment[RetrievalReplica]):
    """Answers `RayRetrieval`."""

    def __init__(
        self, source: ModelSource, item_log: Path | None, challenger_memory_bytes: int | None = None
    ) -> None:
        super().__init__(RetrievalReplica(source, item_log, role_within(challenger_memory_bytes)))

    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        user, count, _, version = stage_messages.unpack_find(message)
        return stage_messages.pack_found(await self._replica.retrieve(user, count, version), waited_ms)


class ColdStartDeployment(_StageDeployment[ColdStartReplica]):
    """Answers `RayColdStart`."""

    def __init__(
        self, source: ModelSource, item_log: Path | None, challenger_memory_bytes: int | None = None
    ) -> None:
        super().__init__(ColdStartReplica(source, item_log, role_within(challenger_memory_bytes)))

    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        user, count, request_id, version = stage_messages.unpack_find(message)
        reply = await self._replica.retrieve(user, count, request_id, version)
        return stage_messages.pack_found(reply, waited_ms)


class RankingDeployment(_StageDeployment[RankingReplica]):
    """Answers `RayRanking`."""

    def __init__(
        self, source: ModelSource, item_log: Path | None, challenger_memory_bytes: int | None = None
    ) -> None:
        super().__init__(RankingReplica(source, item_log, role_within(challenger_memory_bytes)))

    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        user, candidates, version = stage_messages.unpack_rank(message)
        reply = await self._replica.rank(user, candidates, version)
        return stage_messages.pack_reordered(reply, candidates, waited_ms)


class RerankingDeployment(_StageDeployment[RerankingReplica]):
    """Answers `RayReranking`."""

    def __init__(
        self,
        source: ModelSource,
        item_log: Path | None,
        challenger_memory_bytes: int | None = None,
        price_files: PriceFiles | None = None,
    ) -> None:
        super().__init__(
            RerankingReplica(source, item_log, price_files, role_within(challenger_memory_bytes))
        )

    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        candidates, user, spent_ms, slate_length, version = stage_messages.unpack_rerank(message)
        reply = await self._replica.rerank(candidates, user, spent_ms, slate_length, version)
        return stage_messages.pack_reordered(reply, candidates, waited_ms)
