"""The four stages in the gateway's own process: what one machine needs that does not scale them apart.

A call is a call of a function: no message and no other process to wake up. The gateway's event loop computes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.recommendations.contracts.stages import MODEL_STAGES
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replicas import (
    ColdStartReplica,
    RankingReplica,
    RerankingReplica,
    RetrievalReplica,
)
from services.recommendations.serving.versioned_stages import VersionedStages


@dataclass(frozen=True)
class StagesInProcess:
    """Implements `OpensStages`. Can be sent to another process.

    Attributes:
        models: Where the models are.
        item_log: Where items are put and removed; None: the models keep to those they were trained on.
        price_files: Where a controller publishes exposure prices; None: the model's own serve.
    """

    models: ModelSource
    item_log: Path | None = None
    price_files: PriceFiles | None = None

    async def open(self) -> VersionedStages:
        """Load all four at once; a champion that cannot be loaded is for its stage's status to tell."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> VersionedStages:
        with ThreadPoolExecutor(len(MODEL_STAGES), thread_name_prefix="load") as pool:
            retrieving = pool.submit(RetrievalReplica, self.models, self.item_log)
            cold_starting = pool.submit(ColdStartReplica, self.models, self.item_log)
            ranking = pool.submit(RankingReplica, self.models, self.item_log)
            reranking = pool.submit(RerankingReplica, self.models, self.item_log, self.price_files)
        stages = (retrieving.result(), cold_starting.result(), ranking.result(), reranking.result())

        def close() -> None:
            for replica in stages:
                replica.close()

        return VersionedStages(*stages, close, on_this_loop=True)
