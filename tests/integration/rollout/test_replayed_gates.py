"""Gates judged again by what they keep: compared with the gates themselves on the whole evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import LatencyLimits
from streamrec.contracts.specification.quality_policy import QualityMetric, QualityPolicy
from streamrec.gates.checks.latency import LatencyEvidence, Timings, judge_latency
from streamrec.gates.gate_results import gate_error, gate_result
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.quality.judgement import QualityEvidence, judge_quality
from streamrec.gates.runner import Enforcement
from streamrec.ledger.ledger import Decision
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.rollout.replay import read_past_gates, replay
from streamrec.rollout.replay.changed_policy import ChangedGates, ChangedPolicy
from streamrec.rollout.replay.gates import judged_again
from streamrec.stats.clustered import ClusteredEstimate

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISOLATED = Enforcement()


def gates(**changes) -> ChangedGates:
    return ChangedPolicy.from_json({"gates": changes}).gates


def quality_evidence(seed: int, metric: QualityMetric, *, units: int, alone: bool) -> QualityEvidence:
    """A candidate that is a bit worse or better than the champion over the same users, or alone."""
    rng = np.random.default_rng(seed)
    champion = rng.uniform(0.2, 0.8, units)
    candidate = champion + rng.uniform(-0.06, 0.04) + rng.normal(0.0, 0.15, units)
    own, other = (
        ClusteredEstimate(float(figure.mean()), figure - figure.mean()) for figure in (candidate, champion)
    )
    return QualityEvidence(
        "ranker@2", metric, 10, units, units, own, None if alone else other, None if alone else "ranker@1"
    )


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("metric", [QualityMetric.NDCG, QualityMetric.LOG_LOSS])
def test_another_margin_or_floor_gives_what_the_gate_itself_would_say(metric, alone):
    before = QualityPolicy(metric=metric, margin=0.05, floor=0.45)
    after = replace(before, margin=0.12, floor=0.5) if not alone else replace(before, floor=0.5)
    changed = gates(quality={"floor": 0.5} if alone else {"margin": 0.12, "floor": 0.5})
    known, flipped = 0, 0
    for seed in range(60):
        evidence = quality_evidence(seed, metric, units=(120, 600, 3_000)[seed % 3], alone=alone)
        judged, expected = judge_quality(evidence, before), judge_quality(evidence, after).verdict
        again, why = judged_again(judged, changed)
        assert again in (expected, None), (seed, again, expected, why)
        known += again is not None
        flipped += again is not None and again is not judged.verdict
    assert known >= 45
    assert flipped >= 5


def timings(rng, name: str, scale: float, *, noisy: bool = False) -> Timings:
    reference = np.where(rng.random(400) < (0.05 if noisy else 0.0), 9.0, 1.0)
    return Timings(name, rng.gamma(8.0, scale, 400), reference, int(rng.integers(50, 400)) * 1024**2)


def test_other_limits_of_time_and_memory_give_what_the_gate_itself_would_say():
    before = LatencyLimits(p99_ms=20.0, memory_mib=300, slower_than_champion=0.5)
    after = LatencyLimits(p99_ms=12.0, memory_mib=200, slower_than_champion=0.1)
    changed = gates(latency={"p99_ms": 12.0, "memory_mib": 200, "slower_than_champion": 0.1})
    verdicts = set()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        own = timings(rng, "ranker@2", rng.uniform(0.3, 1.4), noisy=seed % 4 == 0)
        other = None if seed % 5 == 0 else timings(rng, "ranker@1", 0.8)
        judge = partial(judge_latency, LatencyEvidence("ranker@2", own, other, ISOLATED))
        again, why = judged_again(judge(before), changed)
        assert again is judge(after).verdict, (seed, why)
        verdicts.add(again)
    assert verdicts == {Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE}


def fairness(verdict: Verdict, low: float, high: float, tolerance: float = 0.1) -> Result:
    difference = {"metric": "tpr", "groups": ["a", "b"], "value": (low + high) / 2, "low": low, "high": high}
    difference |= {"tolerance": tolerance, "verdict": verdict.value, "undecided": None}
    reasons = {"failed": "failed", "inconclusive": "inconclusive"}.get(verdict.value, "noted")
    return gate_result(
        GateName.FAIRNESS,
        "ranker@2",
        {"differences": [difference]},
        **{reasons: [Reason("made_up", "differences", "made up")]},
    )


@pytest.mark.parametrize(
    ("verdict", "low", "high", "tolerance", "again"),
    [
        (Verdict.PASSED, -0.02, 0.06, 0.2, Verdict.PASSED),
        (Verdict.PASSED, -0.02, 0.06, 0.07, Verdict.PASSED),
        (Verdict.PASSED, -0.02, 0.06, 0.05, Verdict.INCONCLUSIVE),
        (Verdict.PASSED, 0.05, 0.06, 0.04, None),
        (Verdict.INCONCLUSIVE, 0.05, 0.15, 0.2, Verdict.PASSED),
        (Verdict.INCONCLUSIVE, 0.05, 0.15, 0.04, Verdict.FAILED),
        (Verdict.INCONCLUSIVE, 0.05, 0.15, 0.14, None),
        (Verdict.FAILED, 0.12, 0.15, 0.16, Verdict.PASSED),
        (Verdict.FAILED, 0.12, 0.15, 0.11, Verdict.FAILED),
    ],
)
def test_another_tolerance_decides_what_the_kept_interval_decides(verdict, low, high, tolerance, again):
    result = fairness(verdict, low, high)
    found, why = judged_again(result, gates(fairness={"metrics": {"tpr": tolerance}}))
    assert found is again, why
    if again is None:
        assert "not kept" in why


def test_what_was_never_looked_at_or_not_run_is_unknown_and_what_is_not_changed_stays():
    result = fairness(Verdict.PASSED, -0.02, 0.06)
    assert judged_again(result, gates(fairness={"metrics": {"fpr": 0.2}}))[0] is None
    assert judged_again(result, gates(latency={"p99_ms": 5.0})) == (Verdict.PASSED, "")
    broken = gate_error(GateName.LATENCY, "ranker@2", "no core was free")
    assert judged_again(broken, gates(latency={"p99_ms": 5.0}))[0] is None


def test_judgements_are_read_from_the_ledger_and_shown_beside_what_became_of_the_version():
    ledger = MemoryLedger()
    results = [fairness(Verdict.PASSED, -0.02, 0.06)]
    report = GatesReport(
        "ranker@2", NOON, "0" * 64, "1" * 64, "ranker@1", "shop", ISOLATED, True, tuple(results)
    )
    for evidence in ({"report": report.to_json()}, {"report_sha256": "2" * 64}):
        ledger.append(Decision("ana", ActorRole.SPOKE, EntryKind.GATES_JUDGED, "ranker@2", "", evidence))
    policy = ChangedPolicy.from_json({"gates": {"fairness": {"metrics": {"tpr": 0.05}}}})
    result, rows = replay((), read_past_gates(ledger), policy)
    assert [(row.what, row.decided, row.would_be) for row in rows] == [
        ("gate fairness", "passed", "inconclusive"),
        ("gates", "judged", None),
    ]
    assert rows[0].later == "was never rolled out"
    assert result.to_json()["counts"] == {"decisions": 2, "same": 0, "flips": 1, "unknown": 1}
    assert result.reasons[0].code == "would_flip"
