"""Ten thousand rollouts of equal versions, and every fault, through the real analysis: all bars hold."""

from __future__ import annotations

import os

import pytest

from streamrec.contracts.results import Verdict
from streamrec.rollout.simulation import simulate

ROLLOUTS = 10_000
MOST_S = 600.0


@pytest.mark.slow
def test_equal_versions_are_seldom_rolled_back_and_faults_are_found_in_time():
    found = simulate(ROLLOUTS, seed=2_026, processes=os.cpu_count() or 1)
    print(found.to_json())
    assert found.result.reasons == ()
    assert found.result.verdict is Verdict.PASSED
    assert found.false_rollback.high <= 0.01
    assert found.wrongly_shown.high <= 0.05
    assert found.seconds <= MOST_S
