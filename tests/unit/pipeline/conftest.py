"""A catalogue of thirty items and four stages that do as a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import StageReply, Stages
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.store import ItemTable
from streamrec.serving.deadline import remaining_of_call_ms

ITEM_COUNT = 30


def make_catalogue(count: int = ITEM_COUNT) -> Catalogue:
    return Catalogue(
        item_ids=tuple(f"item-{row:02d}" for row in range(count)),
        titles=tuple(f"Title {row}" for row in range(count)),
        creator_ids=tuple(f"creator-{row % 5}" for row in range(count)),
        creator_languages=tuple(("en", "de", "fi")[row % 3] for row in range(count)),
        topics=((),) * count,
        published_at=np.full(count, np.datetime64("2020-01-01", "s")),
    )


@dataclass
class ScriptedStage:
    """A stage of every kind. ``faults`` are used up one call at a time; then it answers well."""

    name: str
    catalogue: Catalogue
    version: int = 1
    faults: list[Callable[[Candidates], Candidates] | Exception] = field(default_factory=list)
    delay_s: float = 0.0
    calls: int = 0
    request_ids: list[str] = field(default_factory=list)
    remaining_ms: list[float] = field(default_factory=list)
    current_latencies_ms: list[float] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    slate_lengths: list[int] = field(default_factory=list)

    async def _reply(self, candidates: Candidates) -> StageReply:
        self.calls += 1
        self.called.set()
        self.remaining_ms.append(remaining_of_call_ms())
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            candidates = fault(candidates)
        return StageReply(candidates, self.version)

    async def retrieve(self, user: UserState, count: int, request_id: str = "") -> StageReply:
        self.request_ids.append(request_id)
        unseen = [item_id for item_id in self.catalogue.item_ids if item_id not in user.not_shown][:count]
        if self.name == "cold_start":
            unseen.reverse()
        return await self._reply(
            Candidates(tuple(unseen), np.linspace(1, 0.1, len(unseen), dtype=np.float32))
        )

    async def rank(self, _user: UserState, candidates: Candidates) -> StageReply:
        """Puts even items first."""
        ids = sorted(candidates.item_ids, key=lambda item_id: (int(item_id[-2:]) % 2, item_id))
        return await self._reply(Candidates(tuple(ids), np.linspace(9, 1, len(ids), dtype=np.float32)))

    async def rerank(
        self, candidates: Candidates, _user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """Swaps the first two."""
        self.current_latencies_ms.append(current_latency_ms)
        self.slate_lengths.append(slate_length)
        order = [1, 0, *range(2, len(candidates))] if len(candidates) > 1 else [0]
        return await self._reply(
            Candidates(tuple(candidates.item_ids[row] for row in order), candidates.scores[order])
        )


@dataclass
class ScriptedStages:
    retrieval: ScriptedStage
    cold_start: ScriptedStage
    ranking: ScriptedStage
    reranking: ScriptedStage

    def as_stages(self, _user_id: str = "") -> Stages:
        return Stages(self.retrieval, self.cold_start, self.ranking, self.reranking)


@pytest.fixture
def catalogue() -> Catalogue:
    return make_catalogue()


@pytest.fixture
def item_table(catalogue) -> ItemTable:
    """The higher the row the more popular."""
    return ItemTable(catalogue, np.arange(len(catalogue), dtype=np.int64), "revision")


@pytest.fixture
def stages(catalogue) -> ScriptedStages:
    return ScriptedStages(
        *(
            ScriptedStage(name, catalogue, version)
            for version, name in enumerate(("retrieval", "cold_start", "ranking", "reranking"), start=1)
        )
    )
