from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.quality_policy import QualityMetric, SkewPolicy
from streamrec.gates.skew.features import ColumnSkew, compare_features, rows_to_pass, same_value
from streamrec.gates.skew.judgement import Replay, ServedFrom, SkewEvidence, judge_skew
from streamrec.stats.clustered import ClusteredEstimate, Units, clustered_area_under_curve

POLICY = SkewPolicy()


def table(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "country": np.array(["de", "fi", "jp"])[rng.integers(0, 3, rows)],
            "clicks_7d": rng.poisson(4.0, rows).astype(float),
            "history": [[f"i{row}", f"i{row + 1}"] for row in range(rows)],
        },
        index=[f"r{row}" for row in range(rows)],
    )


def judged(columns, policy: SkewPolicy = POLICY, replay: Replay | None = None):
    return judge_skew(SkewEvidence("ads@2", ServedFrom.LOG, columns, 400, replay), policy)


def codes(result) -> list[str]:
    return [found.code for found in result.reasons]


def paths(result) -> list[str]:
    return [found.path for found in result.reasons]


def test_the_same_features_pass_and_the_result_says_that_features_alone_were_judged():
    result = judged(compare_features(table(), table()))
    assert result.verdict is Verdict.PASSED
    assert codes(result) == ["features_alone"]
    assert [column["share"] for column in result.content["evidence"]["features"]] == [0.0, 0.0, 0.0]


def test_the_columns_that_differ_are_named_worst_first_with_an_example():
    served = table()
    served.loc[served.index[:80], "clicks_7d"] += 1.0
    served.loc[served.index[:20], "country"] = "unknown"
    result = judged(compare_features(table(), served))
    assert result.verdict is Verdict.FAILED
    assert paths(result)[:2] == ["features.clicks_7d", "features.country"]
    assert codes(result)[:2] == ["feature_skew", "feature_skew"]
    assert "differs in 80 of 400 rows (20.0%, at most 1.0% may)" in result.reasons[0].message
    assert "'unknown' served" in result.reasons[1].message


@pytest.mark.parametrize(
    ("spoil", "code", "path"),
    [
        (lambda served: served.drop(columns="clicks_7d"), "feature_missing", "features.clicks_7d"),
        (
            lambda served: served.rename(columns={"clicks_7d": "clicks"}),
            "feature_missing",
            "features.clicks",
        ),
        (lambda served: served.assign(clicks_7d=served["clicks_7d"].astype(str)), "feature_skew", None),
        (lambda served: served.assign(clicks_7d=None), "feature_skew", None),
    ],
    ids=["dropped", "renamed", "retyped", "all null"],
)
def test_a_column_that_is_dropped_renamed_retyped_or_empty_blocks(spoil, code, path):
    result = judged(compare_features(table(), spoil(table())))
    assert result.verdict is Verdict.FAILED
    assert codes(result)[0] == code
    assert path is None or path in paths(result)


def test_a_column_that_is_missing_blocks_however_few_rows_there_are():
    few = table(20)
    result = judged(compare_features(few, few.drop(columns="country")))
    assert (result.verdict, codes(result)[0]) == (Verdict.FAILED, "feature_missing")


def test_too_few_rows_decide_nothing_and_it_is_said_how_many_would():
    few = table(100)
    result = judged(compare_features(few, few))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert set(codes(result)) == {"too_few_rows", "features_alone"}
    enough = rows_to_pass(0.01, 0.95)
    assert f"{enough:,} rows would decide it" in result.reasons[0].message
    assert judged((ColumnSkew("a", enough, 0),)).verdict is Verdict.PASSED
    assert judged((ColumnSkew("a", enough - 1, 0),)).verdict is Verdict.INCONCLUSIVE


def test_a_share_at_the_limit_passes_one_time_in_twenty_at_most_and_rarely_fails():
    rng = np.random.default_rng(4)
    verdicts = [
        judged(tuple(ColumnSkew(f"c{c}", 1_500, int(rng.binomial(1_500, 0.01))) for c in range(4))).verdict
        for _ in range(500)
    ]
    share = {verdict: verdicts.count(verdict) / 500 for verdict in Verdict}
    assert share[Verdict.PASSED] <= 0.05
    assert share[Verdict.FAILED] <= 0.05 + 2.58 * np.sqrt(0.05 * 0.95 / 500)


def test_values_are_compared_as_what_they_mean():
    assert same_value(1, 1.0)
    assert same_value(np.float32(0.1), 0.1)
    assert same_value(None, float("nan"))
    assert same_value(np.array(["a", "b"]), ("a", "b"))
    assert same_value({"a": [1]}, {"a": [1.0]})
    assert not same_value("1", 1)
    assert not same_value(True, 1)
    assert not same_value(None, 0.0)
    assert not same_value(["a", "b"], ["b", "a"])
    assert not same_value(["a"], "a")
    assert not same_value({"a": 1}, {"b": 1})


def test_tables_of_other_rows_are_refused():
    with pytest.raises(InvalidInputError, match="rows of the trained"):
        compare_features(table(), table().iloc[::-1])
    with pytest.raises(InvalidInputError, match="no feature"):
        compare_features(table(), table(), ignored=("country", "clicks_7d", "history"))


def replay(skew: float, *, rows: int = 3_000, claimed_skill: float = 1.0) -> Replay:
    """A click model over logged requests: ``skew`` is noise that the features have only as served."""
    rng = np.random.default_rng(7)
    signal = rng.normal(size=rows)
    labels = rng.random(rows) < 1 / (1 + np.exp(-2.0 * signal))
    units = Units.named([f"u{row // 3}" for row in range(rows)])
    served = signal + skew * np.random.default_rng(8).normal(size=rows)
    other = np.random.default_rng(9)
    offline_signal = other.normal(size=rows)
    offline = other.random(rows) < 1 / (1 + np.exp(-2.0 * claimed_skill * offline_signal))
    return Replay(
        QualityMetric.ROC_AUC,
        None,
        rows,
        clustered_area_under_curve(served, labels, units),
        clustered_area_under_curve(signal, labels, units),
        clustered_area_under_curve(offline_signal, offline, units),
    )


SAME = (ColumnSkew("clicks_7d", 3_000, 0),)


def test_without_skew_the_replayed_metric_loses_nothing():
    result = judged(SAME, replay=replay(0.0))
    assert result.verdict is Verdict.PASSED
    assert result.content["evidence"]["replay"]["lost"]["value"] == 0.0
    assert codes(result) == []


def test_a_skew_that_costs_a_fifth_of_the_metric_is_found():
    found = replay(1.4)
    lost = 1.0 - found.as_served.value / found.as_trained.value
    assert 0.17 <= lost <= 0.23
    result = judged((ColumnSkew("clicks_7d", 3_000, 2_990, example="2 served, 3 trained"),), replay=found)
    assert result.verdict is Verdict.FAILED
    assert codes(result) == ["feature_skew", "metric_lost_to_skew", "claim_not_reached"]
    assert "over 3,000 logged requests roc_auc is" in result.reasons[1].message


def test_a_claim_that_logged_traffic_disproves_fails_without_any_skew():
    result = judged(SAME, replay=replay(0.0, claimed_skill=6.0))
    assert (result.verdict, codes(result)) == (Verdict.FAILED, ["claim_not_reached"])
    # Lists are not judged by it: what was not shown cannot be taken up.
    listed = replace(replay(0.0, claimed_skill=6.0), metric=QualityMetric.NDCG, at=10)
    result = judged(SAME, replay=listed)
    assert result.verdict is Verdict.PASSED
    assert result.content["evidence"]["replay"]["claim_judged"] is False


@pytest.mark.parametrize("served_value", [0.5, 0.47], ids=["no loss seen", "a loss seen that may be chance"])
def test_a_loss_that_few_outcomes_do_not_decide_is_inconclusive(served_value):
    rng = np.random.default_rng(5)
    trained = rng.random(60)
    served = trained + rng.normal(0.0, 0.5, 60)
    few = Replay(
        QualityMetric.NDCG,
        10,
        60,
        ClusteredEstimate(served_value, served - served.mean()),
        ClusteredEstimate(0.5, trained - trained.mean()),
        None,
    )
    result = judged(SAME, replay=few)
    assert (result.verdict, codes(result)) == (Verdict.INCONCLUSIVE, ["too_few_outcomes"])
    assert ("units would decide it" in result.reasons[0].message) == (served_value == 0.5)


def test_a_model_whose_requests_bring_all_features_passes_and_the_result_says_so():
    result = judge_skew(SkewEvidence("toxicity@1", ServedFrom.REQUESTS, ()), POLICY)
    assert (result.verdict, codes(result)) == (Verdict.PASSED, ["features_in_requests"])
