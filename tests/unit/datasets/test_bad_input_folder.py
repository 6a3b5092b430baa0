"""Folders that no importer wrote: refused where they are read, by the name of the column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, load_dataset

SECOND = pa.timestamp("s", "UTC")


def tables() -> dict[str, pa.Table]:
    return {
        INTERACTIONS_FILE: pa.table(
            {
                "user_id": ["a", "b"],
                "item_id": ["x", "y"],
                "timestamp": pa.array([1, 2], SECOND),
                "rating": pa.array([4.0, None]),
            }
        ),
        ITEMS_FILE: pa.table(
            {
                "item_id": ["x", "y"],
                "title": pa.array(["X", None]),
                "creator_id": pa.array(["c", None]),
                "creator_language": pa.array(["en", None]),
                "topics": pa.array([["Drama"], None]),
                "published_at": pa.array([None, 7], SECOND),
            }
        ),
        USERS_FILE: pa.table(
            {
                "user_id": ["a", "b"],
                "country": pa.array(["FI", None]),
                "signed_up_at": pa.array([1, None], SECOND),
            }
        ),
    }


def load(folder: Path, file: str | None = None, column: str = "", values: object = None):
    for name, table in tables().items():
        if name == file:
            place = table.column_names.index(column)
            table = table.set_column(place, column, values)
        pq.write_table(table, folder / name)
    return load_dataset(folder)


def test_what_may_be_unknown_has_a_defined_value(tmp_path: Path):
    dataset = load(tmp_path)
    catalogue = dataset.catalogue
    assert catalogue.creator_ids == ("c", "unknown")
    assert catalogue.creator_languages == ("en", "unknown")
    assert catalogue.topics == (("Drama",), ())
    assert catalogue.titles == ("X", "")
    assert np.isnat(catalogue.published_at).tolist() == [True, False]
    assert dataset.users["country"].tolist() == ["FI", "unknown"]
    assert dataset.users["signed_up_at"].isna().tolist() == [False, True]
    assert dataset.interactions["rating"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("file", "column", "values"),
    [
        (INTERACTIONS_FILE, "user_id", pa.array(["a", None])),
        (INTERACTIONS_FILE, "user_id", pa.array([1.0, np.nan])),
        (INTERACTIONS_FILE, "item_id", pa.array([None, "y"])),
        (INTERACTIONS_FILE, "timestamp", pa.array([None, 2], SECOND)),
        (INTERACTIONS_FILE, "timestamp", pa.array([1.0, np.nan])),
        (INTERACTIONS_FILE, "timestamp", pa.array([1.0, np.inf])),
        (INTERACTIONS_FILE, "timestamp", pa.array([1, 2])),
        (INTERACTIONS_FILE, "timestamp", pa.array(["yesterday", "today"])),
        (INTERACTIONS_FILE, "timestamp", pa.array([1, 2**40], SECOND)),
        (INTERACTIONS_FILE, "rating", pa.array([np.nan, 3.0])),
        (INTERACTIONS_FILE, "rating", pa.array([3.0, -np.inf])),
        (INTERACTIONS_FILE, "rating", pa.array(["good", "bad"])),
        (ITEMS_FILE, "item_id", pa.array(["x", None])),
        (ITEMS_FILE, "published_at", pa.array(["once", None])),
        (ITEMS_FILE, "published_at", pa.array([1, 2**45], SECOND)),
        (ITEMS_FILE, "topics", pa.array([["Drama", None], []])),
        (ITEMS_FILE, "topics", pa.array(["Drama", "Crime"])),
        (ITEMS_FILE, "topics", pa.array([[1.5], [np.nan]])),
        (USERS_FILE, "user_id", pa.array(["a", None])),
        (USERS_FILE, "signed_up_at", pa.array(["never", None])),
    ],
)
def test_a_value_that_is_none_is_refused_by_file_and_column(tmp_path: Path, file, column, values):
    with pytest.raises(DataFolderError) as refusal:
        load(tmp_path, file, column, values)
    assert refusal.value.file == tmp_path / file
    assert refusal.value.column == column


def test_times_are_nanoseconds_in_utc(tmp_path: Path):
    dataset = load(tmp_path)
    assert dataset.interactions["timestamp"].dtype == pd.DatetimeTZDtype("ns", "UTC")
