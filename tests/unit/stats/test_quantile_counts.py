from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.intervals import IntervalMethod
from streamrec.stats.quantile_counts import (
    LARGEST,
    RELATIVE_ACCURACY,
    QuantileCounts,
    TailErrors,
    bucket_keys,
    edges_of,
    value_of,
)
from tests.unit.stats.clusters import coverage, quantile_of, slow_units

VALUES = st.lists(
    st.one_of(st.floats(1e-6, 1e12), st.floats(-1e12, -1e-6), st.just(0.0)), min_size=1, max_size=30
)


def counts_of(values) -> QuantileCounts:
    keys = bucket_keys(np.array(values, dtype=np.float64))
    return QuantileCounts.of(keys, np.ones(keys.size, dtype=np.int64))


@settings(max_examples=30)
@given(VALUES, st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99]))
def test_a_quantile_is_as_near_the_true_one_as_is_said(values, quantile):
    true = np.sort(values)[max(0, int(np.ceil(quantile * len(values) - 1e-9)) - 1)]
    assert value_of(counts_of(values).key_at(quantile)) == pytest.approx(true, rel=RELATIVE_ACCURACY * 1.001)


@settings(max_examples=30)
@given(VALUES)
def test_keys_rise_with_values_and_edges_hold_them(values):
    ordered = np.sort(np.array(values))
    keys = bucket_keys(ordered)
    assert (np.diff(keys) >= 0).all()
    for value, key in zip(ordered.tolist(), keys.tolist(), strict=True):
        low, high = edges_of(key)
        slack = 1e-9 * abs(value)
        assert low - slack <= value <= high + slack
        assert low <= value_of(key) <= high


@settings(max_examples=30)
@given(VALUES, VALUES)
def test_counts_add_up_in_any_order(first, second):
    together = counts_of([*first, *second])
    for added in (counts_of(first) + counts_of(second), counts_of(second) + counts_of(first)):
        assert added.keys.tolist() == together.keys.tolist()
        assert added.counts.tolist() == together.counts.tolist()


def test_rounding_of_the_rank_does_not_move_the_quantile():
    values = np.arange(1.0, 101.0)
    assert 0.07 * 100 > 7.0
    assert value_of(counts_of(values).key_at(0.07)) == pytest.approx(7.0, rel=RELATIVE_ACCURACY)
    assert value_of(counts_of(values).key_at(0.071)) == pytest.approx(8.0, rel=RELATIVE_ACCURACY)


def test_however_large_a_number_is_it_has_a_bucket():
    assert bucket_keys(np.array([1e300]))[0] == bucket_keys(np.array([LARGEST]))[0]
    assert bucket_keys(np.array([1e-300, 0.0])).tolist() == [0, 0]


def test_a_hundred_equal_units_have_the_order_statistics_of_independent_values():
    values = np.arange(1.0, 101.0).reshape(100, 1)
    interval = quantile_of(values, 0.5)
    assert interval.method is IntervalMethod.WOODRUFF
    assert interval.value == pytest.approx(50.0, rel=0.005)
    # Order statistics 40 and 61 of 100 hold the median with 95 % (binomial).
    assert interval.low == pytest.approx(40.5, abs=1.5)
    assert interval.high == pytest.approx(60.5, abs=1.5)


def test_where_few_units_have_a_value_beyond_nobody_says_how_high_it_may_be():
    values = np.arange(1.0, 101.0).reshape(100, 1)
    assert quantile_of(values, 0.8).n == 100
    assert quantile_of(values, 0.85) is None
    assert quantile_of(values, 0.15) is None
    assert quantile_of(np.ones((1, 50)), 0.5) is None
    assert quantile_of(np.ones((100, 5)), 0.5) is None  # one value alone: nothing is above it


def test_errors_of_disjoint_units_about_one_share_add_up():
    rng = np.random.default_rng(4)
    y = rng.integers(1, 9, 60).astype(float)
    x = rng.binomial(y.astype(int), 0.9).astype(float)
    whole = TailErrors.of(0.9, x, y)
    added = TailErrors.of(0.9, x[:25], y[:25]) + TailErrors.of(0.9, x[25:], y[25:])
    assert (added.units, added.cases, added.units_above) == (whole.units, whole.cases, whole.units_above)
    assert (added.squares, added.fourths) == pytest.approx((whole.squares, whole.fourths))
    assert added.effective_cases == pytest.approx(whole.effective_cases)
    with pytest.raises(ValueError, match="do not add"):
        whole + TailErrors.of(0.8, x, y)


def test_a_variance_that_few_units_make_has_few_degrees_of_freedom():
    y = np.full(200, 10.0)
    alike = TailErrors.of(0.5, 5.0 + np.random.default_rng(5).normal(0.0, 1.0, 200), y)
    assert 150.0 < alike.degrees_of_freedom <= 199.0
    x = y.copy()
    x[:4] = 0.0
    few = TailErrors.of(float(x.sum() / y.sum()), x, y)
    assert few.degrees_of_freedom < 12.0


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_intervals_cover_the_true_quantile_of_clustered_values(quantile):
    rng = np.random.default_rng(7)
    truth = float(np.exp(3.0 + 0.5 * NormalDist().inv_cdf(quantile)))  # 0.4^2 + 0.3^2 = 0.5^2
    drawn = coverage(lambda: (slow_units(rng, 200), truth), lambda v: quantile_of(v, quantile), runs=200)
    assert drawn >= 0.91


def test_as_if_values_were_independent_they_would_not():
    rng = np.random.default_rng(7)
    truth = float(np.exp(3.0))
    apart = coverage(
        lambda: (slow_units(rng, 150), truth), lambda v: quantile_of(v.reshape(-1, 1), 0.5), runs=200
    )
    assert apart < 0.85
