"""Failure case 28: the fairness gate over predictions tables, with Fairlearn beside the counts."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.fairness import evidence as evidence_module
from streamrec.gates.fairness.evidence import collect_fairness
from streamrec.gates.fairness.judgement import judge_fairness
from streamrec.gates.fairness.thresholds import GroupThresholds
from tests.made_predictions import classified, toxic_and_not

POLICY = FairnessPolicy(attributes=("language",))
SAME = {"de": 0.8, "fr": 0.8, "hi": 0.8}


def judged(predictions, policy=POLICY):
    return judge_fairness(collect_fairness("toxicity@2", predictions, policy))


def table(tpr, rows=9_000, **more):
    labels, scores, languages = toxic_and_not(rows, tpr)
    return classified(labels, scores, {"language": languages}, **more)


def test_a_model_that_errs_alike_passes():
    result = judged(table(SAME))
    assert result.verdict is Verdict.PASSED
    assert result.content["gate"] == "fairness"
    canonical_json(result.to_json())
    for found in result.content["evidence"]["differences"]:
        assert -found["tolerance"] < found["low"] <= found["high"] < found["tolerance"]


def test_a_model_that_misses_more_in_one_language_is_blocked_and_shown_the_way_back():
    result = judged(table({**SAME, "hi": 0.5}))
    assert result.verdict is Verdict.FAILED
    assert (result.reasons[0].code, result.reasons[0].path) == ("unfair", "differences.tpr.language=hi")
    mitigation = result.content["evidence"]["mitigation"]
    assert result.reasons[-1].code == "mitigation"
    assert mitigation["before"]["largest_excess"] > 2.0
    assert mitigation["after"]["largest_excess"] <= 1.0


def test_fitted_thresholds_pass_on_rows_that_they_were_not_fitted_on():
    rng = np.random.default_rng(6)
    rows = 16_000
    languages = rng.permutation(np.resize(["de", "hi"], rows))
    labels = rng.integers(0, 2, rows).astype(float)
    # In Hindi all scores lie lower: one threshold for all misses more there, one of its own does not.
    scores = np.clip(0.35 + 0.3 * labels - 0.15 * (languages == "hi") + rng.normal(0.0, 0.12, rows), 0.0, 1.0)
    half = rows // 2
    fitted = judged(classified(labels[:half], scores[:half], {"language": languages[:half]}))
    assert fitted.verdict is Verdict.FAILED
    document = fitted.content["evidence"]["mitigation"]["thresholds"]
    thresholds = GroupThresholds(**{**document, "attributes": tuple(document["attributes"])})
    fresh = classified(labels[half:], scores[half:], {"language": languages[half:]})
    assert judged(fresh).verdict is Verdict.FAILED
    part = next(iter(evidence_module.partitions(fresh.groups, POLICY)))
    moved = classified(fresh.labels, thresholds.applied(fresh.scores, part), {"language": languages[half:]})
    assert judged(moved).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("groups", "code"),
    [
        ({}, "attribute_missing"),
        ({"language": [None] * 4_000}, "attribute_missing"),
        ({"language": ["de"] * 4_000}, "one_group_only"),
    ],
    ids=["no column", "null for everybody", "the same for everybody"],
)
def test_without_groups_nothing_passes(groups, code):
    labels, scores, _ = toxic_and_not(4_000, SAME)
    result = judged(classified(labels, scores, groups))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in result.reasons] == [code]


def test_a_small_group_is_inconclusive_and_says_how_many_rows_it_takes():
    labels, scores, languages = toxic_and_not(9_000, SAME)
    languages = languages.astype(object)
    languages[:60] = "sw"
    result = judged(classified(labels, scores, {"language": languages}))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {reason.code for reason in result.reasons} == {"group_too_small"}
    assert "rows of each of the two groups" in result.reasons[0].message


def test_a_group_that_the_policy_knows_and_the_data_does_not_is_inconclusive():
    policy = FairnessPolicy(attributes=("language",), groups={"language": ("de", "ar")})
    result = judged(table(SAME), policy)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {reason.code for reason in result.reasons} == {"group_missing"}
    absent = [found for found in result.content["evidence"]["differences"] if found["value"] is None]
    assert {found["groups"][0] for found in absent} == {"language=ar"}
    assert all(found["samples_needed"] >= 100 for found in absent)


def test_who_hides_the_group_that_is_treated_worst_is_found():
    labels, scores, languages = toxic_and_not(9_000, {**SAME, "hi": 0.4})
    hidden = [None if language == "hi" else language for language in languages]
    result = judged(classified(labels, scores, {"language": hidden}))
    assert result.verdict is Verdict.FAILED
    assert result.reasons[0].path == "differences.tpr.language=(missing)"


def test_only_an_intersection_that_is_treated_worse_is_found():
    rng = np.random.default_rng(3)
    rows = 14_000
    sex, age = rng.choice(["F", "M"], rows), rng.choice(["old", "young"], rows)
    labels = rng.integers(0, 2, rows).astype(float)
    crossed = (sex == "F") == (age == "old")
    yes = rng.uniform(size=rows) < np.where(labels == 1.0, np.where(crossed, 0.6, 0.85), 0.1)
    predictions = classified(labels, np.where(yes, 0.9, 0.1), {"sex": sex, "age": age})
    alone = FairnessPolicy(attributes=("sex", "age"))
    assert judged(predictions, alone).verdict is Verdict.PASSED
    both = FairnessPolicy(attributes=("sex", "age"), intersections=(("sex", "age"),))
    assert judged(predictions, both).verdict is Verdict.FAILED


def test_rows_of_one_user_repeat_each_other():
    labels, scores, languages = toxic_and_not(1_500, SAME)
    repeated = classified(
        np.repeat(labels, 8), np.repeat(scores, 8), {"language": np.repeat(languages, 8)}, rows_per_unit=8
    )
    once = judged(classified(labels, scores, {"language": languages}))
    again = judged(repeated)
    assert once.verdict is again.verdict is Verdict.INCONCLUSIVE
    for first, second in zip(
        once.content["evidence"]["differences"], again.content["evidence"]["differences"], strict=True
    ):
        assert second["high"] - second["low"] == pytest.approx(first["high"] - first["low"], rel=0.02)
        assert second["samples_needed"] > 7 * first["samples_needed"]


def test_metrics_that_do_not_fit_the_task_are_inconclusive():
    policy = FairnessPolicy(attributes=("language",), metrics={FairnessMetric.NDCG: 0.1})
    assert [reason.code for reason in judged(table(SAME), policy).reasons] == ["metric_not_measurable"]
    no_threshold = judged(
        table(SAME, task=Task.SCORE),
        FairnessPolicy(attributes=("language",), metrics={FairnessMetric.TPR: 0.1}),
    )
    assert [reason.code for reason in no_threshold.reasons] == ["threshold_missing"]


def test_calibration_by_group():
    rng = np.random.default_rng(5)
    rows = 6_000
    languages = rng.choice(["de", "fr"], rows)
    chance = rng.uniform(0.1, 0.9, rows)
    labels = (rng.uniform(size=rows) < chance).astype(float)
    policy = FairnessPolicy(attributes=("language",), metrics={FairnessMetric.CALIBRATION: 0.1})
    assert judged(classified(labels, chance, {"language": languages}), policy).verdict is Verdict.PASSED
    off = np.clip(chance - 0.2 * (languages == "fr"), 0.0, 1.0)
    assert judged(classified(labels, off, {"language": languages}), policy).verdict is Verdict.FAILED


def test_rates_that_fairlearn_does_not_find_decide_nothing(monkeypatch):
    from streamrec.gates.fairness import fairlearn_rates

    honest = fairlearn_rates.rates_by_group

    def off(part, labels, selected):
        return {
            name: {**rates, "tpr": rates["tpr"] + 1e-6}
            for name, rates in honest(part, labels, selected).items()
        }

    monkeypatch.setattr(fairlearn_rates, "rates_by_group", off)
    result = judged(table(SAME))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {reason.code for reason in result.reasons} == {"rates_disagree"}
