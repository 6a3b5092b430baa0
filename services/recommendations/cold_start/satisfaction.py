"""How well items keep what they promise: expected satisfaction of whoever takes one up, shrunk to the mean.

What is taken up most is not what satisfies most: a title can invite more than the item gives. A log of
interactions tells the two apart, because it says how each of them went: an opened item that was left early,
one that was seen to the end, a rating.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.events import InteractionKind
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import UserHistories

GRADES: Final = {
    InteractionKind.CLICK.value: 0.1,
    InteractionKind.PLAY.value: 0.5,
    InteractionKind.COMPLETE.value: 0.9,
    InteractionKind.LIKE.value: 1.0,
}
"""Satisfaction, from 0 to 1, that each kind of interaction stands for: opened and left, watched in part, seen
to the end, liked. Ordinal grades, evenly spaced: nothing in the log says how long an item is."""

MINIMUM_PSEUDO_INTERACTIONS: Final = 1.0
MAXIMUM_PSEUDO_INTERACTIONS: Final = 1000.0
"""Bounds on the weight of the mean: the moment estimate can be negative or next to nothing."""

_SMALLEST: Final = 0.01
_LARGEST: Final = 1.0


@dataclass(frozen=True)
class ItemSatisfaction:
    """Expected satisfaction of each item, as the cold-start score uses it.

    Attributes:
        log_satisfaction: Shape (n,), float32: log of the posterior mean relative to that of all interactions;
            0 is neutral, and what an item without any interaction has.
        pseudo_interactions: Weight of the mean of all items in each item's own, in interactions; 0 where the
            data says nothing about satisfaction.
    """

    log_satisfaction: NDArray[np.float32]
    pseudo_interactions: float

    @classmethod
    def neutral(cls, item_count: int) -> Self:
        """For data that does not tell: every item satisfies alike."""
        return cls(np.zeros(item_count, dtype=np.float32), 0.0)

    @classmethod
    def from_grades(cls, items: NDArray[np.integer], grades: NDArray[np.floating], item_count: int) -> Self:
        """Shrink each item's mean grade to the mean of all.

        Empirical Bayes for the one-way random effects model: the posterior mean of item i is
        (n_i mean_i + c mean) / (n_i + c) with c = within variance / between variance, both by the ANOVA
        moments for unequal group sizes (Searle, Casella and McCulloch 1992, "Variance Components", sec. 3.6).

        Args:
            items: Shape (m,): item row of each graded interaction.
            grades: Shape (m,), from 0 to 1.
            item_count: Number of items n.
        """
        if len(items) == 0 or float(np.ptp(grades)) == 0.0:
            return cls.neutral(item_count)
        counts = np.bincount(items, minlength=item_count).astype(np.float64)
        sums = np.bincount(items, grades, minlength=item_count).astype(np.float64)
        total = float(grades.mean())
        pseudo = _pseudo_interactions(counts, sums, grades)
        posterior = (sums + pseudo * total) / (counts + pseudo)
        relative = np.clip(posterior, _SMALLEST, _LARGEST) / max(total, _SMALLEST)
        return cls(np.log(relative).astype(np.float32), pseudo)


def satisfaction_of(
    dataset: Dataset, train: UserHistories, index_row: NDArray[np.integer], item_count: int
) -> ItemSatisfaction:
    """Estimate from the training interactions: events where the source has them, else ratings, else neutral.

    Args:
        dataset: Where kinds of event and ratings come from.
        train: What may be learned from: each user's oldest interactions, as `leave_last_out` cuts them.
        index_row: Shape (items of the catalogue,): row of each item in the index, -1 where it lacks it.
        item_count: Items of the index.
    """
    grades = _grades(dataset)
    if grades is None:
        return ItemSatisfaction.neutral(item_count)
    # The order of `user_sequences`: stable by user over a frame that is sorted by time.
    names = dataset.positive_interactions["user_id"].to_numpy(dtype=str)
    users = np.searchsorted(np.array(train.user_ids), names)
    order = np.argsort(users, kind="stable")
    every_user, every_grade = users[order], grades[order]
    first = np.searchsorted(every_user, np.arange(len(train)))
    kept = np.arange(len(every_user)) - first[every_user] < train.lengths[every_user]
    rows, values = index_row[train.items], every_grade[kept]
    usable = (rows >= 0) & np.isfinite(values)
    return ItemSatisfaction.from_grades(rows[usable], values[usable], item_count)


def _grades(dataset: Dataset) -> NDArray[np.float64] | None:
    """Shape (positive interactions,): from 0 to 1, NaN where one says nothing; None where none does."""
    interactions = dataset.positive_interactions
    if "event" in interactions:
        return np.asarray(interactions["event"].map(GRADES).to_numpy(dtype=np.float64))
    if "rating" not in interactions:
        return None
    ratings = pd.to_numeric(interactions["rating"], errors="coerce").to_numpy(dtype=np.float64)
    known = ratings[np.isfinite(ratings)]
    if known.size == 0 or np.ptp(known) == 0.0:
        return None
    return np.asarray((ratings - known.min()) / np.ptp(known))


def _pseudo_interactions(
    counts: NDArray[np.float64], sums: NDArray[np.floating], grades: NDArray[np.floating]
) -> float:
    seen = counts > 0
    groups, total = int(seen.sum()), float(counts.sum())
    if groups < 2 or total <= groups:
        return MAXIMUM_PSEUDO_INTERACTIONS
    by_item = float((sums[seen] ** 2 / counts[seen]).sum())
    within = (float((grades**2).sum()) - by_item) / (total - groups)
    spread = by_item - float(grades.sum()) ** 2 / total
    weight = total - float((counts**2).sum()) / total
    between = (spread - (groups - 1) * within) / weight
    if between <= 0.0:
        return MAXIMUM_PSEUDO_INTERACTIONS
    return float(np.clip(within / between, MINIMUM_PSEUDO_INTERACTIONS, MAXIMUM_PSEUDO_INTERACTIONS))
