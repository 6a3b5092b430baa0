"""What groups of users get from rankings, and which groups of items are shown."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.gates.fairness.evidence import collect_fairness
from streamrec.gates.fairness.judgement import judge_fairness
from tests.made_predictions import ranked

ITEMS = [f"i{number}" for number in range(20)]
LANGUAGE = {item: "fr" if number < 10 else "de" for number, item in enumerate(ITEMS)}


def slates(users: int, *, first_place: dict[str, float], seed=0):
    """One slate a request, four requests a user; the right item comes first more or less often."""
    rng = np.random.default_rng(seed)
    items, relevant, bands = [], [], []
    for user in range(users):
        band = ("young", "old")[user % 2]
        for _ in range(4):
            slate = [ITEMS[number] for number in rng.permutation(20)[:10]]
            right = slate[0] if rng.uniform() < first_place[band] else slate[int(rng.integers(5, 10))]
            items.append(slate)
            relevant.append([right])
            bands.append(band)
    return items, relevant, bands


def judged(items, relevant, groups, policy, *, rows_per_unit=4, **more):
    predictions = ranked(items, relevant, groups, rows_per_unit=rows_per_unit)
    return judge_fairness(collect_fairness("shop-ranking@3", predictions, policy, **more))


def test_groups_that_get_the_same_pass_and_one_that_gets_less_fails():
    policy = FairnessPolicy(attributes=("age_band",), metrics={FairnessMetric.NDCG: 0.1})
    items, relevant, bands = slates(300, first_place={"young": 0.5, "old": 0.5})
    assert judged(items, relevant, {"age_band": bands}, policy).verdict is Verdict.PASSED
    items, relevant, bands = slates(300, first_place={"young": 0.8, "old": 0.4})
    result = judged(items, relevant, {"age_band": bands}, policy)
    assert result.verdict is Verdict.FAILED
    assert result.reasons[0].code == "unfair"
    assert result.reasons[0].path in (
        "differences.ndcg.age_band=old",
        "differences.ndcg.age_band=young",
    )


def test_requests_of_one_user_count_as_one():
    policy = FairnessPolicy(
        attributes=("age_band",), metrics={FairnessMetric.NDCG: 0.1}, minimum_group_size=20
    )
    items, relevant, bands = slates(40, first_place={"young": 0.5, "old": 0.5})
    alone = judged(items, relevant, {"age_band": bands}, policy).content["evidence"]["differences"][0]
    repeated = judged(
        [row for row in items for _ in range(4)],
        [row for row in relevant for _ in range(4)],
        {"age_band": [band for band in bands for _ in range(4)]},
        policy,
        rows_per_unit=16,
    ).content["evidence"]["differences"][0]
    assert (repeated["low"], repeated["high"]) == pytest.approx((alone["low"], alone["high"]))


def test_the_skewness_of_a_difference_is_that_of_what_each_user_gets():
    policy = FairnessPolicy(
        attributes=("age_band",), metrics={FairnessMetric.NDCG: 0.1}, minimum_group_size=20
    )
    items, relevant, bands = slates(60, first_place={"young": 0.1, "old": 0.9})
    predictions = ranked(items, relevant, {"age_band": bands}, rows_per_unit=4)
    found = collect_fairness("shop-ranking@3", predictions, policy).comparisons[0]
    gains = np.array(
        [1.0 / np.log2(2 + row.index(right[0])) for row, right in zip(items, relevant, strict=True)]
    )
    of_users = gains.reshape(60, 4).mean(axis=1)
    own, reference = (of_users[start::2] for start in ((1, 0) if found.group.endswith("old") else (0, 1)))
    thirds = [((part - part.mean()) ** 3).mean() / 30**2 for part in (own, reference)]
    error = np.hypot(*(part.std(ddof=1) / np.sqrt(30) for part in (own, reference)))
    assert found.mean.value == pytest.approx(own.mean() - reference.mean())
    assert found.mean.skewness == pytest.approx(
        (thirds[0] - thirds[1]) / (6.0 * found.mean.standard_error**3)
    )
    assert found.mean.standard_error >= error * 0.999


def test_exposure_is_attention_for_merit():
    policy = FairnessPolicy(
        attributes=("language",), metrics={FairnessMetric.EXPOSURE: 0.2}, minimum_group_size=10
    )
    # French items are half of what is right, and always stand in the first five places.
    items = [[*ITEMS[:5], *ITEMS[10:15]]] * 200
    relevant = [[ITEMS[0]] if row % 2 else [ITEMS[10]] for row in range(200)]
    result = judged(items, relevant, {}, policy, item_groups={"language": LANGUAGE})
    attention = 1.0 / np.log2(np.arange(2, 12))
    expected = attention[:5].sum() / attention.sum() / 0.5
    groups = result.content["evidence"]["groups"]
    assert groups["language=fr"]["exposure"]["value"] == pytest.approx(expected)
    assert groups["language=de"]["exposure"]["value"] == pytest.approx(2.0 - expected)
    assert result.verdict is Verdict.FAILED


def test_a_language_that_is_never_wanted_or_shown_is_inconclusive():
    policy = FairnessPolicy(attributes=("language",), metrics={FairnessMetric.EXPOSURE: 0.2})
    rng = np.random.default_rng(4)
    items = [[ITEMS[number] for number in rng.permutation(20)[:10]] for _ in range(400)]
    relevant = [[ITEMS[row % 2 * 10]] for row in range(400)]
    fair = judged(items, relevant, {}, policy, item_groups={"language": LANGUAGE})
    assert fair.verdict is Verdict.PASSED
    hidden = judged(items, relevant, {}, policy, item_groups={"language": {**LANGUAGE, "i99": "sw"}})
    assert hidden.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in hidden.reasons] == ["group_missing"]
    assert "language=sw" in hidden.reasons[0].path


def test_exposure_without_groups_of_items_is_not_passed_over():
    policy = FairnessPolicy(attributes=("age_band",), metrics={FairnessMetric.EXPOSURE: 0.2})
    items, relevant, bands = slates(60, first_place={"young": 0.5, "old": 0.5})
    result = judged(items, relevant, {"age_band": bands}, policy)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert {reason.code for reason in result.reasons} >= {"attribute_missing"}
