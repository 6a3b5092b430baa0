"""Intervals of rates and of their differences, also where rates are small and groups of different sizes.

Counts need not be whole: where the rows of one unit depend on each other they are divided by the design
effect (Rao and Scott 1992, "A simple method for the analysis of clustered binary data").
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

_HALVINGS: Final = 44
"""Of the interval from -1 to 1: the bounds are then known to 1e-13."""

_CERTAIN: Final = 1e6
"""The statistic where the assumed difference leaves no room for chance."""


def wilson_bounds(successes: ArrayLike, trials: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Score interval of a rate (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).

    Args:
        successes: Shape (n,), between 0 and ``trials``.
        trials: Shape (n,), above 0.
        level: Confidence, two-sided.
    """
    hits, count = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    square = ndtri(0.5 + 0.5 * level) ** 2
    rate = hits / count
    centre = (rate + square / (2.0 * count)) / (1.0 + square / count)
    half = np.sqrt(square * (rate * (1.0 - rate) / count + square / (4.0 * count**2))) / (
        1.0 + square / count
    )
    return np.clip(centre - half, 0.0, rate), np.clip(centre + half, rate, 1.0)


def difference_bounds(
    rate: ArrayLike,
    trials: ArrayLike,
    reference_rate: ArrayLike,
    reference_trials: ArrayLike,
    level: ArrayLike,
) -> tuple[Floats, Floats]:
    """Score interval of ``rate - reference_rate`` (Miettinen and Nurminen 1985), corrected for skewness.

    The bounds are the differences that the score test does not refuse at ``(1 - level) / 2`` on each side.

    Args:
        rate, reference_rate: Shape (n,), 0 to 1.
        trials, reference_trials: Shape (n,), above 0.
        level: Confidence, two-sided; one for all or shape (n,).
    """
    rate, trials, reference_rate, reference_trials, level = np.broadcast_arrays(
        *(
            np.asarray(values, dtype=np.float64)
            for values in (rate, trials, reference_rate, reference_trials, level)
        )
    )
    quantile = ndtri(0.5 + 0.5 * level)
    estimate = rate - reference_rate
    bounds = []
    for sign in (1.0, -1.0):
        # The statistic falls as the assumed difference rises: where it is ``sign * quantile`` is the bound.
        low = np.where(sign > 0, -1.0, estimate)
        high = np.where(sign > 0, estimate, 1.0)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            above = score_statistic(rate, trials, reference_rate, reference_trials, middle) > sign * quantile
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        bounds.append(0.5 * (low + high))
    return np.minimum(bounds[0], estimate), np.maximum(bounds[1], estimate)


def score_statistic(
    rate: Floats, trials: Floats, reference_rate: Floats, reference_trials: Floats, difference: Floats
) -> Floats:
    """Standardised distance of the observed difference to an assumed one; about normal where that is true.

    With the correction for skewness of Gart and Nam 1990 (sec. 2.3) as Laud 2017 has it (appendix S2): groups
    of different sizes make the uncorrected statistic miss more on one side than on the other.
    """
    likeliest, other = likeliest_rates(rate, trials, reference_rate, reference_trials, difference)
    own, reference = likeliest * (1.0 - likeliest), other * (1.0 - other)
    total = trials + reference_trials
    variance = (own / trials + reference / reference_trials) * total / np.maximum(total - 1.0, 1.0)
    third_moment = own * (1.0 - 2.0 * likeliest) / trials**2
    third_moment = third_moment - reference * (1.0 - 2.0 * other) / reference_trials**2
    distance = rate - reference_rate - difference
    safe = np.where(variance > 0.0, variance, 1.0)
    plain = np.where(variance > 0.0, distance / np.sqrt(safe), np.sign(distance) * _CERTAIN)
    skewness = np.where(variance > 0.0, third_moment / (6.0 * safe**1.5), 0.0)
    # The root of skewness * z^2 + z = plain + skewness that goes to ``plain`` as the skewness goes to 0.
    root = np.sqrt(np.maximum(1.0 + 4.0 * skewness * (plain + skewness), 0.0))
    statistic: Floats = 2.0 * (plain + skewness) / (1.0 + root)
    return statistic


def likeliest_rates(
    rate: Floats, trials: Floats, reference_rate: Floats, reference_trials: Floats, difference: Floats
) -> tuple[Floats, Floats]:
    """The likeliest two rates that differ by exactly ``difference``.

    The root of the cubic as in Farrington and Manning 1990, "Test statistics and sample size formulae for
    comparative binomial trials", appendix.
    """
    share = reference_trials / trials
    a = 1.0 + share
    b = -(1.0 + share + rate + share * reference_rate + difference * (share + 2.0))
    c = difference**2 + difference * (2.0 * rate + share + 1.0) + rate + share * reference_rate
    d = -rate * difference * (1.0 + difference)
    third = b / (3.0 * a)
    v = third**3 - b * c / (6.0 * a**2) + d / (2.0 * a)
    u = np.copysign(np.sqrt(np.maximum(third**2 - c / (3.0 * a), 0.0)), v)
    cube = np.where(u == 0.0, 1.0, u**3)
    angle = (np.pi + np.arccos(np.clip(v / cube, -1.0, 1.0))) / 3.0
    least, most = np.maximum(0.0, difference), np.minimum(1.0, 1.0 + difference)
    likeliest: Floats = np.clip(2.0 * u * np.cos(angle) - third, least, most)
    other: Floats = np.clip(likeliest - difference, 0.0, 1.0)
    return likeliest, other
