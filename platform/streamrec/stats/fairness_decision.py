"""The three-state decision over all differences between groups together.

K differences d_1 ... d_K (every required metric of every group, against its reference), each with a tolerance
t_k. Let a = 1 - confidence.

*Passed* claims that every abs(d_k) < t_k. That is an intersection-union test (Berger 1982, theorem 1): the
claim is false as soon as one difference is out, and then it is made only if the test of that one errs. So
each may be tested at the full level a, however many there are: if abs(d_j) >= t_j,

    P(passed) <= P(the interval of d_j lies inside) <= a.

Each test is two one-sided ones (Schuirmann 1987), and a difference is out on one side only: the interval at
level 1 - 2a. Splitting a among K would buy nothing but inconclusive verdicts.

*Failed* claims that some abs(d_k) > t_k. That is a union of claims, and any of them may err: the level is
divided (Bonferroni), an interval at level 1 - 2a/K, and where no difference is out,

    P(failed) <= sum over k of P(the interval of d_k lies outside) <= K a / K = a,

whatever the dependence between groups and metrics, which share a reference and rows. (A difference of at most
t_k is in danger of crossing one of its two bounds only, so a/K is spent on one side.)

The two claims exclude each other, so neither pays for the other. Nine tenths of a are spent on passing
(`_SPENT`). The interval at the first level lies within that at the second. What is shown is the interval that
decided: a passed one is seen inside the tolerance, a failed one outside, an inconclusive one (at the second
level) across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from streamrec.stats.fairness_intervals import difference_bounds, likeliest_rates, score_statistic

Floats = NDArray[np.float64]

PASSED: Final = 1
INCONCLUSIVE: Final = 0
FAILED: Final = -1

POWER: Final = 0.95
"""Chance that `rates_needed` and `means_needed` promise."""

_AIMED_POWER: Final = 0.96
"""What the formulas are asked for: they are off by up to half a percent where rates are small."""

HARM: Final = 1.5
"""A difference of so many times the tolerance is to be found."""

_SPENT: Final = 0.9
"""Of the error that passing may make: in groups of a hundred, score tests err up to a tenth too often."""

_NARROWEST: Final = 1e-9
_DIGITS: Final = 12
_FLAT: Final = 1e-6
_MOST: Final = 10**15


@dataclass(frozen=True, slots=True)
class Decisions:
    """Of n differences.

    Attributes:
        states: Shape (n,): `PASSED`, `FAILED` or `INCONCLUSIVE`.
        low, high: Shape (n,): bounds of the interval that decided.
        levels: Shape (n,): its confidence.
    """

    states: NDArray[np.int64]
    low: Floats
    high: Floats
    levels: Floats


def levels_of(confidence: float, family: int) -> tuple[float, float]:
    """Confidence of the two-sided intervals that pass and that fail; see this module."""
    error = 1.0 - confidence
    inner = max(round(1.0 - 2.0 * _SPENT * error, _DIGITS), _NARROWEST)
    return inner, max(inner, round(1.0 - 2.0 * error / max(family, 1), _DIGITS))


def decide_rates(
    rate: ArrayLike,
    trials: ArrayLike,
    reference_rate: ArrayLike,
    reference_trials: ArrayLike,
    tolerance: ArrayLike,
    *,
    confidence: float,
    family: int,
) -> Decisions:
    """Decide differences of rates.

    Args:
        rate, reference_rate: Shape (n,), 0 to 1.
        trials, reference_trials: Shape (n,), above 0.
        tolerance: Shape (n,), above 0.
        confidence: Of the whole decision.
        family: Differences that are decided together, these among them.
    """
    states = rate_states(
        rate, trials, reference_rate, reference_trials, tolerance, confidence=confidence, family=family
    )
    inner, outer = levels_of(confidence, family)
    levels = np.where(states == PASSED, inner, outer)
    low, high = difference_bounds(rate, trials, reference_rate, reference_trials, levels)
    return Decisions(states, low, high, levels)


def rate_states(
    rate: ArrayLike,
    trials: ArrayLike,
    reference_rate: ArrayLike,
    reference_trials: ArrayLike,
    tolerance: ArrayLike,
    *,
    confidence: float,
    family: int,
) -> NDArray[np.int64]:
    """What `decide_rates` decides, by the tests that its intervals invert: where only that is asked for."""
    own, own_trials, reference, others, limit = np.broadcast_arrays(
        *(
            np.asarray(values, dtype=np.float64)
            for values in (rate, trials, reference_rate, reference_trials, tolerance)
        )
    )
    below = score_statistic(own, own_trials, reference, others, limit)
    above = score_statistic(own, own_trials, reference, others, -limit)
    inner, outer = (float(ndtri(0.5 + 0.5 * level)) for level in levels_of(confidence, family))
    passed = (below < -inner) & (above > inner)
    failed = (below > outer) | (above < -outer)
    return np.where(passed, PASSED, np.where(failed, FAILED, INCONCLUSIVE))


def decide_means(
    difference: ArrayLike,
    standard_error: ArrayLike,
    degrees: ArrayLike,
    tolerance: ArrayLike,
    *,
    confidence: float,
    family: int,
    skewness: ArrayLike = 0.0,
) -> Decisions:
    """Decide differences of means by Student's t, transformed to take out skewness (Hall 1992, eq. 2.2).

    A small group with rare, large values has a mean and a deviation that are too small together: without the
    transformation it looks sure of itself when it should not.

    Args:
        difference, standard_error: Shape (n,), finite.
        degrees: Shape (n,): degrees of freedom (`welch_degrees`), 1 or more.
        tolerance, confidence, family: As of `decide_rates`.
        skewness: Shape (n,): third cumulant of the difference, over six times its standard error cubed.
    """
    value, error, freedom = (
        np.asarray(part, dtype=np.float64) for part in (difference, standard_error, degrees)
    )
    skew, limit = np.asarray(skewness, dtype=np.float64), np.asarray(tolerance, dtype=np.float64)
    levels = levels_of(confidence, family)
    inner, outer = (
        tuple(
            value - _untransformed(sign * stdtrit(freedom, 0.5 + 0.5 * level), skew) * error
            for sign in (1.0, -1.0)
        )
        for level in levels
    )
    passed = (inner[0] > -limit) & (inner[1] < limit)
    failed = (outer[0] > limit) | (outer[1] < -limit)
    return Decisions(
        np.where(passed, PASSED, np.where(failed, FAILED, INCONCLUSIVE)),
        np.minimum(np.where(passed, inner[0], outer[0]), value),
        np.maximum(np.where(passed, inner[1], outer[1]), value),
        np.where(passed, *levels),
    )


def _untransformed(quantile: Floats, skewness: Floats) -> Floats:
    """The t that Hall's monotone cubic takes to ``quantile``: its ``t + s + 2 s t^2 + 4/3 s^2 t^3``."""
    flat = np.abs(skewness) < _FLAT
    safe = np.where(flat, 1.0, skewness)
    bent: Floats = (np.cbrt(1.0 + 6.0 * safe * (quantile - safe)) - 1.0) / (2.0 * safe)
    return np.where(flat, quantile, bent)


def welch_degrees(
    deviation: ArrayLike, units: ArrayLike, reference_deviation: ArrayLike, reference_units: ArrayLike
) -> Floats:
    """Degrees of freedom of a difference of two means (Welch 1947; Satterthwaite 1946)."""
    own = np.asarray(deviation, dtype=np.float64) ** 2 / np.asarray(units, dtype=np.float64)
    other = np.asarray(reference_deviation, dtype=np.float64) ** 2 / np.asarray(
        reference_units, dtype=np.float64
    )
    below = own**2 / np.maximum(np.asarray(units) - 1.0, 1.0)
    below = below + other**2 / np.maximum(np.asarray(reference_units) - 1.0, 1.0)
    degrees: Floats = np.where(below > 0.0, (own + other) ** 2 / np.where(below > 0.0, below, 1.0), 1.0)
    return np.maximum(degrees, 1.0)


def rates_needed(
    reference_rate: ArrayLike, tolerance: ArrayLike, *, confidence: float, family: int
) -> Floats:
    """Trials that each of two groups needs (Farrington and Manning 1990, eq. 4, with equal groups).

    With so many, a difference of `HARM` times the tolerance fails, and where there is no difference between
    any of the ``family`` pairs all of them pass, each with probability `POWER`.

    Args:
        reference_rate: Shape (n,): what the reference has; the other group's rate is as far from it as said.
        tolerance: Shape (n,), above 0.
        confidence, family: As of `decide_rates`.

    Returns:
        Shape (n,), not rounded.
    """
    rate, tolerated = np.broadcast_arrays(
        np.asarray(reference_rate, dtype=np.float64), np.asarray(tolerance, dtype=np.float64)
    )
    found, shown = _quantiles(confidence, family)
    needed = np.zeros(rate.shape)
    for sign in (1.0, -1.0):
        limit = sign * tolerated
        unfair = rate + HARM * limit
        possible = (unfair >= 0.0) & (unfair <= 1.0)
        fails = _trials(np.clip(unfair, 0.0, 1.0), rate, limit, (HARM - 1.0) * tolerated, *found)
        within = (rate + limit >= 0.0) & (rate + limit <= 1.0)
        passes = _trials(rate, rate, limit, tolerated, *shown)
        needed = np.maximum(needed, np.where(possible, fails, 0.0))
        needed = np.maximum(needed, np.where(within, passes, 0.0))
    return np.maximum(needed, 2.0)


def means_needed(
    deviation: ArrayLike,
    reference_deviation: ArrayLike,
    tolerance: ArrayLike,
    *,
    confidence: float,
    family: int,
) -> Floats:
    """Units that each of two groups needs for what `rates_needed` promises.

    Args:
        deviation, reference_deviation: Shape (n,): standard deviation over units.
        tolerance, confidence, family: As of `rates_needed`.
    """
    spread = np.hypot(deviation, reference_deviation)
    limit = np.asarray(tolerance, dtype=np.float64)
    found, shown = (sum(pair) for pair in _quantiles(confidence, family))
    needed = (spread / limit * max(found / (HARM - 1.0), shown)) ** 2
    return np.minimum(np.maximum(needed, 2.0), _MOST)


def _quantiles(confidence: float, family: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of the test that fails and of the one that passes: the quantile of its level, and of its power."""
    missed, count = 1.0 - _AIMED_POWER, max(family, 1)
    inner, outer = (float(ndtri(0.5 + 0.5 * level)) for level in levels_of(confidence, family))
    found = (outer, -float(ndtri(missed)))
    # All of the family must pass, each between two bounds.
    shown = (inner, -float(ndtri(missed / (2.0 * count))))
    return found, shown


def _trials(
    rate: Floats, reference: Floats, limit: Floats, distance: Floats, level: float, power: float
) -> Floats:
    ones = np.ones(rate.shape)
    assumed, other = likeliest_rates(rate, ones, reference, ones, limit)
    under_limit = np.sqrt(assumed * (1.0 - assumed) + other * (1.0 - other))
    in_truth = np.sqrt(rate * (1.0 - rate) + reference * (1.0 - reference))
    trials: Floats = ((level * under_limit + power * in_truth) / distance) ** 2
    return trials
