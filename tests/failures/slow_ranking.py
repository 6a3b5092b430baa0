"""A ranker that is slow, for tests of what the service does about it."""

from __future__ import annotations

import asyncio
from typing import Final

from services.recommendations.serving import stage_deployments
from services.recommendations.serving.stage_deployments import RankingDeployment

DELAY_S: Final = 0.05


class SlowRanking(RankingDeployment):
    """Answers as the ranker does, 50 ms later."""

    async def answer(self, message: bytes, remaining_ms: float) -> bytes:
        """Wait, then answer."""
        await asyncio.sleep(DELAY_S)
        return await super().answer(message, remaining_ms - 1000.0 * DELAY_S)


def install() -> None:
    """Let services that this process starts from now on have it."""
    stage_deployments.RankingDeployment = SlowRanking  # type: ignore[misc]
