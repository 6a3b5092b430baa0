"""From a split to the `UserState` that a stage sees: the same that serving builds from the feature store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.recommendations.types import HISTORY_LIMIT, Segment, UserState
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import Sequences


def user_states(
    dataset: Dataset, histories: Sequences, users: NDArray[np.int32] | None = None
) -> Iterator[UserState]:
    """Yield one state per row of ``users``.

    Args:
        dataset: Where segments and item ids come from.
        histories: What each user has done so far.
        users: Rows into ``histories``; all of them when None.
    """
    item_ids = dataset.catalogue.item_ids
    segments = dict(
        zip(
            dataset.users["user_id"],
            dataset.users[list(SEGMENT_COLUMNS)].itertuples(index=False, name=None),
            strict=True,
        )
    )
    for user in range(len(histories)) if users is None else users:
        user_id = histories.user_ids[user]
        yield UserState(
            user_id=user_id,
            segment=Segment(*segments[user_id]),
            history=tuple(item_ids[item] for item in histories.of(int(user))[-HISTORY_LIMIT:]),
        )
