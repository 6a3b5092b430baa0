"""From a data set to the `UserState` that a stage sees: what serving builds from the feature store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import UserHistories


def segments_by_user(dataset: Dataset) -> dict[str, Segment]:
    """Segment of every user of the data set."""
    rows = dataset.users[["user_id", *SEGMENT_COLUMNS]].itertuples(index=False, name=None)
    return {user_id: Segment(*attributes) for user_id, *attributes in rows}


def user_states(
    dataset: Dataset, histories: UserHistories, users: NDArray[np.int32] | None = None
) -> Iterator[UserState]:
    """Yield one state per row of ``users``.

    Args:
        dataset: Where segments and item ids come from.
        histories: What each user has done so far.
        users: Rows into ``histories``; all of them when None.
    """
    item_ids = dataset.catalogue.item_ids
    segments = segments_by_user(dataset)
    for user in range(len(histories)) if users is None else users.tolist():
        user_id = histories.user_ids[user]
        history = tuple(item_ids[item] for item in histories.of(user)[-HISTORY_LIMIT:].tolist())
        yield UserState(user_id, segments[user_id], history)
