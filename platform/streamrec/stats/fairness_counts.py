"""What happened to a group of people, as counts that add up over chunks, days and processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.stats.fairness_intervals import wilson_bounds

RATES = ("selection_rate", "tpr", "fpr", "fnr")


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of independent trials.

    Attributes:
        successes: Between 0 and ``trials``.
        trials: 0 or more; fewer than there are rows where the rows of one unit depend on each other.
    """

    successes: float
    trials: float

    @property
    def value(self) -> float | None:
        """The share; None where there was no trial."""
        return self.successes / self.trials if self.trials > 0 else None

    def interval(self, level: float) -> Interval | None:
        """Wilson's; None where there was no trial."""
        if self.trials <= 0:
            return None
        low, high = wilson_bounds(self.successes, self.trials, level)
        value = self.successes / self.trials
        return Interval(value, float(low), float(high), level, IntervalMethod.WILSON, int(self.trials))


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Of one group.

    Attributes:
        rows: All of them.
        positives: Rows whose label is 1.
        selected: Rows whose score reaches the threshold.
        true_positives: Rows that are both.
        gap: Sum of label less score.
        squared_gap, cubed_gap: Sums of its square and its cube.
    """

    rows: int = 0
    positives: int = 0
    selected: int = 0
    true_positives: int = 0
    gap: float = 0.0
    squared_gap: float = 0.0
    cubed_gap: float = 0.0

    def __add__(self, other: GroupCounts) -> GroupCounts:
        """The counts of both, who must be different rows."""
        return GroupCounts(
            self.rows + other.rows,
            self.positives + other.positives,
            self.selected + other.selected,
            self.true_positives + other.true_positives,
            self.gap + other.gap,
            self.squared_gap + other.squared_gap,
            self.cubed_gap + other.cubed_gap,
        )

    def rate(self, metric: str) -> Rate:
        """One of `RATES`: the share of the selected among all rows, positives or negatives."""
        negatives, false_positives = self.rows - self.positives, self.selected - self.true_positives
        return {
            "selection_rate": Rate(self.selected, self.rows),
            "tpr": Rate(self.true_positives, self.positives),
            "fpr": Rate(false_positives, negatives),
            "fnr": Rate(self.positives - self.true_positives, self.positives),
        }[metric]

    @property
    def mean_gap(self) -> float:
        """Mean label less mean score: how far the scores are off as chances, in the large."""
        return self.gap / self.rows

    @property
    def gap_deviation(self) -> float:
        """Standard deviation of label less score over rows, divisor ``rows - 1``."""
        spread = max(self.squared_gap - self.gap**2 / self.rows, 0.0)
        return float(np.sqrt(spread / max(self.rows - 1, 1)))

    @property
    def gap_third_moment(self) -> float:
        """Third central moment of label less score over rows."""
        mean = self.mean_gap
        return self.cubed_gap / self.rows - 3.0 * mean * self.squared_gap / self.rows + 2.0 * mean**3


def count_groups(
    codes: NDArray[np.int64],
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    threshold: float,
    groups: int,
) -> list[GroupCounts]:
    """Count every group at once.

    Args:
        codes: Shape (n,): the group of each row, 0 to ``groups - 1``.
        labels: Shape (n,), 0 or 1; any number where only ``gap`` is of interest.
        scores: Shape (n,), finite.
        threshold: Scores from here on are selected.
        groups: How many there are.
    """
    positive, selected = labels == 1.0, scores >= threshold
    gap = labels - scores

    def counted(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(codes[which], minlength=groups)

    columns = (
        np.bincount(codes, minlength=groups),
        counted(positive),
        counted(selected),
        counted(positive & selected),
        np.bincount(codes, weights=gap, minlength=groups),
        np.bincount(codes, weights=gap**2, minlength=groups),
        np.bincount(codes, weights=gap**3, minlength=groups),
    )
    return [GroupCounts(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
