"""The bars of the fairness decision, by simulation; the full grid is among the scenarios."""

from __future__ import annotations

import numpy as np

from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.gates.fairness.counted import counted_comparisons
from streamrec.gates.fairness.differences import decide
from streamrec.stats.fairness_counts import GroupCounts
from streamrec.stats.fairness_decision import FAILED, PASSED, decide_means, rate_states, welch_degrees
from tests.fairness_cells import Cell, bounds_99, cells, missed_bars

RUNS = 2_000


def test_bars_hold_at_the_rows_that_are_said_to_be_needed():
    rng = np.random.default_rng(20)
    grid = list(cells((0.05, 0.2, 0.5), (2, 6), (1, 3), (0.1,), unequal=(1, 10)))
    assert [line for cell in grid for line in missed_bars(cell, rng, RUNS)] == []


def test_few_rows_of_unequal_groups_neither_pass_nor_fail_wrongly():
    rng = np.random.default_rng(21)
    for rate in (0.05, 0.1, 0.3):
        cell = Cell(rate, groups=4, metrics=3, tolerance=0.05, rows=150, reference_rows=3_000)
        passed, _ = cell.verdicts(cell.tolerance, rng, RUNS)
        _, failed = cell.verdicts(0.0, rng, RUNS)
        assert bounds_99(passed, RUNS)[0] <= 0.05
        assert bounds_99(failed, RUNS)[0] <= 0.05


def test_at_the_limit_the_family_fails_no_more_often_than_it_may():
    # Every difference lies at its tolerance: none is beyond, and each may be found to be by chance.
    rng = np.random.default_rng(22)
    cell = Cell(0.2, groups=2, metrics=1, tolerance=0.1, rows=800, reference_rows=2_400)
    _, failed = cell.verdicts(cell.tolerance, rng, 20_000)
    low, high = bounds_99(failed, 20_000)
    assert low <= 0.05
    assert high > 0.03  # nothing is given away either


def test_rows_needed_are_rows_and_not_positives():
    """A small pilot says how many rows of each group it takes; drawn anew, so many decide."""
    rng = np.random.default_rng(23)
    positives, tpr, tolerance = 0.3, 0.7, 0.1
    pilot = {
        f"sex={name}": GroupCounts(rows=1_000, positives=300, selected=300, true_positives=210)
        for name in "FM"
    }
    policy = FairnessPolicy(attributes=("sex",))
    compared = counted_comparisons({"sex": pilot}, policy, {FairnessMetric.TPR: tolerance})
    rows = decide(compared, 0.95)[0].samples_needed

    def share(difference, state):
        trials = rng.binomial(rows, positives, (2, RUNS)).astype(float)
        own = rng.binomial(trials[0].astype(int), tpr + difference) / trials[0]
        reference = rng.binomial(trials[1].astype(int), tpr) / trials[1]
        states = rate_states(own, trials[0], reference, trials[1], tolerance, confidence=0.95, family=1)
        return int((states == state).sum())

    assert bounds_99(share(-1.5 * tolerance, FAILED), RUNS)[1] >= 0.95
    assert bounds_99(share(0.0, PASSED), RUNS)[1] >= 0.95
    # Half as many would not do: the promise is not met by asking for far too much.
    rows //= 2
    assert bounds_99(share(-1.5 * tolerance, FAILED), RUNS)[1] < 0.95


def rarely_hit(rng, mean, users):
    """Gains of rankings that seldom hit: mostly zero. Shape (runs, users), with the given mean."""
    gains = 1.0 / np.log2(np.arange(2, 12))
    hit = rng.uniform(size=(RUNS, users)) < mean / gains.mean()
    return np.where(hit, gains[rng.integers(0, 10, (RUNS, users))], 0.0)


def test_rankings_that_seldom_hit_do_not_pass_wrongly_in_small_groups():
    """Mean and deviation of a small group are too small together; a plain t test passes 8 of 100 here."""
    rng = np.random.default_rng(24)
    tolerance = 0.05
    own, reference = rarely_hit(rng, 0.05 + tolerance, 100), rarely_hit(rng, 0.05, 2_000)
    deviations = own.std(axis=1, ddof=1), reference.std(axis=1, ddof=1)
    error = np.hypot(deviations[0] / np.sqrt(100), deviations[1] / np.sqrt(2_000))
    thirds = [
        ((x - x.mean(axis=1, keepdims=True)) ** 3).mean(axis=1) / x.shape[1] ** 2 for x in (own, reference)
    ]
    decision = decide_means(
        own.mean(axis=1) - reference.mean(axis=1),
        error,
        welch_degrees(deviations[0], 100, deviations[1], 2_000),
        tolerance,
        confidence=0.95,
        family=5,
        skewness=(thirds[0] - thirds[1]) / (6.0 * error**3),
    )
    passed = int((decision.states == PASSED).sum())
    assert bounds_99(passed, RUNS)[0] <= 0.05
    assert bounds_99(passed, RUNS)[1] >= 0.03
