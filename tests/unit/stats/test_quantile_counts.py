from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.intervals import IntervalMethod
from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.quantile_counts import (
    LARGEST,
    RELATIVE_ACCURACY,
    QuantileCounts,
    bucket_keys,
    edges_of,
    quantile_interval,
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


def test_one_unit_says_nothing_about_others():
    counts = counts_of([1.0, 2.0])
    assert quantile_interval(counts, RatioMoments.of(np.ones(1), np.full(1, 2.0)), 0.5) is None


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_intervals_cover_the_true_quantile_of_clustered_values(quantile):
    rng = np.random.default_rng(7)
    truth = float(np.exp(3.0 + 0.5 * NormalDist().inv_cdf(quantile)))  # 0.4^2 + 0.3^2 = 0.5^2
    drawn = coverage(lambda: (slow_units(rng, 150), truth), lambda v: quantile_of(v, quantile), runs=200)
    assert drawn >= 0.91


def test_as_if_values_were_independent_they_would_not():
    rng = np.random.default_rng(7)
    truth = float(np.exp(3.0))
    apart = coverage(
        lambda: (slow_units(rng, 150), truth), lambda v: quantile_of(v.reshape(-1, 1), 0.5), runs=200
    )
    assert apart < 0.85
