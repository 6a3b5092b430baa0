"""Ratios of sums over the same units, with paired intervals."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.intervals import Interval
from streamrec.stats.intervals import percentile_interval

_CHUNK_VALUES: Final = 4_000_000
"""Resampled values held in memory at once (32 MB)."""


def bootstrap_ratio(
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Interval | None:
    """``sum(numerators) / sum(denominators)`` with a paired percentile bootstrap interval.

    Units are resampled with both of their values together (Efron and Tibshirani 1993, sec. 10.3), so what the
    two have in common cancels. With the number of a unit's cases as denominators it is a mean over cases that
    respects that the cases of one unit are not independent (a cluster bootstrap).

    Args:
        numerators: Shape (n,), one value per independent unit.
        denominators: Shape (n,), not negative.
        rng: Source of the resamples.
        confidence: Coverage asked for.
        resamples: Number of bootstrap resamples.

    Returns:
        None where the ratio cannot be estimated: the denominator is zero, as a whole or in a resample.

    Raises:
        ValueError: No units, shapes that differ, a value that is not finite, or a negative denominator.
    """
    if numerators.ndim != 1 or numerators.shape != denominators.shape or numerators.size == 0:
        raise ValueError(f"shapes {numerators.shape} and {denominators.shape}: one pair per unit is needed")
    if not (np.isfinite(numerators).all() and np.isfinite(denominators).all() and denominators.min() >= 0):
        raise ValueError("values must be finite and denominators not negative")
    tops, bottoms = np.empty((2, resamples))
    chunk = max(1, _CHUNK_VALUES // numerators.size)
    for start in range(0, resamples, chunk):
        stop = min(start + chunk, resamples)
        drawn = rng.integers(numerators.size, size=(stop - start, numerators.size))
        tops[start:stop] = numerators[drawn].sum(axis=1)
        bottoms[start:stop] = denominators[drawn].sum(axis=1)
    total = float(denominators.sum())
    if total == 0.0 or not bottoms.all():
        return None
    value = float(numerators.sum()) / total
    return percentile_interval(value, tops / bottoms, confidence=confidence, units=numerators.size)
