from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.recommendations.evaluation.judgements import (
    closed_loop_result,
    evaluation_result,
    tuning_result,
)
from services.recommendations.evaluation.measured_elsewhere import SERVED_POLICY
from services.recommendations.item_index.settings import IndexKind, IndexSettings
from services.recommendations.item_index.tuning_report import Measurement, TuningLimits, TuningReport
from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.contracts.results import Verdict


def interval(value, low, high):
    return Interval(value, low, high, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 400)


def bar(met, *, applies=True, note=""):
    return {
        "name": "recall@500 against ease",
        "requirement": "at least 0.5000",
        "figure": None if met is None else 0.45,
        "met": met,
        "note": note,
        "applies": applies,
    }


@pytest.mark.parametrize(
    ("bars", "verdict", "codes"),
    [
        ([bar(True)], Verdict.PASSED, []),
        ([bar(True), bar(None, applies=False)], Verdict.PASSED, []),
        ([bar(True), bar(None)], Verdict.INCONCLUSIVE, ["bar_not_measured"]),
        ([bar(None), bar(False), bar(True)], Verdict.FAILED, ["bar_not_measured", "bar_missed"]),
        ([bar(None, applies=False)], Verdict.INCONCLUSIVE, ["nothing_judged"]),
        ([], Verdict.INCONCLUSIVE, ["nothing_judged"]),
    ],
)
def test_an_evaluation_is_judged_by_its_bars(bars, verdict, codes):
    result = evaluation_result({"bars": bars, "models": {}})
    assert result.verdict is verdict
    assert [reason.code for reason in result.reasons] == codes
    assert result.to_json()["bars"] == bars
    assert result.schema == "streamrec.evaluation.v1"


def test_a_reason_names_the_bar_its_place_and_its_figure():
    bars = [bar(True), bar(False, note="the intervals overlap"), bar(None, note="too few items")]
    missed, unmeasured = evaluation_result({"bars": bars}).reasons
    assert missed.path == "bars.1"
    assert missed.message == (
        "recall@500 against ease: 0.45 where the bar is at least 0.5000 (the intervals overlap)"
    )
    assert unmeasured.path == "bars.2"
    assert unmeasured.message == "recall@500 against ease was not measured: too few items"


def arm(churn):
    summary = SimpleNamespace(seven_day_churn=churn)
    return SimpleNamespace(summary=summary, to_json=lambda: {"summary": {}})


@pytest.mark.parametrize(
    ("churn", "verdict", "codes"),
    [
        (interval(0.34, 0.33, 0.35), Verdict.PASSED, []),
        (interval(0.36, 0.351, 0.37), Verdict.FAILED, ["churn_too_high"]),
        (interval(0.34, 0.33, 0.351), Verdict.INCONCLUSIVE, ["churn_undecided"]),
        (interval(0.36, 0.35, 0.37), Verdict.INCONCLUSIVE, ["churn_undecided"]),
        (None, Verdict.INCONCLUSIVE, ["churn_not_measured"]),
    ],
)
def test_a_closed_loop_is_judged_by_the_whole_interval_of_its_churn(churn, verdict, codes):
    result = closed_loop_result({"old policy": arm(interval(0.42, 0.41, 0.43)), SERVED_POLICY: arm(churn)})
    assert result.verdict is verdict
    assert [reason.code for reason in result.reasons] == codes
    assert list(result.to_json()) == ["schema", "verdict", "reasons", "old policy", SERVED_POLICY]


def test_a_closed_loop_without_the_served_policy_decides_nothing():
    result = closed_loop_result({"old policy": arm(interval(0.3, 0.29, 0.31))})
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "that arm was not run" in result.reasons[0].message


def tuning(recall_low, memory_bytes):
    recall = interval(max(recall_low, 0.995), recall_low, 1.0)
    measured = Measurement(IndexSettings(kind=IndexKind.EXACT), recall, 1.0, 2.0, memory_bytes, 0.1)
    return TuningReport(100, 8, TuningLimits(maximum_memory_bytes=1_000), [measured], measured, measured)


@pytest.mark.parametrize(
    ("recall_low", "memory_bytes", "verdict"),
    [(0.99, 1_000, Verdict.PASSED), (0.98, 1_000, Verdict.FAILED), (0.99, 1_001, Verdict.FAILED)],
)
def test_a_sweep_is_judged_by_its_limits(recall_low, memory_bytes, verdict):
    result = tuning_result(tuning(recall_low, memory_bytes), "retrieval@3")
    assert result.verdict is verdict
    assert [reason.code for reason in result.reasons] == (
        [] if verdict is Verdict.PASSED else ["limits_not_reached"]
    )
    document = result.to_json()
    assert (document["schema"], document["retrieval"]) == ("streamrec.index_tuning.v1", "retrieval@3")
