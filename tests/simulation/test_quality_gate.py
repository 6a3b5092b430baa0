"""How often the quality gate decides wrongly: lists whose NDCG is mostly zero, with one right item each.

2,000 runs a cell; a cell fails only where the 99 % bound of its rate lies beyond the bar. `pytest -s` prints
the table.
"""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.quality_policy import QualityMetric, QualityPolicy
from streamrec.gates.quality.judgement import QualityEvidence, judge_quality
from streamrec.stats.clustered import ClusteredEstimate

pytestmark = pytest.mark.slow

RUNS = 2_000
MARGIN = 0.05
POLICY = QualityPolicy(metric=QualityMetric.NDCG, margin=MARGIN)

HIT_RATE = 0.35
GAINS = 1.0 / np.log2(np.arange(10) + 2.0)
KEPT = 0.9
"""Of the users both versions answer the same; of the others each by itself."""


def judged(units: int, loss: float, rng: np.random.Generator):
    def values():
        return np.where(rng.random(units) < HIT_RATE, rng.choice(GAINS, units), 0.0)

    champion = values()
    candidate = np.where(rng.random(units) < KEPT, champion, values())
    # Thinned: its expectation is less by that share exactly.
    candidate = np.where(rng.random(units) < 1.0 - loss, candidate, 0.0)
    estimates = [ClusteredEstimate(float(x.mean()), x - x.mean()) for x in (candidate, champion)]
    evidence = QualityEvidence("m@2", QualityMetric.NDCG, 10, units, units, *estimates, "m@1")
    return judge_quality(evidence, POLICY)


def beyond(count: int) -> float:
    """Half width of the 99 % interval of a rate of 5 % or 95 % over so many runs."""
    return 2.576 * np.sqrt(0.05 * 0.95 / count)


@pytest.mark.parametrize("units", [100, 400, 2_000, 10_000])
def test_a_version_that_is_worse_by_the_margin_passes_one_time_in_twenty_at_most(units):
    rng = np.random.default_rng(units)
    passed = sum(judged(units, MARGIN, rng).verdict is Verdict.PASSED for _ in range(RUNS)) / RUNS
    print(f"{units} units, worse by the margin: passed {passed:.3f}")
    assert passed <= 0.05 + beyond(RUNS)


def test_a_version_that_is_as_good_passes_at_the_units_that_the_gate_names():
    rng = np.random.default_rng(1)
    needed = [judged(2_000, 0.0, rng).content["evidence"]["units_needed"] for _ in range(200)]
    units = int(np.median(needed))
    verdicts = [judged(units, 0.0, rng).verdict for _ in range(RUNS)]
    passed = verdicts.count(Verdict.PASSED) / RUNS
    failed = verdicts.count(Verdict.FAILED) / RUNS
    print(f"{units} units, as good: passed {passed:.3f}, failed {failed:.3f}")
    assert passed >= 0.95 - beyond(RUNS)
    assert failed <= 0.05 + beyond(RUNS)
