"""Passed, failed or inconclusive: over all differences together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from streamrec.stats.fairness_decision import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    decide_means,
    decide_rates,
    levels_of,
    means_needed,
    rate_states,
    rates_needed,
    welch_degrees,
)


def decided(rate, *, trials=5_000.0, family=1):
    return decide_rates(rate, trials, 0.2, 5_000.0, 0.1, confidence=0.95, family=family)


@pytest.mark.parametrize(
    ("rate", "state"), [(0.2, PASSED), (0.27, PASSED), (0.3, INCONCLUSIVE), (0.35, FAILED), (0.05, FAILED)]
)
def test_three_states_by_where_the_interval_lies(rate, state):
    decision = decided(rate)
    assert decision.states == state
    inside = decision.low > -0.1 and decision.high < 0.1
    outside = decision.low > 0.1 or decision.high < -0.1
    assert (bool(inside), bool(outside)) == (state == PASSED, state == FAILED)


def test_the_interval_that_is_shown_is_the_one_that_decided():
    rng = np.random.default_rng(4)
    trials, reference_trials = rng.integers(50, 20_000, (2, 400)).astype(float)
    rates, references = rng.uniform(0.0, 0.5, (2, 400))
    decision = decide_rates(rates, trials, references, reference_trials, 0.1, confidence=0.95, family=7)
    inside = (decision.low > -0.1) & (decision.high < 0.1)
    outside = (decision.low > 0.1) | (decision.high < -0.1)
    assert (decision.states == np.where(inside, PASSED, np.where(outside, FAILED, INCONCLUSIVE))).all()
    assert set(decision.states.tolist()) == {PASSED, FAILED, INCONCLUSIVE}


def test_many_differences_make_failing_harder_and_passing_not():
    assert levels_of(0.95, 1) == pytest.approx((0.91, 0.91))
    assert levels_of(0.95, 20) == pytest.approx((0.91, 0.995))
    nearly_out = decided(0.316)
    assert nearly_out.states == FAILED
    assert decided(0.316, family=50).states == INCONCLUSIVE
    nearly_in = decided(0.284)
    assert nearly_in.states == decided(0.284, family=50).states == PASSED


def test_few_rows_decide_nothing():
    assert decided(0.2, trials=20.0).states == INCONCLUSIVE
    assert decided(0.35, trials=20.0).states == INCONCLUSIVE


@pytest.mark.parametrize(("base", "tolerance", "family"), [(0.05, 0.05, 1), (0.2, 0.1, 10), (0.5, 0.1, 4)])
def test_as_many_rows_as_are_said_to_be_needed_decide_both_ways(base, tolerance, family):
    rng = np.random.default_rng(12)
    trials = int(np.ceil(rates_needed(base, tolerance, confidence=0.95, family=family)))
    reference = rng.binomial(trials, base, 2_000) / trials

    def share(rate, state):
        drawn = rng.binomial(trials, rate, 2_000) / trials
        states = rate_states(drawn, trials, reference, trials, tolerance, confidence=0.95, family=family)
        return (states == state).mean()

    assert 0.945 < share(base + 1.5 * tolerance, FAILED) < 0.985
    assert share(base, PASSED) > 1.0 - 0.05 / family


def test_means_are_decided_by_the_t_test_of_welch():
    rng = np.random.default_rng(1)
    own, reference = rng.normal(0.3, 1.0, 40), rng.normal(0.0, 2.0, 25)
    expected = ttest_ind(own, reference, equal_var=False)
    bounds = expected.confidence_interval(0.91)
    degrees = welch_degrees(own.std(ddof=1), 40, reference.std(ddof=1), 25)
    assert degrees == pytest.approx(expected.df)
    error = np.hypot(own.std(ddof=1) / np.sqrt(40), reference.std(ddof=1) / np.sqrt(25))
    difference = own.mean() - reference.mean()
    decision = decide_means(difference, error, degrees, 1.0, confidence=0.95, family=1)
    assert (decision.low, decision.high) == pytest.approx((bounds.low, bounds.high))


def test_means_need_more_units_where_they_scatter_more_and_the_tolerance_is_narrow():
    wide, narrow = (means_needed(0.3, 0.3, limit, confidence=0.95, family=3) for limit in (0.1, 0.05))
    assert narrow == pytest.approx(4.0 * wide)
    units = int(np.ceil(wide))
    rng = np.random.default_rng(2)
    own, reference = rng.normal(0.15, 0.3, (500, units)), rng.normal(0.0, 0.3, (500, units))
    error = np.sqrt((own.var(axis=1, ddof=1) + reference.var(axis=1, ddof=1)) / units)
    decision = decide_means(
        own.mean(axis=1) - reference.mean(axis=1), error, 2.0 * units - 2.0, 0.1, confidence=0.95, family=3
    )
    assert 0.93 < (decision.states == FAILED).mean() < 0.99
