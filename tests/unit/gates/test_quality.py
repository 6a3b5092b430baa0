from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.quality_policy import QualityMetric, QualityPolicy, Task
from streamrec.gates.predictions import Lists, Predictions, checked
from streamrec.gates.quality.evidence import collect_quality
from streamrec.gates.quality.judgement import QualityEvidence, judge_quality
from streamrec.gates.quality.metrics import metric_of_lists, metric_of_numbers
from streamrec.stats.clustered import ClusteredEstimate, Units


def clicks(requests: int = 2_000, *, skill: float = 1.0, seed: int = 1, noise: int = 2) -> Predictions:
    """A classification: the truth is of ``seed``, the model's own noise of ``noise``."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=requests)
    labels = (rng.random(requests) < 1 / (1 + np.exp(-2 * taste))).astype(np.float64)
    said = skill * 2 * taste + 0.3 * np.random.default_rng(noise).normal(size=requests)
    names = np.array([f"r{row:06d}" for row in range(requests)], dtype=object)
    return checked(
        Predictions(
            task=Task.CLASSIFICATION,
            request_ids=names,
            units=np.array([f"u{row // 2}" for row in range(requests)], dtype=object),
            at=np.full(requests, np.datetime64("2026-01-01", "us")),
            labels=labels,
            scores=1 / (1 + np.exp(-said)),
            item_ids=None,
            item_scores=None,
            relevant=None,
            groups={},
        )
    )


def specification(**quality) -> ModelSpecification:
    return ModelSpecification.from_json(
        {
            "schema": "streamrec.model_specification.v1",
            "name": "ads-clicks",
            "owner": "ads",
            "slot": "ads.clicks",
            "task": "classification",
            "predictor": "ads:load",
            "evaluation": {"requests": "evaluation.parquet"},
            "no_sensitive_attributes": "made up",
            "quality": quality,
        }
    )


def judged(candidate, champion=None, **quality):
    wanted = specification(**quality)
    evidence = collect_quality(
        "ads-clicks@2", wanted, candidate, champion, None if champion is None else "ads-clicks@1"
    )
    return judge_quality(evidence, wanted.quality)


def only_code(result) -> str:
    (found,) = result.reasons
    return found.code


def test_a_version_that_is_as_good_passes():
    result = judged(clicks(noise=3), clicks(noise=2))
    assert result.verdict is Verdict.PASSED
    evidence = result.content["evidence"]
    assert evidence["metric"] == "roc_auc"
    assert evidence["units"] == 1_000
    assert evidence["champion_version"] == "ads-clicks@1"
    assert evidence["slack"]["low"] >= 0.0
    # Paired: the difference is known far better than either figure is.
    width = evidence["difference"]["high"] - evidence["difference"]["low"]
    assert width < 0.5 * (evidence["candidate"]["high"] - evidence["candidate"]["low"])


def test_a_version_that_is_worse_fails_and_the_reason_says_by_how_much():
    result = judged(clicks(skill=0.2, noise=3), clicks())
    assert (result.verdict, only_code(result)) == (Verdict.FAILED, "worse_than_champion")
    assert "ads-clicks@1 has" in result.reasons[0].message
    assert "the margin allows -0.0" in result.reasons[0].message


def test_with_too_few_units_nothing_is_decided_and_it_is_said_how_many_it_takes():
    result = judged(clicks(400, noise=3), clicks(400), margin=0.002)
    assert (result.verdict, only_code(result)) == (Verdict.INCONCLUSIVE, "too_few_units")
    needed = result.content["evidence"]["units_needed"]
    assert f"{needed:,} units would decide it" in result.reasons[0].message
    assert judged(clicks(2 * needed, noise=3), clicks(2 * needed), margin=0.002).verdict is Verdict.PASSED


def ndcg(candidate, champion, margin: float = 0.1):
    units = len(candidate)
    evidence = QualityEvidence(
        "m@2", QualityMetric.NDCG, 10, units, units, _mean(candidate), _mean(champion), "m@1"
    )
    return judge_quality(evidence, QualityPolicy(metric=QualityMetric.NDCG, margin=margin))


def test_with_enough_units_what_is_not_shown_to_be_good_enough_has_failed():
    rng = np.random.default_rng(6)
    champion = np.full(2_000, 0.1)
    noise = rng.normal(0.0, 0.1, 2_000)
    result = ndcg(champion - 0.011 + noise - noise.mean(), champion)
    assert result.content["evidence"]["units_needed"] < 2_000
    slack = result.content["evidence"]["slack"]
    assert slack["low"] < slack["value"] < 0.0 < slack["high"]
    assert (result.verdict, only_code(result)) == (Verdict.FAILED, "worse_than_champion")


def test_the_margin_is_as_uncertain_as_the_champion_that_it_is_a_share_of():
    champion = np.random.default_rng(7).exponential(size=400)
    slack = ndcg(0.97 * champion, champion).content["evidence"]["slack"]
    error = 0.07 * champion.std(ddof=1) / np.sqrt(400)
    assert slack["value"] == pytest.approx(0.07 * champion.mean())
    assert slack["high"] - slack["low"] == pytest.approx(2 * 1.6449 * error, rel=0.02)


def test_fewer_units_than_the_policy_asks_for_decide_nothing_even_where_nothing_differs():
    result = judged(clicks(60), clicks(60))
    assert (result.verdict, only_code(result)) == (Verdict.INCONCLUSIVE, "too_few_units")
    assert result.content["evidence"]["units_needed"] == 100
    assert judged(clicks(200), clicks(200)).verdict is Verdict.PASSED


def test_a_margin_of_nothing_cannot_be_shown_and_the_reason_says_so():
    # Each answers a little better by chance for the other half of the units.
    result = judged(clicks(noise=3), clicks(noise=2), margin=0.0)
    assert (result.verdict, only_code(result)) == (Verdict.INCONCLUSIVE, "too_few_units")
    assert "no number of units can show a margin of 0" in result.reasons[0].message
    assert result.content["evidence"]["units_needed"] is None


def test_without_a_champion_the_floor_decides_and_the_result_says_so():
    passed = judged(clicks(), floor=0.7)
    assert (passed.verdict, only_code(passed)) == (Verdict.PASSED, "judged_by_floor")
    assert "there is no champion yet" in passed.reasons[0].message
    failed = judged(clicks(skill=0.0), floor=0.7)
    assert (failed.verdict, only_code(failed)) == (Verdict.FAILED, "below_floor")
    value = passed.content["evidence"]["candidate"]["value"]
    close = judged(clicks(), floor=value - 0.001)
    assert (close.verdict, only_code(close)) == (Verdict.INCONCLUSIVE, "too_few_units")
    assert close.content["evidence"]["units_needed"] > 1_000


def test_without_a_champion_and_without_a_floor_nothing_can_be_said():
    result = judged(clicks())
    assert (result.verdict, only_code(result)) == (Verdict.INCONCLUSIVE, "no_champion_and_no_floor")


def test_a_fall_by_many_small_margins_ends_at_the_floor():
    result = judged(clicks(skill=0.1, noise=3), clicks(skill=0.1, noise=4), floor=0.85, margin=0.1)
    assert (result.verdict, only_code(result)) == (Verdict.FAILED, "below_floor")


def test_a_smaller_loss_is_better():
    better, worse = clicks(noise=3), clicks(skill=0.2, noise=4)
    assert judged(better, worse, metric="log_loss").verdict is Verdict.PASSED
    assert judged(worse, better, metric="log_loss").verdict is Verdict.FAILED
    assert judged(worse, metric="log_loss", floor=0.3).reasons[0].code == "below_floor"
    assert judged(better, metric="log_loss", floor=0.69).verdict is Verdict.PASSED


def test_answers_that_do_not_allow_the_figure_fail():
    alike = clicks()
    result = judged(replace(alike, labels=np.zeros(len(alike))))
    assert (result.verdict, only_code(result)) == (Verdict.FAILED, "not_measurable")
    assert "both labels" in result.reasons[0].message


def test_other_requests_cannot_be_compared():
    with pytest.raises(InvalidInputError, match="not the same requests"):
        judged(clicks(seed=1), clicks(seed=5))


def test_a_candidate_that_is_worse_by_the_margin_passes_one_time_in_twenty_at_most():
    """And one that is as good passes 95 times of 100 at the units that the gate names: 400 runs each."""
    rng = np.random.default_rng(11)
    units = 1_083  # deviation of the slack 0.1, distance 0.01: ((1.645 + 1.645) * 0.1 / 0.01)**2

    def share_passed(loss: float) -> float:
        passed = 0
        for _ in range(400):
            champion = rng.normal(0.1, 0.3, units)
            candidate = champion - loss + rng.normal(0.0, 0.1, units)
            # The margin is a share of the champion's value as measured, so it moves with it.
            passed += ndcg(candidate, champion).verdict is Verdict.PASSED
        return passed / 400

    assert share_passed(0.01) <= 0.05 + 2.58 * np.sqrt(0.05 * 0.95 / 400)
    assert share_passed(0.0) >= 0.95 - 2.58 * np.sqrt(0.05 * 0.95 / 400)


def _mean(values) -> ClusteredEstimate:
    return ClusteredEstimate(float(values.mean()), values - values.mean())


UNITS = Units.named(["a", "b"])


def test_figures_of_lists():
    answers, right = [["x", "y", "z"], ["y", "x", "w"]], [["z"], ["x", "q"]]

    def value(metric, at=3):
        return metric_of_lists(metric, answers, right, UNITS, at=at).value

    # One right item in the third place; two right items, one of them in the second place.
    ideal = 1 + 1 / np.log2(3)
    assert value(QualityMetric.NDCG) == pytest.approx((0.5 + (1 / np.log2(3)) / ideal) / 2)
    assert value(QualityMetric.RECALL) == pytest.approx((1.0 + 0.5) / 2)
    assert value(QualityMetric.HIT_RATE) == 1.0
    assert value(QualityMetric.HIT_RATE, at=2) == 0.5
    # Of two right items one place can hold but one.
    for metric in (QualityMetric.RECALL, QualityMetric.NDCG):
        one_place = metric_of_lists(metric, [["x"]], [["x", "q"]], Units.named(["a"]), at=1)
        assert one_place.value == 1.0
    assert value(QualityMetric.RECIPROCAL_RANK) == pytest.approx((1 / 3 + 1 / 2) / 2)
    with pytest.raises(InvalidInputError, match="at least one item"):
        metric_of_lists(QualityMetric.NDCG, [["x"]], [[]], Units.named(["a"]), at=1)
    with pytest.raises(InvalidInputError, match="no figure of lists"):
        value(QualityMetric.BRIER)


def test_figures_of_numbers():
    labels, scores = np.array([1.0, 0.0]), np.array([0.8, 0.4])

    def value(metric, scores=scores, labels=labels):
        return metric_of_numbers(metric, labels, scores, UNITS, threshold=0.5).value

    assert value(QualityMetric.ROC_AUC) == 1.0
    assert value(QualityMetric.AVERAGE_PRECISION) == 1.0
    assert value(QualityMetric.ACCURACY) == 1.0
    assert value(QualityMetric.BRIER) == pytest.approx((0.04 + 0.16) / 2)
    assert value(QualityMetric.LOG_LOSS) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert np.isfinite(value(QualityMetric.LOG_LOSS, np.array([0.0, 1.0])))
    assert value(QualityMetric.ABSOLUTE_ERROR) == pytest.approx(0.3)
    assert value(QualityMetric.SQUARED_ERROR) == pytest.approx(0.1)
    assert value(QualityMetric.RANK_CORRELATION) == pytest.approx(1.0)
    with pytest.raises(InvalidInputError, match="a chance, 0 to 1"):
        value(QualityMetric.BRIER, np.array([1.2, 0.0]))
    with pytest.raises(InvalidInputError, match="0 or 1"):
        value(QualityMetric.ROC_AUC, labels=np.array([2.0, 0.0]))


def test_lists_are_measured_out_of_a_predictions_table():
    count = 120
    texts = np.array([f"r{row}" for row in range(count)], dtype=object)
    offsets = np.arange(count + 1)
    answers = checked(
        Predictions(
            task=Task.RANKING,
            request_ids=texts,
            units=texts,
            at=np.full(count, np.datetime64("2026-01-01", "us")),
            labels=None,
            scores=None,
            item_ids=Lists(np.array(["x", "y"] * count, dtype=object), 2 * offsets),
            item_scores=Lists(np.array([2.0, 1.0] * count), 2 * offsets),
            relevant=Lists(np.array(["x", "y"] * (count // 2), dtype=object), offsets),
            groups={},
        )
    )
    wanted = replace(
        specification(), task=Task.RANKING, quality=QualityPolicy(metric=QualityMetric.HIT_RATE, at=1)
    )
    evidence = collect_quality("m@1", wanted, answers)
    assert evidence.candidate is not None
    assert evidence.candidate.value == 0.5
    assert (evidence.at, evidence.units, evidence.requests) == (1, count, count)
