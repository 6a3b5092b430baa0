"""From scores to the two answers of a ranker: candidates in order, and the best of the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.models import ModelSignature, TensorSpec
from streamrec.datasets.dataset import SEGMENT_COLUMNS

_GAP_TO_UNKNOWN: Final = 1.0
"""How far below the lowest known candidate an unknown one is scored."""
_UNKNOWN_ROW: Final = -1

SIGNATURE: Final = ModelSignature(
    inputs=(
        TensorSpec("history", "str", (-1,)),
        TensorSpec("segment", "str", (len(SEGMENT_COLUMNS),)),
        TensorSpec("candidates", "str", (-1,)),
    ),
    outputs=(TensorSpec("scores", "float32", (-1,)),),
)
"""What every ranker takes and gives, the teacher as well as the student."""


class Scorer(Protocol):
    """A model that scores items by row."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Items in row order."""
        ...

    @property
    def row_of(self) -> Mapping[str, int]:
        """Row by item id."""
        ...

    @property
    def history_length(self) -> int:
        """Newest known items of a history that count."""
        ...

    def scores(
        self, history: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Shape (h,) item rows, oldest first, and shape (c,) item rows to shape (c,), finite."""
        ...


def rank(model: Scorer, user: UserState, candidates: Candidates) -> Candidates:
    """Return the same items, rescored and sorted; equal scores keep the order given.

    Items of the history that the model does not know are ignored, repeated ones count as often as they stand
    there, and of more than `HISTORY_LIMIT` items the newest count. Candidates that the model does not know
    come last, in the order given.
    """
    row_of, item_ids = model.row_of, candidates.item_ids
    found = map(row_of.get, item_ids, repeat(_UNKNOWN_ROW))
    rows = np.fromiter(found, dtype=np.int64, count=len(item_ids))
    known = rows != _UNKNOWN_ROW
    if known.all() and rows.size:
        scores = model.scores(known_history(model, user), user.segment, rows)
    else:
        scores = np.zeros(rows.size, dtype=np.float32)
        if known.any():
            scores[known] = model.scores(known_history(model, user), user.segment, rows[known])
            scores[~known] = scores[known].min() - _GAP_TO_UNKNOWN
    order = np.argsort(-scores, kind="stable")
    return Candidates(
        item_ids=tuple(map(item_ids.__getitem__, order.tolist())),
        scores=np.ascontiguousarray(scores[order], dtype=np.float32),
    )


def known_history(model: Scorer, user: UserState) -> NDArray[np.int64]:
    """Rows of the newest items of a user that the model knows, oldest first, as many as it looks at."""
    row_of, newest = model.row_of, user.history[-HISTORY_LIMIT:]
    rows = [row_of.get(item_id, _UNKNOWN_ROW) for item_id in newest[-model.history_length :]]
    if _UNKNOWN_ROW in rows:
        # Older items take the place of unknown ones.
        rows = [row_of[item_id] for item_id in newest if item_id in row_of][-model.history_length :]
    return np.array(rows, dtype=np.int64)


def top_unseen(model: Scorer, history: NDArray[np.int64], segment: Segment, count: int) -> NDArray[np.int32]:
    """Shape (count,): the best items outside ``history``, ties by row; -1 where none are left."""
    unseen = np.ones(len(model.item_ids), dtype=np.bool_)
    unseen[history] = False
    candidates = np.flatnonzero(unseen)
    scores = model.scores(history[-HISTORY_LIMIT:], segment, candidates)
    if count < scores.size:
        # Everything that ties with the last place stays in, so that ties go to the lower row.
        kept = scores >= np.partition(scores, scores.size - count)[scores.size - count]
        candidates, scores = candidates[kept], scores[kept]
    best = candidates[np.argsort(-scores, kind="stable")[:count]]
    padding = np.full(count - best.size, -1, dtype=np.int64)
    return np.concatenate((best, padding)).astype(np.int32)
