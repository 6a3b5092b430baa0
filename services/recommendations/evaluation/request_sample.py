"""Requests as serving would see them, out of a split: with whole histories, and with shortened ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.contracts.stages import RERANKING
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.reranking.relevance_order import RelevanceOrder
from services.recommendations.training.histories import user_states
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.features.store import ItemTable
from streamrec.training.splits import Split, UserHistories

FIRST_STEPS: Final = 5
"""A history is shortened to fewer interactions than this: where the reference case calls a user new."""

_REQUEST_ID: Final = "re-ranking"


@dataclass(frozen=True)
class RequestSample:
    """Requests up to the re-ranker, one per row.

    Attributes:
        ranked: Who asks, and the candidates in the order of relevance.
        held_out: The item that the user took up next.
        weights: How many requests of the traffic each one stands for.
        is_shortened: Whether the history was cut to fewer than `FIRST_STEPS` interactions.
    """

    ranked: list[tuple[UserState, Candidates]]
    held_out: list[str]
    weights: list[float]
    is_shortened: list[bool]


def sample_requests(
    dataset: Dataset,
    split: Split,
    models: LocalModels,
    *,
    users: int,
    new_user_share: float,
    under_test: bool,
    progress: Progress,
) -> RequestSample:
    """Take requests through the pipeline as far as the re-ranker.

    Known users are asked for as of their validation item (or test item). Every second of them is asked for
    once more with the history cut to 0 to 4 items, in turn, and stands for the new users of the traffic: a
    user's first steps in a log of the policy that served, with the language and the segment of real users.
    They are not new users: those who left after a step or two have no held-out item, and are not among them.

    Args:
        dataset: Items and users.
        split: Which item is held out.
        models: Whose candidates they are; the re-ranker among them is not asked.
        users: Most evaluated users to take, evenly spread, 1 or more.
        new_user_share: Share of the traffic's requests that come from new users; 0..1.
        under_test: Hold out the test item and show the validation item, instead of holding out that.
        progress: Where progress is shown.
    """
    chosen = np.unique(np.linspace(0, len(split.evaluated) - 1, min(users, len(split.evaluated))).astype(int))
    rows = split.evaluated[chosen]
    histories = split.history if under_test else split.train
    held_out = (split.test if under_test else split.validation)[chosen]
    counts = np.bincount(split.history.items, minlength=len(dataset.catalogue)).astype(np.int64)
    pipeline = OfflinePipeline(
        replace(models, reranking=RelevanceOrder(), versions={RERANKING: 0, **models.versions}),
        ItemTable(dataset.catalogue, counts, revision=dataset.fingerprint),
    )
    known = list(_requests(dataset, histories, rows, held_out))
    new = list(_first_steps(dataset, histories, rows[::2])) if new_user_share > 0.0 else []
    progress.start("re-ranking: candidates", len(known) + len(new))
    sample = RequestSample([], [], [], [])
    for group, share, is_shortened in ((known, 1.0 - new_user_share, False), (new, new_user_share, True)):
        for user, item in group:
            answer = pipeline.recommend(user, CANDIDATE_COUNT, _REQUEST_ID)
            candidates = Candidates(answer.item_ids, np.asarray(answer.scores, dtype=np.float32))
            sample.ranked.append((user, candidates))
            sample.held_out.append(item)
            sample.weights.append(share / len(group))
            sample.is_shortened.append(is_shortened)
            progress.advance()
    progress.finish()
    return sample


def _requests(
    dataset: Dataset, histories: UserHistories, rows: NDArray[np.int32], held_out: NDArray[np.int32]
) -> Iterator[tuple[UserState, str]]:
    item_ids = dataset.catalogue.item_ids
    for user, item in zip(user_states(dataset, histories, rows), held_out.tolist(), strict=True):
        yield user, item_ids[item]


def _first_steps(
    dataset: Dataset, histories: UserHistories, rows: NDArray[np.int32]
) -> Iterator[tuple[UserState, str]]:
    for number, user in enumerate(user_states(dataset, histories, rows)):
        length = number % FIRST_STEPS
        if len(user.history) > length:
            yield UserState(user.user_id, user.segment, user.history[:length]), user.history[length]
