"""Evaluating a ranker over the whole catalogue as it serves: with each user's segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.full_ranking import Scorer, top_unseen
from streamrec.training.splits import UserHistories


@dataclass(frozen=True)
class RankerAsCatalogueRanker:
    """A ranker, teacher or student, as `streamrec.training.evaluation.CatalogueRanker`.

    Attributes:
        model: What to evaluate; rows of the histories are rows of its items.
        segments: Segment by user id; a user who is missing has an unknown one.
    """

    model: Scorer
    segments: Mapping[str, Segment]

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """See `CatalogueRanker.top_items`."""
        count = min(count, len(self.model.item_ids))
        lists = np.empty((len(users), count), dtype=np.int32)
        for place, user in enumerate(users.tolist()):
            segment = self.segments.get(histories.user_ids[user], Segment())
            lists[place] = top_unseen(self.model, histories.of(user).astype(np.int64), segment, count)
        return lists
