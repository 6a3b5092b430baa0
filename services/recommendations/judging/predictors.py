"""What each stage alone answers: loaded by the gates in a process of its own.

- `retrieval`: the candidates of a user.
- `cold_start`: the candidates of a new user, by the draw that belongs to the request.
- `ranking`: the order of the candidates that retrieval finds.
- `reranking`: the slate out of what the whole pipeline before it hands over.

``needs`` holds the artifacts of the other stages by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import COLD_START, MODEL_STAGES, RANKING, RETRIEVAL
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.judging.state_columns import states_of
from services.recommendations.pipeline.local_stages import LocalModels, posterior_generator
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError, PermanentError
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.store import ItemTable

SLATE_LENGTH: Final = 10
"""Items that re-ranking chooses as the slate: as served by default."""

_SHOWN_BEHIND: Final = 40
"""Items behind the slate that an answer of re-ranking still holds."""

_AN_HOUR_MS: Final = 3_600_000.0
_NO_VERSION: Final = 0
"""Seeds the draws of all versions alike, so that two of them differ by what they learned alone."""

Answer = Callable[[UserState, str], Candidates]


@dataclass(frozen=True)
class StagePredictor:
    """Implements `streamrec.gates.predictor.Predictor`.

    Attributes:
        answer: What the stage returns for a user and a request id.
    """

    answer: Answer

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Answer requests; see the port. Raises `InvalidInputError` for a request that is none."""
        answers = [
            self.answer(state, str(request_id))
            for state, request_id in zip(states_of(requests), requests["request_id"], strict=True)
        ]
        return pd.DataFrame(
            {
                "item_ids": [list(answer.item_ids) for answer in answers],
                "scores": [answer.scores.astype(np.float64).tolist() for answer in answers],
            }
        )


def retrieval(artifact: Path, needs: Mapping[str, Path]) -> StagePredictor:  # noqa: ARG001 - port
    """Load the two-tower retriever."""
    model = TwoTowerRetriever.load(artifact)
    return StagePredictor(lambda user, _: model.retrieve(user, CANDIDATE_COUNT))


def cold_start(artifact: Path, needs: Mapping[str, Path]) -> StagePredictor:
    """Load the cold-start model over the index of the retrieval version that it was trained with."""
    model = ColdStartModel.load(artifact, ItemIndex.load(_needed(needs, RETRIEVAL)))

    def answer(user: UserState, request_id: str) -> Candidates:
        return model.retrieve(user, CANDIDATE_COUNT, posterior_generator(user, request_id, _NO_VERSION))

    return StagePredictor(answer)


def ranking(artifact: Path, needs: Mapping[str, Path]) -> StagePredictor:
    """Load the ranker; retrieval finds what it orders."""
    model, retriever = StudentRanker.load(artifact), TwoTowerRetriever.load(_needed(needs, RETRIEVAL))
    return StagePredictor(lambda user, _: model.rank(user, retriever.retrieve(user, CANDIDATE_COUNT)))


def reranking(artifact: Path, needs: Mapping[str, Path]) -> StagePredictor:
    """Load the re-ranker behind the pipeline that hands it its candidates."""
    retriever = TwoTowerRetriever.load(_needed(needs, RETRIEVAL))
    models = LocalModels(
        retrieval=retriever,
        cold_start=ColdStartModel.load(_needed(needs, COLD_START), retriever.index),
        ranking=StudentRanker.load(_needed(needs, RANKING)),
        # What is computed offline must not depend on how busy the machine is.
        reranking=DiversityReranker.load(artifact, latency_budget_ms=_AN_HOUR_MS, fallback_mode=False),
        versions=dict.fromkeys(MODEL_STAGES, _NO_VERSION),
    )
    pipeline = OfflinePipeline(models, _items(retriever.index.item_ids))

    def answer(user: UserState, request_id: str) -> Candidates:
        found = pipeline.recommend(user, SLATE_LENGTH + _SHOWN_BEHIND, request_id, slate_length=SLATE_LENGTH)
        if found.rung is not Rung.RANKED:
            raise PermanentError(f"request {request_id}: no candidates were found to order")
        # An item that re-ranking lifted stands above better ones: places, not scores, tell the order.
        falling = -np.arange(len(found.item_ids), dtype=np.float32)
        return Candidates(found.item_ids, falling)

    return StagePredictor(answer)


def _needed(needs: Mapping[str, Path], stage: str) -> Path:
    folder = needs.get(stage)
    if folder is None:
        raise InvalidInputError(f"needs.{stage}", "is missing: the stage answers with that model's artifact")
    return folder


def _items(item_ids: tuple[str, ...]) -> ItemTable:
    """The items of the index: what the pipeline may recommend. Nothing of their content is asked for."""
    count = len(item_ids)
    unknown = (UNKNOWN,) * count
    catalogue = Catalogue(
        item_ids=item_ids,
        titles=("",) * count,
        creator_ids=unknown,
        creator_languages=unknown,
        topics=((),) * count,
        published_at=np.full(count, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    return ItemTable(catalogue, np.zeros(count, dtype=np.int64), revision="of the index")
