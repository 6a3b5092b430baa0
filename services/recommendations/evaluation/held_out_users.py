"""The users that the sections measure on: their state before the held-out test item, and that item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.recommendations.contracts.candidates import UserState
from services.recommendations.training.histories import user_states
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import Split


@dataclass(frozen=True)
class HeldOutUser:
    """One user and what that user took up next.

    Attributes:
        state: Everything before the test item.
        target: The test item, which is not in the history.
    """

    state: UserState
    target: str


def held_out_users(dataset: Dataset, split: Split, *, count: int, seed: int) -> list[HeldOutUser]:
    """Draw ``count`` evaluated users uniformly, in the order of their ids; all of them where fewer.

    Users whose test item is one they had seen before are left out, as in `streamrec.training.evaluation`: it
    is filtered from every list.
    """
    kept = np.flatnonzero(
        [item not in split.history.of(user) for user, item in zip(split.evaluated, split.test, strict=True)]
    )
    if len(kept) > count:
        kept = np.sort(np.random.default_rng(seed).choice(kept, size=count, replace=False))
    states = user_states(dataset, split.history, split.evaluated[kept])
    items = split.catalogue.item_ids
    return [HeldOutUser(state, items[row]) for state, row in zip(states, split.test[kept], strict=True)]
