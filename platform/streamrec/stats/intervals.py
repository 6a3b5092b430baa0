"""Estimates with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CHUNK_VALUES: Final = 4_000_000
"""Resampled values held in memory at once (32 MB)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its confidence bounds."""

    value: float
    low: float
    high: float
    count: int


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
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(values.mean()), float(low), float(high), int(values.size))
