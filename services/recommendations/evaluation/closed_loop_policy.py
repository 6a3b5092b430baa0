"""The recommendation pipeline as a policy of the simulated world: many users at once, observables only.

Each page is an answer of `OfflinePipeline`. Its cold start and retrieval, which every page needs, are
computed beforehand for all users of a moment (`batched_stages`); all else runs for one user at a time.

A page after the first of a session is the next part of one longer list, as a client asks for that scrolls on:
k grows by what the session has shown, and what was shown is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Ranker, Reranker, UserState
from services.recommendations.contracts.stages import COLD_START, Stages
from services.recommendations.evaluation.batched_stages import BatchedColdStart, BatchedRetrieval
from services.recommendations.pipeline.local_stages import LocalModels, LocalRanking, LocalReranking
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.world.policies import DayLog, Observation
from streamrec.contracts.errors import InvalidInputError
from streamrec.features.store import ItemTable

_CHUNK_USERS: Final = 256
"""Users whose answers are computed together: bounds the memory at a few arrays of this many rows."""

_UNREGISTERED: Final = 0
"""Version of a model whose version no answer depends on."""


@dataclass(frozen=True)
class PolicyModels:
    """What the policy serves with.

    Attributes:
        cold_start: Always used.
        cold_start_version: Its version, which a posterior draw depends on.
        retrieval: Finds candidates beside cold start.
        ranking: Ranks them.
        reranking: Chooses the slate.
    """

    cold_start: ColdStartModel
    cold_start_version: int
    retrieval: TwoTowerRetriever
    ranking: Ranker
    reranking: Reranker

    @classmethod
    def of(cls, models: LocalModels) -> Self:
        """The models of a pipeline.

        Raises:
            InvalidInputError: Cold start or retrieval is a stand-in, which cannot be asked for many users at
                once.
        """
        cold_start, retrieval = models.cold_start, models.retrieval
        if not isinstance(cold_start, ColdStartModel):
            raise InvalidInputError("cold_start", f"is a {type(cold_start).__name__}, not a ColdStartModel")
        if not isinstance(retrieval, TwoTowerRetriever):
            raise InvalidInputError("retrieval", f"is a {type(retrieval).__name__}, not a TwoTowerRetriever")
        version = models.versions[COLD_START]
        return cls(cold_start, version, retrieval, models.ranking, models.reranking)


class PipelinePolicy:
    """Implements `world.policies.Policy`.

    Args:
        models: What it serves with; all of them know the items of the world, by its ids.
        items: The world's items, in its row order.
        settings: As the gateway has them.

    Raises:
        InvalidInputError: A model was trained on another catalogue.
    """

    def __init__(
        self, models: PolicyModels, items: ItemTable, settings: PipelineSettings | None = None
    ) -> None:
        self.item_ids = items.catalogue.item_ids
        for name, index in (
            ("cold_start", models.cold_start.index),
            ("retrieval", models.retrieval.index),
        ):
            if index.item_ids != self.item_ids:
                raise InvalidInputError(name, "was not trained on the catalogue of this world")
        settings = settings or PipelineSettings()
        self._row_of = items.catalogue.row_of
        self._candidate_count = settings.candidate_count
        self._cold_start = BatchedColdStart(models.cold_start, models.cold_start_version)
        self._retrieval = BatchedRetrieval(models.retrieval, _UNREGISTERED)
        stages = Stages(
            retrieval=self._retrieval,
            cold_start=self._cold_start,
            ranking=LocalRanking(models.ranking, _UNREGISTERED),
            reranking=LocalReranking(models.reranking, _UNREGISTERED),
        )
        self._pipeline = OfflinePipeline(stages, items, settings)

    def end_of_day(self, day: DayLog) -> None:
        """Ignore the day: the models are those of the day that they were trained on."""

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Choose pages. Draws belong to user and moment, as those of requests do, and ``rng`` is not used."""
        del rng
        slate = np.full((len(observation.users), count), -1, dtype=np.int32)
        for begin in range(0, len(slate), _CHUNK_USERS):
            rows = np.arange(begin, min(begin + _CHUNK_USERS, len(slate)))
            slate[rows] = self._pages(observation, rows, count)
        return slate

    def request_id(self, observation: Observation) -> str:
        """Of every request of the moment; the user's id makes the draw the user's own."""
        return f"{observation.now_seconds}-{observation.shown.shape[1]}"

    def user_state(self, observation: Observation, row: int) -> UserState:
        """What the gateway would know of the user in that row of the observation."""
        user = int(observation.users[row])
        history = observation.histories[row, : observation.lengths[row]].tolist()
        return UserState(
            observation.table.user_ids[user],
            observation.table.segment(user),
            tuple(self.item_ids[item] for item in history),
        )

    def _pages(self, observation: Observation, rows: NDArray[np.int64], count: int) -> NDArray[np.int32]:
        users = [self.user_state(observation, row) for row in rows.tolist()]
        request_id = self.request_id(observation)
        # Only pages of this very session are left out, and every user of a moment has seen as many.
        wanted = count + observation.shown.shape[1]
        self._prepare(users, observation.histories[rows], wanted, request_id)
        pages = np.full((len(rows), count), -1, dtype=np.int32)
        for place, user in enumerate(users):
            answer = self._pipeline.recommend(user, wanted, request_id)
            shown = set(observation.shown[rows[place]].tolist())
            best = [self._row_of[item_id] for item_id in answer.item_ids]
            page = [row for row in best if row not in shown][:count]
            pages[place, : len(page)] = page
        return pages

    def _prepare(
        self, users: Sequence[UserState], histories: NDArray[np.int32], wanted: int, request_id: str
    ) -> None:
        """Compute what the pipeline will ask of cold start and retrieval, each only where it has weight."""
        weights = np.array([self._pipeline.cold_start_weight(user) for user in users])
        depth = max(wanted, self._candidate_count)
        new, known = np.flatnonzero(weights > 0.0).tolist(), np.flatnonzero(weights < 1.0).tolist()
        self._cold_start.prepare([users[place] for place in new], histories[new], depth, request_id)
        self._retrieval.prepare([users[place] for place in known], histories[known], depth)
