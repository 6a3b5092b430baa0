"""The validation gate: what a version was trained on is found in the data, whatever anybody says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.checks.validation import collect_validation, judge_validation
from streamrec.gates.request_table import checked_request_table
from streamrec.training.training_rows import TRAINING_ROWS_FILE
from tests.judged_versions import contender, training_rows_of
from tests.small_spoke import made_table

FEW = 200


def result_of(candidate, frame, training=None):
    table = checked_request_table(frame, candidate.specification.task)
    rules = candidate.specification.evaluation
    return judge_validation(collect_validation(candidate, table, training), rules)


def codes(result):
    return [reason.code for reason in result.reasons]


def test_a_split_by_time_passes(tmp_path):
    result = result_of(contender(tmp_path), made_table(FEW))
    assert (result.verdict, codes(result)) == (Verdict.PASSED, [])
    assert result.content["evidence"]["training_rows_in_data"]["shared"] == 0


def test_rows_in_both_splits_are_found(tmp_path):
    frame = made_table(FEW)
    again = frame[frame["split"] == "validation"].head(5).assign(split="train")
    again["request_id"] = "again-" + again["request_id"]
    result = result_of(contender(tmp_path), pd.concat([frame, again]))
    assert "evaluated_on_training_data" in codes(result)
    assert "5 of 100" in result.reasons[0].message


def test_rows_under_other_units_and_times_are_found_by_what_they_say(tmp_path):
    frame = made_table(FEW)
    again = frame[frame["split"] == "validation"].head(20).assign(split="train", unit="somebody")
    again["request_id"] = "again-" + again["request_id"]
    again["at"] = again["at"] - pd.Timedelta(days=1)
    result = result_of(contender(tmp_path), pd.concat([frame, again]))
    assert codes(result) == ["training_rows_repeated"]


def test_rows_that_are_often_alike_are_no_sign_of_anything(tmp_path):
    frame = made_table(FEW).assign(price=1.0)
    frame["rank"] = np.arange(FEW) % 3
    assert result_of(contender(tmp_path), frame).verdict is Verdict.PASSED


def test_a_future_that_was_known_is_found(tmp_path):
    frame = made_table(FEW)
    frame["split"] = np.where(np.arange(FEW) % 2, "train", "validation")
    assert codes(result_of(contender(tmp_path), frame)) == ["not_in_time_order"]


def changed_evaluation(candidate, **changes):
    document = candidate.specification.to_json()
    document["evaluation"] |= changes
    return replace(candidate, specification=ModelSpecification.from_json(document))


def test_each_units_last_rows_may_be_held_out_where_the_specification_says_so(tmp_path):
    frame = made_table(FEW)
    frame["unit"] = [f"u{number // 2}" for number in range(FEW)]
    frame["split"] = np.where(np.arange(FEW) % 2, "validation", "train")
    by_time = contender(tmp_path)
    assert codes(result_of(by_time, frame)) == ["not_in_time_order"]
    by_unit = changed_evaluation(by_time, order="unit")
    assert result_of(by_unit, frame).verdict is Verdict.PASSED
    frame["split"] = np.where(np.arange(FEW) % 2, "train", "validation")
    assert codes(result_of(by_unit, frame)) == ["not_in_time_order"]


@pytest.fixture
def carrying(tmp_path):
    def make(frame):
        candidate = contender(tmp_path)
        training_rows_of(frame).write(candidate.artifact)
        return candidate

    return make


def test_what_the_artifact_was_trained_on_is_believed_and_not_the_table(carrying):
    frame = made_table(FEW)
    result = result_of(carrying(frame), frame)
    assert codes(result) == ["evaluated_on_training_data", "not_in_time_order"]
    assert "100 of 100" in result.reasons[0].message
    honest = result_of(carrying(frame[frame["split"] == "train"]), frame)
    assert honest.verdict is Verdict.PASSED


def test_one_leaked_row_of_the_artifact_is_enough(carrying):
    frame = made_table(FEW)
    leaked = frame[(frame["split"] == "train") | (frame["request_id"] == "r150")]
    result = result_of(carrying(leaked), frame)
    assert "1 of 100" in result.reasons[0].message
    assert "r150" in result.reasons[0].message


def test_nothing_is_known_of_training(tmp_path):
    frame = made_table(FEW)
    only = frame[frame["split"] == "validation"]
    assert codes(result_of(contender(tmp_path), only)) == ["training_rows_unknown"]
    named = result_of(contender(tmp_path), only, training=frame[frame["split"] == "train"])
    assert named.verdict is Verdict.PASSED


def test_a_table_without_validation_is_inconclusive(tmp_path):
    result = result_of(contender(tmp_path), made_table(FEW).assign(split="train"))
    assert (result.verdict, codes(result)) == (Verdict.INCONCLUSIVE, ["no_validation_rows"])


def test_validation_from_is_held(tmp_path):
    late = changed_evaluation(contender(tmp_path), validation_from="2026-06-01T00:00:00Z")
    assert codes(result_of(late, made_table(FEW))) == ["before_validation"]


def test_damaged_training_rows_are_no_excuse(tmp_path):
    candidate = contender(tmp_path)
    (candidate.artifact / TRAINING_ROWS_FILE).write_bytes(b"PK")
    assert codes(result_of(candidate, made_table(FEW))) == ["training_rows_damaged"]
