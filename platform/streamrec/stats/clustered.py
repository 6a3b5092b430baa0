"""Metrics over rows of units, several rows a unit, with what each unit adds to the error.

Rows of one unit (a user's requests) are not independent, units are. Every estimate here carries one number a
unit: its term in the linearised estimate (the delta method, or influence function: van der Vaart 1998, ch. 3
and 20). The variance is that of these terms, whatever the metric; and the difference of two metrics over the
same units has the differences of their terms, so that what the two have in common cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from streamrec.contracts.intervals import Interval, IntervalMethod


@dataclass(frozen=True, slots=True)
class Units:
    """Which unit each row belongs to.

    Attributes:
        of_row: Shape (n,), int64: the unit of each row, 0 to ``count - 1``, each at least once.
        count: Units, 1 or more.
    """

    of_row: NDArray[np.int64]
    count: int

    @classmethod
    def named(cls, names: Sequence[str]) -> Units:
        """Number the units of rows by their names. Raises ``ValueError`` where there is none."""
        if len(names) == 0:
            raise ValueError("no rows: nothing can be estimated")
        found, codes = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
        return cls(codes.astype(np.int64), len(found))

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (units,): the sum of each unit's values."""
        return weighted_counts(self.of_row, values, self.count)


@dataclass(frozen=True, slots=True)
class ClusteredEstimate:
    """A figure, and what each unit adds to its error.

    Attributes:
        value: The figure.
        errors: Shape (units,), mean zero; the figure's variance is that of ``errors`` divided by their
            number.
    """

    value: float
    errors: NDArray[np.float64]

    def __sub__(self, other: ClusteredEstimate) -> ClusteredEstimate:
        """The difference of two figures over the same units in the same order."""
        if self.errors.shape != other.errors.shape:
            raise ValueError("figures over different units have no paired difference")
        return ClusteredEstimate(self.value - other.value, self.errors - other.errors)

    @property
    def deviation(self) -> float:
        """Standard deviation of the terms, divisor ``units - 1``: the standard error times sqrt(units)."""
        return float(np.sqrt((self.errors**2).sum() / max(self.errors.size - 1, 1)))

    @property
    def standard_error(self) -> float:
        """Of the figure."""
        return self.deviation / float(np.sqrt(self.errors.size))

    @property
    def degrees_of_freedom(self) -> float:
        """Of the estimated variance, by the kurtosis k of the terms: ``2 n / (k - 1)``, which matches how
        uncertain it is (Satterthwaite 1946). Where few units make all the difference, it is known badly.
        """
        size, squares = self.errors.size, float((self.errors**2).mean())
        if squares == 0.0:
            return float(max(size - 1, 1))
        kurtosis = float((self.errors**4).mean()) / squares**2
        return float(np.clip(2.0 * size / max(kurtosis - 1.0, 1e-9), 1.5, max(size - 1, 1.5)))

    def interval(self, confidence: float) -> Interval:
        """By the delta method and Student's t; each bound is a one-sided one at ``(1 + confidence) / 2``."""
        half = float(stdtrit(self.degrees_of_freedom, 0.5 + 0.5 * confidence)) * self.standard_error
        units = int(self.errors.size)
        return Interval(
            self.value, self.value - half, self.value + half, confidence, IntervalMethod.DELTA_METHOD, units
        )


def independent_difference(
    first: ClusteredEstimate, second: ClusteredEstimate, *, confidence: float
) -> Interval:
    """``first - second`` of two samples, by the normal approximation; ``n`` is the smaller number of units.

    Where some units are in both samples and the two figures rise and fall together, it is wider than it
    need be.
    """
    error = float(np.hypot(first.standard_error, second.standard_error))
    half = NormalDist().inv_cdf(0.5 + 0.5 * confidence) * error
    value = first.value - second.value
    units = min(first.errors.size, second.errors.size)
    return Interval(value, value - half, value + half, confidence, IntervalMethod.NORMAL_APPROXIMATION, units)


def clustered_mean(values: NDArray[np.float64], units: Units) -> ClusteredEstimate:
    """Mean over all rows: a ratio of sums over units (Cochran 1977, eq. 2.46).

    Args:
        values: Shape (n,), finite.
        units: Of the rows.
    """
    _require_finite(values)
    mean = float(values.mean())
    return ClusteredEstimate(mean, units.sums(values - mean) * (units.count / values.size))


def clustered_root_mean_square(values: NDArray[np.float64], units: Units) -> ClusteredEstimate:
    """Square root of the mean square over all rows: the delta method on `clustered_mean` of the squares."""
    mean_square = clustered_mean(values**2, units)
    root = float(np.sqrt(mean_square.value))
    return ClusteredEstimate(root, mean_square.errors / (2.0 * root) if root > 0.0 else mean_square.errors)


def clustered_area_under_curve(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], units: Units
) -> ClusteredEstimate:
    """Area under the ROC curve over all rows; equal scores count half.

    The terms of rows are those of DeLong, DeLong and Clarke-Pearson 1988 (eq. 3), by mid-ranks (Sun and Xu
    2014), summed within units as in Obuchowski 1997 (sec. 2.1).

    Args:
        scores: Shape (n,), finite; higher for positives.
        is_positive: Shape (n,).
        units: Of the rows.

    Raises:
        ValueError: All rows have the same label: there is no curve.
    """
    _require_finite(scores)
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if positives == 0 or negatives == 0:
        raise ValueError("the area under the curve takes rows of both labels")
    ranks = mid_ranks(scores)
    own = np.empty_like(ranks)
    own[is_positive] = mid_ranks(scores[is_positive])
    own[~is_positive] = mid_ranks(scores[~is_positive])
    # Of a positive: the share of negatives below it. Of a negative: the share of positives above it.
    placement = np.where(is_positive, (ranks - own) / negatives, 1.0 - (ranks - own) / positives)
    area = float(placement[is_positive].mean())
    weight = np.where(is_positive, units.count / positives, units.count / negatives)
    return ClusteredEstimate(area, units.sums((placement - area) * weight))


def weighted_counts(
    codes: NDArray[np.int64], weights: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Shape (count,): the sum of ``weights`` of each code, 0 to ``count - 1``."""
    sums: NDArray[np.float64] = np.bincount(codes, weights=weights, minlength=count).astype(np.float64)
    return sums


def mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n,): rank of each value from 1, equal values sharing the mean of their places."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2.0)[place]
    return ranks


def units_needed(deviation: float, distance: float, *, confidence: float, power: float) -> int:
    """Units at which a one-sided bound excludes a value that lies ``distance`` away, with that power.

    ``n = ((z_confidence + z_power) * deviation / distance)**2`` (Chow, Shao, Wang and Lokhnygina 2017, sec.
    3.1).

    Args:
        deviation: `ClusteredEstimate.deviation`.
        distance: Above 0.
        confidence: Of the one-sided bound.
        power: Chance asked for.

    Raises:
        ValueError: ``distance`` is not positive and finite.
    """
    if not (np.isfinite(distance) and distance > 0.0):
        raise ValueError("distance must be finite and above 0")
    normal = NormalDist()
    quantiles = normal.inv_cdf(confidence) + normal.inv_cdf(power)
    return int(np.ceil((quantiles * deviation / distance) ** 2))


def _require_finite(values: NDArray[np.float64]) -> None:
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("values must be finite, and there must be some")
