"""Estimates with intervals."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from streamrec.contracts.intervals import Interval, IntervalMethod

_CHUNK_VALUES: Final = 4_000_000
"""Resampled values held in memory at once (32 MB)."""


def bootstrap_mean(
    values: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Mean of ``values`` with a percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Args:
        values: Shape (n,), one value per independent unit (a user, not an impression).
        rng: Source of the resamples.
        confidence: Coverage asked for.
        resamples: Number of bootstrap resamples.

    Raises:
        ValueError: ``values`` is empty, or holds a value that is not finite.
    """
    if values.size == 0:
        raise ValueError("no values: a mean of nothing is not an estimate")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    means = np.empty(resamples)
    chunk = max(1, _CHUNK_VALUES // values.size)
    for start in range(0, resamples, chunk):
        stop = min(start + chunk, resamples)
        drawn = rng.integers(values.size, size=(stop - start, values.size))
        means[start:stop] = values[drawn].mean(axis=1)
    return percentile_interval(float(values.mean()), means, confidence=confidence, units=values.size)


def percentile_interval(
    value: float, resampled: NDArray[np.float64], *, confidence: float, units: int
) -> Interval:
    """Interval between percentiles of the resampled estimates (Efron and Tibshirani 1993, ch. 13).

    Args:
        value: The estimate itself.
        resampled: Shape (resamples,): the same estimate of each resample.
        confidence: Coverage asked for.
        units: Independent units that were resampled.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return _around(value, float(low), float(high), confidence, IntervalMethod.PERCENTILE_BOOTSTRAP, units)


def basic_interval(
    value: float, resampled: NDArray[np.float64], *, confidence: float, units: int
) -> Interval:
    """Interval that reflects the resampled estimates at the estimate (Davison and Hinkley 1997, eq. 5.6).

    For estimates that resampling biases: the bias is taken out, where percentiles would count it twice.
    Arguments as of `percentile_interval`.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = 2.0 * value - np.quantile(resampled, [1.0 - tail, tail])
    return _around(value, float(low), float(high), confidence, IntervalMethod.BASIC_BOOTSTRAP, units)


def exact_share_interval(hits: int, cases: int, *, confidence: float) -> Interval:
    """Share of independent cases with an interval that covers at least as often as it says, however few hits.

    Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial"; each bound is a one-sided one at ``(1 + confidence) / 2``.

    Args:
        hits: From 0 to ``cases``.
        cases: At least 1.
        confidence: Coverage asked for.
    """
    if not 0 <= hits <= cases or cases < 1:
        raise ValueError(f"{hits} of {cases} is no share")
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(hits, cases - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, cases - hits, 1.0 - tail)) if hits < cases else 1.0
    return Interval(hits / cases, low, high, confidence, IntervalMethod.CLOPPER_PEARSON, cases)


def normal_interval(value: float, errors: NDArray[np.float64], *, confidence: float = 0.95) -> Interval:
    """Interval of a mean over units by the normal approximation.

    Args:
        value: The estimate.
        errors: Shape (n,), at least one: what each unit adds to the estimate's error, with mean zero. Of a
            plain mean, the unit's value less the mean; of a ratio, its term in the delta method.
        confidence: Coverage asked for.
    """
    quantile = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    half = quantile * float(np.sqrt((errors**2).mean() / errors.size))
    return Interval(
        value, value - half, value + half, confidence, IntervalMethod.NORMAL_APPROXIMATION, int(errors.size)
    )


def shifted(interval: Interval | None, by: float, sign: float = 1.0) -> Interval | None:
    """``sign * interval + by``: a gain or a loss from a ratio. The bounds change places under a minus."""
    if interval is None:
        return None
    low, high = sorted((sign * interval.low + by, sign * interval.high + by))
    return replace(interval, value=sign * interval.value + by, low=low, high=high)


def within(interval: Interval, least: float, most: float) -> Interval:
    """The interval with bounds that do not leave what the figure can be, such as 0 to 1 for a share."""
    low, high = (min(max(bound, least), most) for bound in (interval.low, interval.high))
    return replace(interval, low=low, high=high)


def _around(
    value: float, low: float, high: float, confidence: float, method: IntervalMethod, units: int
) -> Interval:
    """With few or very skewed values a bound can pass the estimate: the interval then ends at it."""
    return Interval(value, min(low, value), max(high, value), confidence, method, int(units))
