from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from streamrec.contracts.intervals import IntervalMethod
from streamrec.stats.intervals import (
    basic_interval,
    bootstrap_mean,
    exact_share_interval,
    normal_interval,
    percentile_interval,
    shifted,
    within,
)


def test_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=4000)
    interval = bootstrap_mean(values, rng=np.random.default_rng(2), resamples=2000)
    half_width = 1.96 * values.std() / np.sqrt(values.size)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.01)
    assert interval.n == 4000


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


def test_every_interval_says_how_it_was_found():
    rng = np.random.default_rng(3)
    values = rng.exponential(size=50)
    mean = bootstrap_mean(values, rng=rng, confidence=0.9)
    assert (mean.level, mean.method, mean.n) == (0.9, IntervalMethod.PERCENTILE_BOOTSTRAP, 50)
    resampled = rng.normal(2.1, 0.1, size=500)
    basic = basic_interval(2.0, resampled, confidence=0.95, units=30)
    assert (basic.level, basic.method, basic.n) == (0.95, IntervalMethod.BASIC_BOOTSTRAP, 30)
    assert basic.high == pytest.approx(4.0 - np.quantile(resampled, 0.025))
    assert normal_interval(1.0, values - values.mean()).method is IntervalMethod.NORMAL_APPROXIMATION


def test_an_estimate_beyond_its_resamples_ends_its_interval():
    above = np.linspace(0.2, 0.3, 100)  # every resample is more unequal than the estimate
    assert basic_interval(0.1, above, confidence=0.95, units=9).high == 0.1
    assert percentile_interval(0.1, above, confidence=0.95, units=9).low == 0.1


def test_a_gain_and_a_loss_keep_level_method_and_units():
    ratio = percentile_interval(1.2, np.linspace(1.0, 1.3, 101), confidence=0.8, units=7)
    gain, loss = shifted(ratio, -1.0), shifted(ratio, 1.0, sign=-1.0)
    assert gain is not None
    assert loss is not None
    assert (gain.value, gain.level, gain.method, gain.n) == (pytest.approx(0.2), 0.8, ratio.method, 7)
    assert (loss.low, loss.high) == (pytest.approx(-gain.high), pytest.approx(-gain.low))
    assert shifted(None, 1.0) is None


def test_bounds_stay_within_what_a_share_can_be():
    wide = normal_interval(0.05, np.array([-1.0, 1.0, -1.0, 1.0]))
    assert wide.low < 0.0
    assert (within(wide, 0.0, 1.0).low, within(wide, 0.0, 1.0).high) == (0.0, 1.0)


def test_an_exact_interval_of_a_share_is_that_of_the_binomial_tails():
    interval = exact_share_interval(3, 50, confidence=0.98)
    assert binom.sf(2, 50, interval.low) == pytest.approx(0.01)
    assert binom.cdf(3, 50, interval.high) == pytest.approx(0.01)
    assert exact_share_interval(0, 50, confidence=0.98).low == 0.0
    assert exact_share_interval(50, 50, confidence=0.98).high == 1.0
    with pytest.raises(ValueError, match="no share"):
        exact_share_interval(1, 0, confidence=0.98)
