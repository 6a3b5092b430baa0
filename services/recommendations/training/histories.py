"""From a data set to the `UserState` that a stage sees: what serving builds from the feature store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.training.rejections import Rejections
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import Split, UserHistories
from streamrec.training.training_rows import TrainingRows


def segments_by_user(dataset: Dataset) -> dict[str, Segment]:
    """Segment of every user of the data set."""
    rows = dataset.users[["user_id", *SEGMENT_COLUMNS]].itertuples(index=False, name=None)
    return {user_id: Segment(*attributes) for user_id, *attributes in rows}


def user_states(
    dataset: Dataset, histories: UserHistories, users: NDArray[np.int32] | None = None
) -> Iterator[UserState]:
    """Yield one state per row of ``users``, with what the user had disliked and skipped by then.

    Args:
        dataset: Where segments and item ids come from.
        histories: What each user has done so far: a first part of each of the data set's sequences, or all.
        users: Rows into ``histories``; all of them when None.
    """
    item_ids = dataset.catalogue.item_ids
    segments = segments_by_user(dataset)
    rejections = Rejections.of(dataset)
    for user in range(len(histories)) if users is None else users.tolist():
        user_id = histories.user_ids[user]
        # Whose rejections are to be put in their places by time needs the whole sequence.
        rows = histories.of(user) if user_id in rejections.actions else histories.of(user)[-HISTORY_LIMIT:]
        history = tuple(item_ids[item] for item in rows.tolist())
        yield rejections.state(user_id, segments[user_id], history)


def rows_seen_by_training(split: Split) -> TrainingRows:
    """Every interaction that training may look at, its validation items too: all but the test items."""
    histories = split.history
    users = np.asarray(histories.user_ids, dtype=object)
    item_ids = np.asarray(split.catalogue.item_ids, dtype=object)
    return TrainingRows.of(users[histories.users], item_ids[histories.items], histories.timestamps)
