"""The table of evaluation requests: the same from CSV and Parquet, and what is wrong named by its column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates import request_table
from streamrec.gates.request_table import checked_request_table, read_request_table, shown_to_predictor


def made():
    return pd.DataFrame(
        {
            "request_id": ["b", "a", "c"],
            "unit": ["1", "2", "1"],
            "at": pd.to_datetime(["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"]),
            "split": ["train", "train", "validation"],
            "label": [0.0, 1.0, 1.0],
            "price": [1.5, 2.0, 2.5],
            "group.country": ["NA", None, "no"],
        }
    )


def test_csv_and_parquet_give_the_same_table(tmp_path):
    made().to_csv(tmp_path / "t.csv", index=False)
    made().to_parquet(tmp_path / "t.parquet", index=False)
    first = read_request_table(tmp_path / "t.csv", Task.CLASSIFICATION)
    second = read_request_table(tmp_path / "t.parquet", Task.CLASSIFICATION)
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert first.frame["request_id"].tolist() == ["a", "b", "c"]
    assert first.frame["group.country"].tolist() == [None, "NA", "no"]
    assert first.attributes == ("country",)
    assert (len(first.training), len(first.validation)) == (2, 1)


def test_a_list_in_csv_is_split_by_bars(tmp_path):
    frame = made().drop(columns=["label"]).assign(relevant=["i|j", "", "k"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    read = read_request_table(tmp_path / "t.csv", Task.RANKING)
    assert read.frame["relevant"].tolist() == [[], ["i", "j"], ["k"]]


def test_a_predictor_does_not_see_what_is_true():
    shown = shown_to_predictor(checked_request_table(made(), Task.CLASSIFICATION).validation)
    assert list(shown.columns) == ["request_id", "unit", "at", "price"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": None}, "label"),
        ({"request_id": None}, "request_id"),
        ({"request_id": ["a", "a", "b"]}, "request_id"),
        ({"request_id": ["a", "", "b"]}, "request_id"),
        ({"unit": ["a", None, "b"]}, "unit"),
        ({"split": ["train", "test", "validation"]}, "split"),
        ({"label": [0.0, 2.0, 1.0]}, "label"),
        ({"label": [0.0, np.nan, 1.0]}, "label"),
        ({"label": ["yes", "no", "no"]}, "label"),
        ({"at": [1, 2, 3]}, "at"),
        ({"at": ["soon", "later", "never"]}, "at"),
    ],
)
def test_what_is_wrong_is_named_by_its_column(change, field):
    frame = made()
    for name, values in change.items():
        frame = frame.drop(columns=[name])
        if values is not None:
            frame[name] = values
    with pytest.raises(InvalidInputError) as refused:
        checked_request_table(frame, Task.CLASSIFICATION)
    assert refused.value.field == field


def test_a_file_that_is_none_is_refused_by_its_place(tmp_path):
    with pytest.raises(InvalidInputError, match=r"evaluation\.requests: there is no file"):
        read_request_table(tmp_path / "missing.csv", Task.CLASSIFICATION)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInputError, match=r"evaluation\.requests: .* cannot be read"):
        read_request_table(tmp_path / "bad.parquet", Task.CLASSIFICATION)
    made().drop(columns=["unit"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"evaluation\.requests\.unit: is missing"):
        read_request_table(tmp_path / "t.csv", Task.CLASSIFICATION)


def test_more_rows_than_may_be_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(request_table, "MAXIMUM_ROWS", 2)
    made().to_csv(tmp_path / "t.csv", index=False)
    made().to_parquet(tmp_path / "t.parquet", index=False)
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(InvalidInputError, match="rows"):
            read_request_table(tmp_path / name, Task.CLASSIFICATION)
