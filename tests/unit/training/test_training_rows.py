"""Fingerprints of what a version was trained on: a row is found again, and no other one is."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.training.training_rows import (
    TRAINING_ROWS_FILE,
    TrainingRows,
    row_fingerprints,
    text_fingerprints,
)


def rows_of(count, *, first=0):
    numbers = np.arange(first, first + count)
    units = np.array([f"u{number % 50}" for number in numbers], dtype=object)
    items = np.array([f"i{number}" for number in numbers], dtype=object)
    return units, items, numbers.astype(np.int64)


def test_a_row_is_found_again_and_no_other_is(tmp_path):
    TrainingRows.of(*rows_of(1_000)).write(tmp_path)
    read = TrainingRows.read(tmp_path)
    assert read.found(row_fingerprints(*rows_of(1_000))).all()
    assert not read.found(row_fingerprints(*rows_of(1_000, first=1_000))).any()
    units, items, seconds = rows_of(1_000)
    assert not read.found(row_fingerprints(units, items, seconds + 1)).any()
    assert (read.row_step, read.count, read.latest_s) == (1, 1_000, 999)


def test_of_large_data_the_same_rows_are_kept_on_both_sides():
    kept = TrainingRows.of(*rows_of(1_000), maximum_kept=100)
    assert kept.row_step > 1
    assert len(kept.rows) <= 100
    inside = row_fingerprints(*rows_of(1_000))
    looked_for = kept.looked_for(inside)
    assert 20 <= looked_for.sum() <= 100
    assert kept.found(inside[looked_for]).all()
    outside = row_fingerprints(*rows_of(1_000, first=1_000))
    assert not kept.found(outside[kept.looked_for(outside)]).any()


def test_the_newest_row_of_each_unit_is_known():
    rows = TrainingRows.of(*rows_of(100))
    newest = rows.newest_of(text_fingerprints(["u0", "u49", "nobody"]))
    assert newest.tolist() == [50, 99, np.iinfo(np.int64).min]


def test_fingerprints_are_the_same_in_every_release():
    assert row_fingerprints(["u1"], ["i1"], np.array([5])).tolist() == [8391299770064692550]


def test_an_artifact_without_the_file_says_nothing(tmp_path):
    assert TrainingRows.read(tmp_path) is None
    with pytest.raises(InvalidInputError):
        TrainingRows.of([], [], np.array([], dtype=np.int64))


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / TRAINING_ROWS_FILE
    path.write_bytes(b"PK and nothing")
    with pytest.raises(ArtifactError, match="train the version again"):
        TrainingRows.read(tmp_path)
    np.savez(path, format=np.array([1]), rows=np.array([1.0]))
    with pytest.raises(ArtifactError, match="damaged"):
        TrainingRows.read(tmp_path)
