from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.ratios import bootstrap_ratio


def test_the_estimate_is_the_ratio_of_the_sums_and_the_interval_is_paired():
    rng = np.random.default_rng(1)
    base = rng.exponential(size=2_000)
    # Twice the base exactly: whatever is drawn, the ratio is 2, so a paired interval has no width.
    exact = bootstrap_ratio(2.0 * base, base, rng=np.random.default_rng(2))
    assert (exact.value, exact.low, exact.high) == pytest.approx((2.0, 2.0, 2.0))
    noisy = bootstrap_ratio(2.0 * base + rng.normal(size=2_000), base, rng=np.random.default_rng(2))
    assert noisy.low < 2.0 < noisy.high
    assert noisy.high - noisy.low < 0.3


def test_the_interval_of_a_mean_over_clustered_cases_is_as_wide_as_the_clusters_make_it():
    rng = np.random.default_rng(3)
    # 200 users with ten cases each that are all equal: no more is known than from 200 values.
    users = rng.normal(size=200)
    found = bootstrap_ratio(10.0 * users, np.full(200, 10.0), rng=np.random.default_rng(4))
    assert found.value == pytest.approx(users.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * users.std() / np.sqrt(200), rel=0.15)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(5)
    inside = 0
    for draw in range(300):
        bottom = rng.exponential(size=150)
        top = 0.8 * bottom + rng.normal(scale=0.5, size=150)
        found = bootstrap_ratio(top, bottom, rng=np.random.default_rng(draw), resamples=300)
        inside += found.low <= 0.8 <= found.high
    assert 0.90 <= inside / 300 <= 0.985


def test_what_cannot_be_estimated_is_none():
    zeros = np.zeros(5)
    assert bootstrap_ratio(np.ones(5), zeros, rng=np.random.default_rng(0)) is None
    # One unit alone has a denominator: most resamples miss it.
    alone = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    assert bootstrap_ratio(np.ones(5), alone, rng=np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("top", "bottom"),
    [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([1.0], [np.inf]), ([1.0], [-1.0])],
)
def test_values_that_are_no_pairs_are_refused(top, bottom):
    with pytest.raises(ValueError, match=r"shapes|finite"):
        bootstrap_ratio(np.array(top), np.array(bottom), rng=np.random.default_rng(0))
