"""Evaluating a retriever exactly as it serves: one `UserState` at a time through `Retriever.retrieve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Retriever, Segment, UserState
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.splits import UserHistories


@dataclass(frozen=True)
class RetrieverAsCatalogueRanker:
    """A retriever as `streamrec.training.evaluation.CatalogueRanker`.

    Attributes:
        retriever: What to evaluate.
        catalogue: Names the rows of the histories and of the answer.
        segments: Segment by user id; a user who is missing has an unknown one.
    """

    retriever: Retriever
    catalogue: Catalogue
    segments: Mapping[str, Segment]

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """See `CatalogueRanker.top_items`."""
        item_ids, row_of = self.catalogue.item_ids, self.catalogue.row_of
        lists = np.full((len(users), min(count, len(self.catalogue))), -1, dtype=np.int32)
        for position, user in enumerate(users.tolist()):
            user_id = histories.user_ids[user]
            state = UserState(
                user_id=user_id,
                segment=self.segments.get(user_id, Segment()),
                history=tuple(item_ids[row] for row in histories.of(user).tolist()),
            )
            candidates = self.retriever.retrieve(state, lists.shape[1])
            lists[position, : len(candidates)] = [row_of[item_id] for item_id in candidates.item_ids]
        return lists
