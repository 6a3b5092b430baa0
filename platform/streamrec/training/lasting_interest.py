"""Interest that lasted: what a user took back by a later dislike teaches no model that the user wants it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.events import InteractionKind
from streamrec.datasets.dataset import Dataset


def taken_back(dataset: Dataset) -> NDArray[np.bool_]:
    """Which of ``dataset.positive_interactions`` the same user followed by a dislike of the same item.

    The last word counts: a dislike at the same time or later takes back all interest before it; interest that
    comes after the last dislike stands.

    Returns:
        Shape (n,).
    """
    positive, negative = dataset.positive_interactions, dataset.negative_interactions
    dislikes = negative[negative["event"] == InteractionKind.DISLIKE.value]
    if dislikes.empty:
        return np.zeros(len(positive), dtype=np.bool_)
    last = dislikes.groupby(["user_id", "item_id"])["timestamp"].max().rename("disliked_at")
    disliked_at = positive[["user_id", "item_id"]].join(last, on=["user_id", "item_id"])["disliked_at"]
    back: NDArray[np.bool_] = (positive["timestamp"] <= disliked_at).to_numpy(dtype=np.bool_)
    return back


def lasting_interactions(dataset: Dataset) -> pd.DataFrame:
    """Return the interactions to learn interest from: ``positive_interactions`` but those taken back."""
    back = taken_back(dataset)
    return dataset.positive_interactions[~back] if back.any() else dataset.positive_interactions
