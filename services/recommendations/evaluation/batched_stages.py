"""Cold start and retrieval for all users of one moment, behind the ports of the stages.

A simulation asks for thousands of users at once. `prepare` computes their answers together, by matrix
products; the pipeline then calls the stage for one user after the other, and each call looks an answer up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.batch import ColdStartBatch, top_columns
from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import StageReply
from services.recommendations.pipeline.local_stages import posterior_generator
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.contracts.errors import NotReadyError


class BatchedColdStart:
    """Implements `ColdStartStage` with the answers that `prepare` has computed.

    Args:
        model: What answers.
        version: Its version, which a posterior draw depends on.
    """

    def __init__(self, model: ColdStartModel, version: int) -> None:
        self._model, self._version = model, version
        self._batch = ColdStartBatch(model)
        self._answers: dict[tuple[str | int, ...], StageReply] = {}

    def prepare(
        self, users: Sequence[UserState], histories: NDArray[np.int32], count: int, request_id: str
    ) -> None:
        """Compute the answers of one moment; those of the moment before are forgotten.

        Args:
            users: Who will ask.
            histories: Shape (users, w): their histories as distinct rows of the index, then -1.
            count: Candidates that they will ask for.
            request_id: Of every request.
        """
        self._answers = {}
        if not users:
            return
        rows, scores = self._batch.retrieve(
            [user.segment for user in users],
            histories,
            count,
            [posterior_generator(user, request_id, self._version) for user in users],
        )
        self._answers = {
            (user.user_id, count, request_id): StageReply(found, self._version)
            for user, found in zip(users, _candidates(self._model.index.item_ids, rows, scores), strict=True)
        }

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """Return the prepared answer.

        Raises:
            NotReadyError: There is none for this user, count and request.
        """
        return _prepared(self._answers, (user.user_id, count, request_id))


class BatchedRetrieval:
    """Implements `RetrievalStage` with the answers that `prepare` has computed, by exact search.

    Args:
        model: What answers.
        version: Its version.
    """

    def __init__(self, model: TwoTowerRetriever, version: int) -> None:
        self._model, self._version = model, version
        self._answers: dict[tuple[str | int, ...], StageReply] = {}

    def prepare(self, users: Sequence[UserState], histories: NDArray[np.int32], count: int) -> None:
        """Compute the answers of one moment; those of the moment before are forgotten.

        Args:
            users: Who will ask.
            histories: Shape (users, w): their histories as rows of the index, then -1.
            count: Candidates that they will ask for.
        """
        self._answers = {}
        if not users:
            return
        index = self._model.index
        scores = np.array([self._model.user_vector(user) for user in users]) @ index.vectors.T
        user_rows, columns = np.nonzero(histories >= 0)
        scores[user_rows, histories[user_rows, columns]] = -np.inf
        top = top_columns(scores, min(count, len(index)))
        found = _candidates(index.item_ids, top, np.take_along_axis(scores, top, axis=1))
        self._answers = {
            (user.user_id, count): StageReply(candidates, self._version)
            for user, candidates in zip(users, found, strict=True)
        }

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """Return the prepared answer.

        Raises:
            NotReadyError: There is none for this user and count.
        """
        return _prepared(self._answers, (user.user_id, count))


def _prepared(answers: Mapping[tuple[str | int, ...], StageReply], key: tuple[str | int, ...]) -> StageReply:
    reply = answers.get(key)
    if reply is None:
        raise NotReadyError(f"no answer was prepared for {key}; call prepare with this user first")
    return reply


def _candidates(
    item_ids: tuple[str, ...], rows: NDArray[np.int64], scores: NDArray[np.float32]
) -> list[Candidates]:
    """One list of candidates a user; a score of minus infinity is no candidate."""
    lists = []
    for own_rows, own_scores in zip(rows, scores, strict=True):
        known = np.isfinite(own_scores)
        lists.append(
            Candidates(
                tuple(item_ids[row] for row in own_rows[known].tolist()),
                np.ascontiguousarray(own_scores[known], dtype=np.float32),
            )
        )
    return lists
