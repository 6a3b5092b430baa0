"""The recommendation pipeline as a policy of the simulated world: many users at once, observables only.

The stages are the served ones. Cold start and retrieval, which every page needs, are computed for all users
of a moment by matrix products; merging, ranking, pooling and re-ranking are the functions that the gateway
calls, one user at a time. What it shows is tested to be what `OfflinePipeline` answers.

A page after the first of a session is the next part of one longer list, as a client asks for that scrolls on:
k grows by what the session has shown, and what was shown is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.batch import ColdStartBatch
from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Candidates, Ranker, Reranker, UserState
from services.recommendations.contracts.stages import COLD_START
from services.recommendations.pipeline.hand_over import merge, pooled_scores
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.world.policies import DayLog, Observation
from streamrec.contracts.errors import InvalidInputError
from streamrec.stats.random_state import generator_for

_CHUNK_USERS: Final = 256


@dataclass(frozen=True)
class PolicyModels:
    """What the policy serves with.

    Attributes:
        cold_start: Always used.
        cold_start_version: Its version, which a posterior draw depends on.
        retrieval: Finds candidates beside cold start.
        ranking: Ranks them.
        reranking: Chooses the slate; None leaves the order of relevance.
    """

    cold_start: ColdStartModel
    cold_start_version: int
    retrieval: TwoTowerRetriever
    ranking: Ranker
    reranking: Reranker | None

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
        item_ids: Ids of the world's items, in its row order.
        settings: As the gateway has them.

    Raises:
        InvalidInputError: A model was trained on another catalogue.
    """

    def __init__(
        self, models: PolicyModels, item_ids: tuple[str, ...], settings: PipelineSettings | None = None
    ) -> None:
        for name, index in (
            ("cold_start", models.cold_start.index),
            ("retrieval", models.retrieval.index),
        ):
            if index.item_ids != item_ids:
                raise InvalidInputError(name, "was not trained on the catalogue of this world")
        self.models, self.item_ids = models, item_ids
        self.settings = settings or PipelineSettings()
        self._batch = ColdStartBatch(models.cold_start)

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
        # Only pages of this very session are left out, and every user of a moment has seen as many.
        wanted = count + observation.shown.shape[1]
        depth = max(wanted, self.settings.candidate_count)
        weights = np.array([self.settings.hand_over.weight(len(set(user.history))) for user in users])
        lists = self._found(observation, rows, users, weights, depth)
        pages = np.full((len(rows), count), -1, dtype=np.int32)
        row_of = self.models.cold_start.index.row_of
        for place, (user, (cold, found)) in enumerate(zip(users, lists, strict=True)):
            ordered = self._ordered(user, cold, found, float(weights[place]), depth)
            if self.models.reranking is not None and len(ordered):
                ordered = self.models.reranking.rerank(ordered, user, 0.0, slate_length=wanted)
            shown = set(observation.shown[rows[place]].tolist())
            best = [row_of[item_id] for item_id in ordered.item_ids[:wanted]]
            page = [row for row in best if row not in shown][:count]
            pages[place, : len(page)] = page
        return pages

    def _found(
        self,
        observation: Observation,
        rows: NDArray[np.int64],
        users: Sequence[UserState],
        weights: NDArray[np.float64],
        depth: int,
    ) -> list[tuple[Candidates | None, Candidates | None]]:
        """What cold start and retrieval find, each only where it has weight."""
        histories = observation.histories[rows]
        cold = self._cold(observation, histories, users, np.flatnonzero(weights > 0.0), depth)
        found = self._retrieved(histories, users, np.flatnonzero(weights < 1.0), depth)
        return [(cold.get(place), found.get(place)) for place in range(len(users))]

    def _cold(
        self,
        observation: Observation,
        histories: NDArray[np.int32],
        users: Sequence[UserState],
        places: NDArray[np.int64],
        depth: int,
    ) -> dict[int, Candidates]:
        if len(places) == 0:
            return {}
        version, request_id = str(self.models.cold_start_version), self.request_id(observation)
        chosen = [users[place] for place in places.tolist()]
        items, scores = self._batch.retrieve(
            [user.segment for user in chosen],
            histories[places],
            depth,
            [generator_for(user.user_id, request_id, version) for user in chosen],
        )
        return {place: self._candidates(items[i], scores[i]) for i, place in enumerate(places.tolist())}

    def _retrieved(
        self,
        histories: NDArray[np.int32],
        users: Sequence[UserState],
        places: NDArray[np.int64],
        depth: int,
    ) -> dict[int, Candidates]:
        if len(places) == 0:
            return {}
        retrieval = self.models.retrieval
        vectors = np.array([retrieval.user_vector(users[place]) for place in places.tolist()])
        scores = vectors @ retrieval.index.vectors.T
        own = histories[places]
        row, column = np.nonzero(own >= 0)
        scores[row, own[row, column]] = -np.inf
        depth = min(depth, scores.shape[1])
        top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        top.sort(axis=1)
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        best = np.take_along_axis(scores, top, axis=1)
        return {place: self._candidates(top[i], best[i]) for i, place in enumerate(places.tolist())}

    def _ordered(
        self, user: UserState, cold: Candidates | None, found: Candidates | None, weight: float, depth: int
    ) -> Candidates:
        if cold is None:
            if found is None:
                raise InvalidInputError("weight", f"nobody answers at {weight}")
            return self.models.ranking.rank(user, found)
        if found is None:
            return cold
        item_ids = merge(cold, found, weight, depth)
        ranked = self.models.ranking.rank(user, Candidates(item_ids, np.zeros(len(item_ids), np.float32)))
        return pooled_scores(ranked.item_ids, cold, ranked, weight)

    def _candidates(self, items: NDArray[np.int64], scores: NDArray[np.float32]) -> Candidates:
        known = np.isfinite(scores)
        return Candidates(
            tuple(self.item_ids[item] for item in items[known].tolist()),
            np.ascontiguousarray(scores[known], dtype=np.float32),
        )
