from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.intervals import bootstrap_mean


def test_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=4000)
    interval = bootstrap_mean(values, rng=np.random.default_rng(2), resamples=2000)
    half_width = 1.96 * values.std() / np.sqrt(values.size)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.01)
    assert interval.count == 4000


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        interval = bootstrap_mean(rng.exponential(1.0, size=200), rng=rng, resamples=400)
        covered += interval.low <= 1.0 <= interval.high
    # 95 % nominal; 400 repetitions have a standard error of about 1.1 points.
    assert 0.90 <= covered / 400 <= 0.98


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(4).random(500)
    first = bootstrap_mean(values, rng=np.random.default_rng(5))
    assert first == bootstrap_mean(values, rng=np.random.default_rng(5))


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_refuses_what_is_not_an_estimate(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        bootstrap_mean(np.array(values), rng=np.random.default_rng(6))
