"""Made units whose true figures are known, and how often an interval holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.quantile_counts import QuantileCounts, TailErrors, bucket_keys, quantile_interval


def uneven_ratios(rng: np.random.Generator, units: int) -> tuple[RatioMoments, float]:
    """Plays (x) and slates (y): the number of slates and the taste of a unit differ and are related."""
    taste = rng.gamma(4.0, 0.25, units)
    y = 1.0 + rng.poisson(6.0 * taste)
    x = rng.poisson(0.3 * taste * y).astype(np.float64)
    # E[x] / E[y] with taste of mean 1 and variance 1/4: 0.3 E[t + 6 t^2] / E[1 + 6 t].
    return RatioMoments.of(x, y.astype(np.float64)), 0.3 * (1.0 + 6.0 * 1.25) / 7.0


def mixed_shares(rng: np.random.Generator, units: int) -> tuple[RatioMoments, float]:
    """Clicked slates (x) of all (y): each unit has a probability of its own, Beta(1, 9)."""
    y = 1 + rng.poisson(5.0, units)
    x = rng.binomial(y, rng.beta(1.0, 9.0, units)).astype(np.float64)
    return RatioMoments.of(x, y.astype(np.float64)), 0.1


def slow_units(rng: np.random.Generator, units: int) -> NDArray[np.float64]:
    """Latencies, shape (units, 8): log-normal, where some units are slow in all of their requests."""
    slow = rng.normal(0.0, 0.4, (units, 1))
    return np.exp(3.0 + slow + rng.normal(0.0, 0.3, (units, 8)))


def quantile_of(values: NDArray[np.float64], quantile: float, level: float = 0.95) -> Any:
    """The interval of a quantile of values of shape (units, cases)."""
    keys = bucket_keys(values.ravel()).reshape(values.shape)
    counts = QuantileCounts.of(keys.ravel(), np.ones(keys.size, dtype=np.int64))
    key = counts.key_at(quantile)
    below = (keys <= key).sum(axis=1).astype(np.float64)
    cases = np.full(len(values), float(values.shape[1]))
    return quantile_interval(
        counts, TailErrors.of(counts.share_up_to(key), below, cases), quantile, level=level
    )


def coverage(draw: Callable[[], tuple[Any, float]], interval_of: Callable[[Any], Any], *, runs: int) -> float:
    """Share of intervals that hold the truth; at least nine of ten runs must give one."""
    held = given = 0
    for _ in range(runs):
        drawn, truth = draw()
        interval = interval_of(drawn)
        if interval is not None:
            given += 1
            held += interval.low <= truth <= interval.high
    assert given >= 0.9 * runs
    return held / given


def clicking_users(rng, units, rate, mean_requests=3.0):
    requests = rng.poisson(mean_requests - 1.0, units) + 1.0
    clicks = rng.binomial(requests.astype(int), rng.beta(40.0 * rate, 40.0 * (1.0 - rate), units))
    return RatioMoments.of(clicks.astype(float), requests)
