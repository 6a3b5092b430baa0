"""The bars of the rollout analysis, by few simulated rollouts; ten thousand are among the scenarios."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Result, Verdict
from streamrec.rollout.simulation import simulate
from streamrec.rollout.simulation.detection import FAULTS, requests_to_detect
from streamrec.rollout.simulation.false_rollbacks import one_rollout, worlds
from streamrec.rollout.simulation.result import SIMULATION_SCHEMA
from streamrec.stats.non_inferiority import non_inferiority
from streamrec.stats.sequential_means import log_evidence_of_gain, score_of
from tests.unit.stats.clusters import clicking_users as made

SETTINGS = {"margin": 0.1, "confidence": 0.95, "power": 0.8}


def test_looking_a_hundred_times_crosses_no_more_often_than_allowed():
    rng = np.random.default_rng(4)
    steps = rng.normal(0.0, 1.0, (20_000, 100)) * 10.0
    information = 100.0 * np.arange(1, 101)
    evidence = log_evidence_of_gain(steps.cumsum(axis=1), information[None], 0.05)
    crossed = (evidence >= np.log(1.0 / 0.05)).any(axis=1).mean()
    assert 0.005 < crossed <= 0.05


def test_a_score_has_the_variance_of_equal_arms():
    rng = np.random.default_rng(5)
    standardised = []
    for _ in range(400):
        score = score_of(made(rng, 400, 0.1), made(rng, 1_600, 0.1))
        standardised.append(score.score / np.sqrt(score.information))
    assert np.mean(standardised) == pytest.approx(0.0, abs=0.2)
    assert np.std(standardised) == pytest.approx(1.0, abs=0.12)


def test_a_loss_of_just_the_margin_is_shown_as_often_as_the_confidence_says():
    rng = np.random.default_rng(9)
    shown = [
        non_inferiority([(made(rng, 1_500, 0.18), made(rng, 1_500, 0.2))], **SETTINGS).is_shown
        for _ in range(400)
    ]
    assert 0.02 <= np.mean(shown) <= 0.09


def test_few_rollouts_are_simulated_and_say_that_they_are_few():
    found = simulate(20, seed=3, processes=2)
    document = found.to_json()
    assert Result.from_json(document, schema=SIMULATION_SCHEMA).to_json() == document
    assert found.result.verdict is Verdict.INCONCLUSIVE
    assert found.false_rollback.n == 20
    assert [one.fault for one in found.detection] == [*(fault.name for fault in FAULTS), *["outcome"] * 3]
    assert {"fault", "size", "canary_requests_p50", "canary_requests_p95", "power"} <= set(
        document["detection"][0]
    )
    by_size = {one.size: one for one in found.detection if one.fault == "outcome"}
    assert by_size[0.10].power == 1.0
    assert by_size[0.10].promoted == 0.0


@pytest.mark.parametrize("index", [0, 1, 2, 4, 5])
def test_faults_are_found_in_time(index):
    fault = FAULTS[index]
    taken = requests_to_detect(fault, 120, np.random.default_rng(5))
    assert (taken > 0).all()
    # 95 % of runs must be; of 120 runs 107 or more are, but for one time in a thousand.
    assert (taken <= fault.bar_p95).sum() >= 107
    assert np.quantile(taken, 0.35) <= fault.bar_p50


def test_a_rollout_can_be_drawn_again():
    first, second = (one_rollout(worlds()[1], np.random.default_rng(8)) for _ in range(2))
    assert first == second


def test_numbers_of_rollouts_and_processes_have_bounds():
    with pytest.raises(InvalidInputError, match="rollouts"):
        simulate(5, seed=1, processes=1)
    with pytest.raises(InvalidInputError, match="processes"):
        simulate(20, seed=1, processes=0)
