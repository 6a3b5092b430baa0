from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.intervals import IntervalMethod
from streamrec.stats.clustered_ratios import (
    RatioMoments,
    effective_cases,
    ratio_interval,
    share_interval,
    wilson_bounds,
)
from tests.unit.stats.clusters import coverage, mixed_shares, uneven_ratios

PAIRS = st.lists(
    st.tuples(st.integers(0, 50).map(float), st.integers(1, 50).map(float)), min_size=0, max_size=12
)


def moments(pairs) -> RatioMoments:
    x, y = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return RatioMoments.of(x, y)


@settings(max_examples=30)
@given(PAIRS, PAIRS, PAIRS)
def test_statistics_of_disjoint_units_add_up_in_any_order(first, second, third):
    whole = moments([*first, *second, *third])
    assert moments(first) + moments(second) + moments(third) == whole
    assert moments(third) + (moments(second) + moments(first)) == whole
    assert whole + RatioMoments() == whole


def test_a_mean_has_the_interval_of_the_textbook():
    x = np.array([1.0, 2.0, 4.0, 9.0])
    interval = ratio_interval(RatioMoments.of(x, np.ones(4)))
    assert interval.method is IntervalMethod.DELTA_METHOD
    assert (interval.value, interval.n) == (4.0, 4)
    # s = 3.559, t(3, 0.975) = 3.1824: Student's interval of a mean.
    assert interval.high - interval.value == pytest.approx(3.182446 * x.std(ddof=1) / 2.0, rel=1e-6)


def test_the_variance_of_a_ratio_is_that_of_its_linear_terms():
    rng = np.random.default_rng(1)
    x, y = rng.poisson(3.0, 50).astype(float), rng.poisson(5.0, 50) + 1.0
    errors = (x - x.sum() / y.sum() * y) / y.mean()
    plain = errors.var(ddof=1) / 50
    assert RatioMoments.of(x, y).variance == pytest.approx(plain, rel=1e-12)


def test_cases_of_one_unit_are_not_independent():
    once = RatioMoments.of(np.array([0.0, 1.0] * 50), np.ones(100))
    ten_times = RatioMoments.of(10.0 * np.array([0.0, 1.0] * 50), 10.0 * np.ones(100))
    assert share_interval(ten_times).low == pytest.approx(share_interval(once).low)
    assert effective_cases(ten_times) == pytest.approx(99.0)


def test_what_never_happened_has_a_bound_and_no_false_certainty():
    never = RatioMoments.of(np.zeros(100), np.full(100, 7.0))
    interval = share_interval(never)
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert 0.03 < interval.high < 0.045  # Wilson of 0 out of 100 units, not of 700 cases
    assert ratio_interval(never) is None


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(0.0, 0.0), (0.0, 0.0)]])
def test_no_estimate_is_no_number(pairs):
    assert ratio_interval(moments(pairs)) is None
    assert share_interval(moments(pairs)) is None


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        RatioMoments.of(np.array([np.nan]), np.ones(1))
    with pytest.raises(ValueError, match="pair"):
        RatioMoments.of(np.ones(2), np.ones(1))


def test_wilson_bounds_are_those_of_the_score_test():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263.
    low, high = wilson_bounds(81 / 263, 263, 1.959964)
    assert (low, high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(20261128)
    # 300 runs: a true 95 % gives less than 91.6 % once in two hundred times; this seed is fixed.
    assert coverage(lambda: uneven_ratios(rng, units=150), ratio_interval, runs=300) >= 0.916
    assert coverage(lambda: mixed_shares(rng, units=150), share_interval, runs=300) >= 0.916
