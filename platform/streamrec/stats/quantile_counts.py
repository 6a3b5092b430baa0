"""Quantiles from counts in buckets of known relative width: statistics that add up, with clustered intervals.

The buckets are those of DDSketch (Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile
sketch with relative-error guarantees", sec. 2): every quantile is known to `RELATIVE_ACCURACY` of its value,
whatever was added in whatever order. No buckets are collapsed: their number is bounded by what numbers there
are between `SMALLEST` and `LARGEST`, some 6,000 on each side of zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.stats.clustered_ratios import wilson_bounds

RELATIVE_ACCURACY: Final = 0.005
"""A quantile lies within half a per cent of the true one of the same values."""

SMALLEST: Final = 1e-9
"""Numbers that are closer to zero count as zero."""

LARGEST: Final = 1e18
"""Numbers beyond count as this one."""

LEAST_UNITS_BEYOND: Final = 20
"""Units with values on either side of a quantile: with fewer, intervals miss the truth too often."""

_GAMMA: Final = (1.0 + RELATIVE_ACCURACY) / (1.0 - RELATIVE_ACCURACY)
_LOG_GAMMA: Final = float(np.log(_GAMMA))


def bucket_keys(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Bucket of each value: keys rise with the values; 0 is zero, below it are negative values.

    Args:
        values: Shape (n,), finite.
    """
    size = np.minimum(np.abs(values), LARGEST)
    with np.errstate(divide="ignore"):
        keys = np.ceil(np.log(size / SMALLEST) / _LOG_GAMMA)
    keys = np.where(size <= SMALLEST, 0.0, np.maximum(keys, 1.0))
    return (np.sign(values) * keys).astype(np.int32)


def value_of(key: int) -> float:
    """The value that stands for a bucket: its distance to any value in it is `RELATIVE_ACCURACY` at most."""
    if key == 0:
        return 0.0
    upper = SMALLEST * float(np.exp(abs(key) * _LOG_GAMMA))
    return float(np.sign(key)) * 2.0 * upper / (_GAMMA + 1.0)


def edges_of(key: int) -> tuple[float, float]:
    """Least and largest value of a bucket."""
    if key == 0:
        return -SMALLEST, SMALLEST
    outer = SMALLEST * float(np.exp(abs(key) * _LOG_GAMMA))
    inner = outer / _GAMMA
    return (inner, outer) if key > 0 else (-outer, -inner)


@dataclass(frozen=True)
class QuantileCounts:
    """How many values lie in each bucket.

    Attributes:
        keys: Shape (b,), ascending.
        counts: Shape (b,), above 0.
    """

    keys: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, keys: NDArray[np.int32], counts: NDArray[np.int64]) -> QuantileCounts:
        """Counts by key; a key may come several times, in any order."""
        unique, place = np.unique(keys, return_inverse=True)
        sums = np.zeros(unique.size, dtype=np.int64)
        np.add.at(sums, place, counts)
        return cls(unique.astype(np.int32), sums)

    def __add__(self, other: QuantileCounts) -> QuantileCounts:
        """Counts of the values of both."""
        return QuantileCounts.of(
            np.concatenate([self.keys, other.keys]), np.concatenate([self.counts, other.counts])
        )

    @property
    def cases(self) -> int:
        """How many values were added."""
        return int(self.counts.sum())

    def share_up_to(self, key: int) -> float:
        """Share of all values in the bucket or in lower ones."""
        return float(self.counts[self.keys <= key].sum()) / self.cases

    def key_at(self, share: float) -> int:
        """Bucket of the least value that has at least ``share`` of all values at or below it.

        Args:
            share: Between 0 and 1. There is at least one value.
        """
        below = np.cumsum(self.counts)
        # Of 200 values the 0.99 quantile is the 198th, also where 0.99 * 200 is a little more than 198.
        wanted = max(share * float(below[-1]) * (1.0 - 1e-12), 1e-9)
        return int(self.keys[min(int(np.searchsorted(below, wanted, side="left")), self.keys.size - 1)])


@dataclass(frozen=True, slots=True)
class TailErrors:
    """Of units: how their numbers of cases at or below a value differ from the share of all.

    Attributes:
        share: Of all cases at or below the value.
        units: How many.
        cases: All of them.
        squares, fourths: Sums of the second and fourth powers of x - share * y, where x of a unit's y cases
            lie at or below the value.
        units_above, units_below: Units with a case above the value, and with one at or below it.
    """

    share: float
    units: int = 0
    cases: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    units_above: int = 0
    units_below: int = 0

    @classmethod
    def of(cls, share: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> TailErrors:
        """Errors of units, each once; x and y of shape (n,)."""
        errors = x - share * y
        squares = errors * errors
        return cls(
            share,
            int(y.size),
            float(y.sum()),
            float(squares.sum()),
            float((squares * squares).sum()),
            int(np.count_nonzero(y > x)),
            int(np.count_nonzero(x > 0.0)),
        )

    def __add__(self, other: TailErrors) -> TailErrors:
        """Errors of the units of both, about the same share; no unit may be in both."""
        if other.share != self.share:
            raise ValueError(f"errors about {other.share} do not add to errors about {self.share}")
        return TailErrors(
            self.share,
            self.units + other.units,
            self.cases + other.cases,
            self.squares + other.squares,
            self.fourths + other.fourths,
            self.units_above + other.units_above,
            self.units_below + other.units_below,
        )

    @property
    def effective_cases(self) -> float:
        """How many independent cases would know the share as well; see `clustered_ratios.share_interval`."""
        if self.squares <= 0.0:
            return float(self.units)
        variance = self.units / (self.units - 1) * self.squares / (self.cases * self.cases)
        return min(self.share * (1.0 - self.share) / variance, self.cases)

    @property
    def degrees_of_freedom(self) -> float:
        """Of the variance: n - 1 where units differ as a normal distribution does, fewer where few make it.

        By the kurtosis k of the errors, 2 n / (k - 1): the variance of an estimated variance, matched to that
        of a chi-square (Satterthwaite 1946, "An approximate distribution of estimates of variance
        components").
        """
        if self.squares <= 0.0:
            return float(self.units - 1)
        kurtosis = self.units * self.fourths / (self.squares * self.squares)
        return float(np.clip(2.0 * self.units / max(kurtosis - 1.0, 1e-9), 1.5, self.units - 1))


def quantile_interval(
    counts: QuantileCounts, errors: TailErrors, quantile: float, *, level: float = 0.95
) -> Interval | None:
    """A quantile of clustered values, with an interval.

    Order statistics alone are for independent values: with clusters the share of values at or below the
    quantile varies more than a binomial share does. Woodruff's interval (Woodruff 1952, "Confidence intervals
    for medians and other position measures"; Francisco and Fuller 1991, "Quantile estimation with a complex
    survey design") takes the clustered variance of that share, here in Wilson's form at the effective number
    of cases, and reads the two shares off the distribution as values. The bounds are the outer edges of their
    buckets.

    Args:
        counts: Of all values.
        errors: At the upper edge of the quantile's bucket.
        quantile: Which, between 0 and 1.
        level: Confidence asked for.

    Returns:
        None where nobody can say how far it may lie: fewer than `LEAST_UNITS_BEYOND` units have a value above
        it, or one at or below it.
    """
    if min(errors.units_above, errors.units_below) < LEAST_UNITS_BEYOND:
        return None
    t = float(stdtrit(errors.degrees_of_freedom, 0.5 + 0.5 * level))
    low_share, high_share = wilson_bounds(quantile, errors.effective_cases, t)
    value = value_of(counts.key_at(quantile))
    low = edges_of(counts.key_at(low_share))[0]
    high = edges_of(counts.key_at(high_share))[1]
    return Interval(value, low, high, level, IntervalMethod.WOODRUFF, errors.units)
