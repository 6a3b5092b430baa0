"""Fairness beside the other gates, and groups of items out of a data folder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.fairness.item_groups import read_item_groups
from tests.judged_versions import codes, contender, judged, of_gate
from tests.small_spoke import made_table


def with_policy(candidate, policy):
    specification = dataclasses.replace(candidate.specification, fairness=policy, no_sensitive_attributes="")
    return dataclasses.replace(candidate, specification=specification)


def table_of_two_shops(worse_in_the_second):
    table = made_table(5_000)
    second = np.arange(len(table)) % 2 == 1
    frame = table.assign(**{"group.shop": np.where(second, "second", "first")})
    if worse_in_the_second:
        # There, what the model goes by means the opposite.
        frame.loc[second, ["price", "rank"]] *= -1.0
    return frame


POLICY = FairnessPolicy(attributes=("shop",), metrics={FairnessMetric.TPR: 0.2})


@pytest.mark.parametrize(("worse", "verdict"), [(False, Verdict.PASSED), (True, Verdict.FAILED)])
def test_a_version_is_judged_by_its_policy(tmp_path, worse, verdict):
    candidate = with_policy(contender(tmp_path), POLICY)
    report = judged(candidate, frame=table_of_two_shops(worse))
    result = of_gate(report, GateName.FAIRNESS)
    assert result.verdict is verdict
    assert set(result.content["evidence"]["groups"]) == {"shop=first", "shop=second"}


def test_a_table_without_the_attribute_blocks(tmp_path):
    report = judged(with_policy(contender(tmp_path), POLICY), frame=made_table(1_000))
    assert codes(report, GateName.FAIRNESS) == ["attribute_missing"]
    assert report.verdict is Verdict.INCONCLUSIVE


def test_items_say_which_group_they_belong_to(tmp_path):
    items = pd.DataFrame(
        {"item_id": ["a", "b", "c"], "creator_language": ["fr", None, "unknown"], "title": ["x", "y", "z"]}
    )
    items.to_parquet(tmp_path / "items.parquet")
    policy = FairnessPolicy(attributes=("creator_language", "age_band"))
    found = read_item_groups(tmp_path, policy)
    assert found == {"creator_language": {"a": "fr", "b": "(missing)", "c": "(missing)"}}
    assert read_item_groups(tmp_path, policy, of_units=("creator_language",)) == {}
    assert read_item_groups(None, policy) == {}
    (tmp_path / "items.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_item_groups(tmp_path, policy)
