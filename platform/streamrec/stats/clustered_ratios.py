"""Ratios of sums over independent units, from sums alone: sufficient statistics that add up.

The events of one unit (a user) are not independent, so everything here counts units: x and y are a unit's
sums, and errors come from how units differ. Statistics of disjoint sets of units add up to those of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from streamrec.contracts.intervals import Interval, IntervalMethod


@dataclass(frozen=True, slots=True)
class RatioMoments:
    """Of pairs (x, y), one for each unit: what the ratio of their sums and its error need.

    Attributes:
        units: How many pairs.
        x, y: Sums.
        xx, xy, yy: Sums of squares and products.
    """

    units: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> RatioMoments:
        """Statistics of units, each once.

        Args:
            x: Shape (n,): the numerator of each unit.
            y: Shape (n,): its denominator; 1 for a mean over units.
        """
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"shapes {x.shape} and {y.shape}: one pair per unit is needed")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError("values must be finite")
        sums = (x.sum(), y.sum(), (x * x).sum(), (x * y).sum(), (y * y).sum())
        return cls(int(x.size), *map(float, sums))

    def __add__(self, other: RatioMoments) -> RatioMoments:
        """Statistics of the units of both; no unit may be in both."""
        return RatioMoments(
            self.units + other.units,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    @property
    def ratio(self) -> float | None:
        """``x / y``; None where there is nothing to divide by."""
        return self.x / self.y if self.y > 0.0 else None

    @property
    def variance(self) -> float | None:
        """Of the ratio, by the delta method with units as clusters; None where it cannot be estimated.

        Linearised: n / (n - 1) times the sum of (x - R y)^2, over (sum y)^2 (Cochran 1977, "Sampling
        techniques", eq. 6.13; Deng, Knoblich and Lu 2018, "Applying the delta method in metric analytics",
        sec. 2.2). With y = 1 it is the variance of a mean.
        """
        ratio = self.ratio
        if ratio is None or self.units < 2:
            return None
        squares = self.xx - 2.0 * ratio * self.xy + ratio * ratio * self.yy
        # What adding up leaves of nothing is nothing.
        largest = max(self.xx, ratio * ratio * self.yy)
        squares = 0.0 if squares <= 1e-12 * largest else squares
        return self.units / (self.units - 1) * squares / (self.y * self.y)


def ratio_interval(moments: RatioMoments, *, level: float = 0.95) -> Interval | None:
    """The ratio with an interval by the delta method and Student's t with n - 1 degrees of freedom.

    Args:
        moments: Of independent units.
        level: Confidence asked for.

    Returns:
        None where there is no estimate: fewer than two units, nothing to divide by, or no difference between
        units at all, which says nothing about how much there could have been.
    """
    value, variance = moments.ratio, moments.variance
    if value is None or not variance:
        return None
    half = _t(level, moments.units) * float(np.sqrt(variance))
    return Interval(value, value - half, value + half, level, IntervalMethod.DELTA_METHOD, moments.units)


def share_interval(moments: RatioMoments, *, level: float = 0.95) -> Interval | None:
    """The ratio as a share of cases, between 0 and 1: Wilson's interval at the effective number of cases.

    That number is how many independent cases would have the variance which the clusters have (Korn and
    Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", sec. 2), at most the number of cases (Parker et al. 2017, "National Center
    for Health Statistics data presentation standards for proportions"). Where no unit differs from any other,
    as when nothing ever happened, each unit counts as one case. Wilson's interval (1927) takes Student's t.

    Args:
        moments: Of independent units; x lies between 0 and y for each.
        level: Confidence asked for.

    Returns:
        None for fewer than two units, or no cases.
    """
    value = moments.ratio
    if value is None or moments.units < 2:
        return None
    low, high = wilson_bounds(value, effective_cases(moments), _t(level, moments.units))
    low, high = min(low, value), max(high, value)  # at 0 and 1 rounding may pass them
    return Interval(value, low, high, level, IntervalMethod.WILSON_EFFECTIVE_SAMPLE, moments.units)


def effective_cases(moments: RatioMoments) -> float:
    """How many independent cases would know the share as well; see `share_interval`.

    Args:
        moments: Of at least two units and one case.
    """
    share = moments.x / moments.y
    variance = moments.variance
    if not variance:
        return float(moments.units)
    return min(share * (1.0 - share) / variance, moments.y)


def wilson_bounds(share: float, cases: float, quantile: float) -> tuple[float, float]:
    """Bounds of a share by inverting the score test (Wilson 1927), inside 0 to 1.

    Args:
        share: The estimate.
        cases: Independent cases, above 0; need not be whole.
        quantile: Of the standard normal distribution, or of Student's t.
    """
    square = quantile * quantile / cases
    middle = (share + square / 2.0) / (1.0 + square)
    half = quantile / (1.0 + square) * float(np.sqrt(share * (1.0 - share) / cases + square / (4.0 * cases)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _t(level: float, units: int) -> float:
    return float(stdtrit(units - 1, 0.5 + 0.5 * level))
