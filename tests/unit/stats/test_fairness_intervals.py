"""Intervals of rates and of their differences, against exact probabilities and another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, binomtest

from streamrec.stats.fairness_intervals import difference_bounds, score_statistic, wilson_bounds


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (3, 40), (40, 40), (500, 1_000)])
def test_a_rate_has_the_interval_of_wilson(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(0.9, method="wilson")
    low, high = wilson_bounds(hits, trials, 0.9)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def chance_to_miss(own, reference, rate, reference_rate, level):
    """Exact probabilities that the true difference lies below and above the score interval."""
    hits, reference_hits = np.meshgrid(np.arange(own + 1.0), np.arange(reference + 1.0), indexing="ij")
    weights = np.outer(
        binom.pmf(np.arange(own + 1), own, rate),
        binom.pmf(np.arange(reference + 1), reference, reference_rate),
    )
    difference = np.full(hits.shape, rate - reference_rate)
    statistic = score_statistic(
        hits / own,
        np.full_like(hits, own),
        reference_hits / reference,
        np.full_like(hits, reference),
        difference,
    )
    quantile = ndtri(0.5 + 0.5 * level)
    return weights[statistic > quantile].sum(), weights[statistic < -quantile].sum()

    return ndtri(0.5 + 0.5 * level)


@pytest.mark.parametrize(
    ("own", "reference", "rate", "reference_rate"),
    [(50, 400, 0.07, 0.02), (50, 400, 0.15, 0.05), (50, 400, 0.05, 0.1), (100, 100, 0.4, 0.3)],
)
@pytest.mark.parametrize("error", [0.05, 0.005])
def test_each_bound_misses_as_often_as_it_says_also_where_groups_differ_in_size(
    own, reference, rate, reference_rate, error
):
    below, above = chance_to_miss(own, reference, rate, reference_rate, 1.0 - 2.0 * error)
    # Without the correction for skewness the first of these misses 2.3 times as often as it says.
    assert below <= 1.15 * error
    assert above <= 1.15 * error


def test_bounds_are_where_the_score_test_begins_to_refuse():
    rng = np.random.default_rng(3)
    trials, reference_trials = rng.integers(20, 3_000, size=(2, 300)).astype(float)
    rate = rng.binomial(trials.astype(int), rng.uniform(0.01, 0.6, 300)) / trials
    reference = rng.binomial(reference_trials.astype(int), rng.uniform(0.01, 0.6, 300)) / reference_trials
    low, high = difference_bounds(rate, trials, reference, reference_trials, 0.95)
    for bound, sign in ((low, 1.0), (high, -1.0)):
        inside = (np.abs(bound) < 0.999) & (np.abs(bound - rate + reference) > 1e-9)
        at_bound = score_statistic(rate, trials, reference, reference_trials, bound)
        assert sign * at_bound[inside] == pytest.approx(1.959964, abs=1e-5)
    assert ((low <= rate - reference) & (rate - reference <= high)).all()


def test_nothing_but_zeros_still_leaves_room_for_a_difference():
    low, high = difference_bounds(0.0, 50.0, 0.0, 80.0, 0.95)
    assert -0.1 < low < 0.0 < high < 0.1
