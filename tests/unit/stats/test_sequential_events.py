from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.sequential_events import (
    ODDS,
    ODDS_WEIGHTS,
    log_mixture,
    log_mixture_of_starts,
    log_sum,
    odds_terms,
    share_under_null,
)


def brute_force(sequence):
    """Likelihood ratio of events one by one: ``(is_event, chance)`` each."""
    ratios = []
    for odds in ODDS:
        ratio = 1.0
        for is_event, chance in sequence:
            raised = odds * chance / (1.0 + chance * (odds - 1.0))
            ratio *= raised / chance if is_event else (1.0 - raised) / (1.0 - chance)
        ratios.append(ratio)
    return float(np.dot(ODDS_WEIGHTS, ratios))


def test_sums_say_what_the_events_one_by_one_say():
    rng = np.random.default_rng(1)
    chances = np.repeat([0.05, 0.3, 0.6], [12, 9, 7])
    events = rng.uniform(size=chances.size) < 2.0 * chances
    terms = odds_terms(
        [events[chances == chance].sum() for chance in (0.05, 0.3, 0.6)], [12, 9, 7], [0.05, 0.3, 0.6]
    )
    expected = brute_force(list(zip(events, chances, strict=True)))
    assert np.exp(log_mixture(terms.sum(axis=0))) == pytest.approx(expected, rel=1e-9)


def ever_crosses(chance, allowed, events):
    """Exact chance that the mixture reaches ``1 / allowed`` within so many events, looked at after each."""
    alive, crossed = np.zeros(events + 1), 0.0
    alive[0] = 1.0
    for trials in range(1, events + 1):
        moved = alive * (1.0 - chance)
        moved[1:] += alive[:-1] * chance
        reached = log_mixture(odds_terms(np.arange(events + 1), trials, chance)) >= -np.log(allowed)
        crossed += moved[reached].sum()
        alive = np.where(reached, 0.0, moved)
    return crossed


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.5, 0.8])
def test_looking_after_every_event_crosses_no_more_often_than_allowed(chance):
    crossed = ever_crosses(chance, 0.01, 150)
    assert 0.001 < crossed <= 0.01


def test_the_null_is_kept_by_every_smaller_chance():
    # The expected ratio of one trial is 1 at the chance of the null and less below it.
    for chance in (0.02, 0.3, 0.9):
        for true in (chance, 0.5 * chance):
            ratio = true * np.exp(odds_terms(1, 1, chance)) + (1.0 - true) * np.exp(odds_terms(0, 1, chance))
            assert (ratio <= 1.0 + 1e-12).all()
            assert true < chance or ratio == pytest.approx(np.ones(3))


def test_tests_that_begin_at_different_times_are_a_weighted_sum():
    terms = odds_terms([1.0, 0.0, 4.0], [5.0, 9.0, 6.0], [0.1, 0.2, 0.3])
    later = odds_terms([3.0], [3.0], [0.3])
    weights = np.array([0.5, 0.2, 0.1])
    expected = 0.05 * np.exp(log_mixture(later[0]))
    for start, weight in enumerate(weights):
        expected += weight * np.exp(log_mixture(terms[start:].sum(axis=0)))
    found = log_mixture_of_starts(terms, np.log(weights), later, np.log([0.05]))
    assert np.exp(found) == pytest.approx(expected, rel=1e-9)


def test_a_late_fault_is_found_by_a_test_that_begins_late():
    clean, faulty = odds_terms(40.0, 400.0, 0.1), odds_terms(40.0, 50.0, 0.1)
    none = np.empty((0, 3))
    one_test = log_mixture_of_starts(np.stack((clean, faulty)), np.array([0.0, -np.inf]), none, np.empty(0))
    two_tests = log_mixture_of_starts(np.stack((clean, faulty)), np.log([0.5, 0.5]), none, np.empty(0))
    assert one_test < two_tests
    assert two_tests > np.log(1e9)


def test_heavy_users_raise_the_share_that_is_expected_and_light_ones_do_not_lower_it():
    assert share_under_null(100, 900, 0.1) == pytest.approx(0.1)
    assert share_under_null(50, 950, 0.1) == pytest.approx(0.1)
    heavy = float(share_under_null(300_000, 700_000, 0.1))
    assert 0.29 < heavy < 0.3
    assert share_under_null(3, 1, 0.1) == pytest.approx(0.3)  # few requests say little
    assert share_under_null(30, 70, np.nan) == pytest.approx(0.3)
    assert share_under_null(0, 0, 0.1) == pytest.approx(0.1)


def test_nothing_seen_is_evidence_of_nothing():
    assert log_mixture(odds_terms(0, 0, 0.5)) == pytest.approx(0.0)
    assert log_sum(np.empty((2, 0))).tolist() == [-np.inf, -np.inf]
    assert log_sum(np.full(3, -np.inf)) == -np.inf
