"""The predictions table: what is written is read, and what a gate could not rely on is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.predictions import (
    Lists,
    Predictions,
    checked,
    read_predictions,
    with_answers,
    write_predictions,
)


def texts(*values):
    return np.array(values, dtype=object)


def scored() -> Predictions:
    return Predictions(
        task=Task.CLASSIFICATION,
        request_ids=texts("a", "b", "c"),
        units=texts("u", "v", "u"),
        at=np.array(["2026-01-01", "2026-01-02", "2026-01-03"], dtype="datetime64[us]"),
        labels=np.array([0.0, 1.0, 0.0]),
        scores=np.array([0.1, 0.9, 0.4]),
        item_ids=None,
        item_scores=None,
        relevant=None,
        groups={"country": texts("no", None, "se")},
    )


def listed() -> Predictions:
    return replace(
        scored(),
        task=Task.RANKING,
        labels=None,
        scores=None,
        item_ids=Lists(texts("i", "j", "k", "i"), np.array([0, 2, 2, 4])),
        item_scores=Lists(np.array([2.0, 1.0, 5.0, 5.0]), np.array([0, 2, 2, 4])),
        relevant=Lists(texts("j", "q"), np.array([0, 1, 1, 2])),
    )


@pytest.mark.parametrize("made", [scored, listed])
def test_what_is_written_is_read(made, tmp_path):
    written = made()
    write_predictions(written, tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    read.paired_with(written)
    assert read.task is written.task
    assert read.groups["country"].tolist() == ["no", None, "se"]
    for name in ("item_ids", "item_scores", "relevant"):
        mine, theirs = getattr(read, name), getattr(written, name)
        if theirs is not None:
            assert [row.tolist() for row in mine] == [row.tolist() for row in theirs]
    if written.scores is not None:
        assert read.scores.tolist() == written.scores.tolist()


def rows_of(predictions: Predictions, *rows: int) -> Predictions:
    """Only some of the requests, in their order."""
    chosen = list(rows)
    cut = {}
    for name in ("item_ids", "item_scores", "relevant"):
        lists = getattr(predictions, name)
        if lists is not None:
            kept = [lists[row] for row in chosen]
            cut[name] = Lists(np.concatenate(kept), np.cumsum([0, *map(len, kept)]))
    for name in ("request_ids", "units", "at", "labels", "scores"):
        values = getattr(predictions, name)
        cut[name] = None if values is None else values[chosen]
    return replace(predictions, groups={}, **cut)


def test_some_answers_are_replaced_by_others():
    numbers = rows_of(replace(scored(), scores=np.array([0.2, 0.3, 0.5])), 0, 2)
    changed = with_answers(scored(), numbers, np.array([True, False, True]))
    assert changed.scores.tolist() == [0.2, 0.9, 0.5]
    other = replace(
        listed(),
        item_ids=Lists(texts("z", "x", "y", "w"), np.array([0, 1, 3, 4])),
        item_scores=Lists(np.array([9.0, 8.0, 7.0, 6.0]), np.array([0, 1, 3, 4])),
    )
    changed = with_answers(listed(), rows_of(other, 1, 2), np.array([False, True, True]))
    assert [row.tolist() for row in changed.item_ids] == [["i", "j"], ["x", "y"], ["w"]]
    assert [row.tolist() for row in changed.item_scores] == [[2.0, 1.0], [8.0, 7.0], [6.0]]
    assert len(checked(changed)) == 3
    with pytest.raises(InvalidInputError, match="not the requests of these rows"):
        with_answers(scored(), numbers, np.array([True, True, False]))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("score", {"scores": np.array([0.1, np.nan, 0.4])}),
        ("score", {"scores": np.array([0.1, np.inf, 0.4])}),
        ("score", {"scores": np.array([0.1, 0.4])}),
        ("label", {"labels": np.array([0.0, 2.0, 0.0])}),
        ("request_id", {"request_ids": texts("a", "a", "c")}),
        ("request_id", {"request_ids": texts("a", "", "c")}),
        ("unit", {"units": texts("a", None, "c")}),
        ("at", {"at": np.array(["2026-01-01", "NaT", "2026-01-03"], dtype="datetime64[us]")}),
        ("group.country", {"groups": {"country": texts("no")}}),
    ],
)
def test_a_wrong_number_or_text_is_refused_by_its_column(field, change):
    with pytest.raises(InvalidInputError) as refused:
        checked(replace(scored(), **change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("scores", {"item_scores": Lists(np.array([1.0, 2.0, 5.0, 5.0]), np.array([0, 2, 2, 4]))}),
        ("scores", {"item_scores": Lists(np.array([2.0, 1.0, 5.0]), np.array([0, 2, 2, 3]))}),
        ("scores", {"item_scores": Lists(np.array([2.0, np.nan, 5.0, 4.0]), np.array([0, 2, 2, 4]))}),
        ("item_ids", {"item_ids": Lists(texts("i", "i", "k", "i"), np.array([0, 2, 2, 4]))}),
        ("relevant", {"relevant": Lists(texts("j", "j"), np.array([0, 0, 0, 2]))}),
        ("item_ids", {"item_ids": None}),
    ],
)
def test_a_wrong_list_is_refused_by_its_column(field, change):
    with pytest.raises(InvalidInputError) as refused:
        checked(replace(listed(), **change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("request_id", {"request_ids": texts("a", "b", "d")}),
        ("label", {"labels": np.array([0.0, 1.0, 1.0])}),
        ("at", {"at": np.array(["2026-01-01", "2026-01-02", "2026-01-04"], dtype="datetime64[us]")}),
        ("task", {"task": Task.SCORE}),
    ],
)
def test_other_requests_are_not_compared(field, change):
    with pytest.raises(InvalidInputError) as refused:
        scored().paired_with(replace(scored(), **change))
    assert refused.value.field == field


def test_other_truth_is_not_compared():
    other = replace(listed(), relevant=Lists(texts("j", "z"), np.array([0, 1, 1, 2])))
    with pytest.raises(InvalidInputError, match="relevant"):
        listed().paired_with(other)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_predictions(path)
    pq.write_table(pa.table({"request_id": ["a"]}), path)
    with pytest.raises(InvalidInputError, match="task"):
        read_predictions(path)
    write_predictions(scored(), path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["score"]), path)
    with pytest.raises(InvalidInputError, match="score: is missing"):
        read_predictions(path)
    wrong = table.set_column(table.column_names.index("score"), "score", pa.array(["a", "b", "c"]))
    pq.write_table(wrong, path)
    with pytest.raises(InvalidInputError, match="must be of the type double"):
        read_predictions(path)
