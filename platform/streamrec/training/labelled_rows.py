"""The table that a model of labels is trained on: read, checked, and remembered by fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from streamrec.contracts.errors import DataFolderError
from streamrec.training.training_rows import TrainingRows, label_text

_COLUMNS = ("unit", "at", "label")


def read_labelled_rows(path: Path, columns: Sequence[str], until: datetime) -> pd.DataFrame:
    """Return the rows of a Parquet file from before a time.

    Args:
        path: Has unit, at (UTC) and label (0 or 1) of each row, and ``columns``.
        columns: What the model reads.
        until: Later rows do not count.

    Raises:
        DataFolderError: The file is not there, lacks a column, or all rows that count have one label.
    """
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    table = pd.read_parquet(path)
    missing = sorted({*_COLUMNS, *columns} - set(table.columns))
    if missing:
        raise DataFolderError(path, missing[0], "the column is missing")
    counted = table[table["at"] < until]
    if counted["label"].nunique() < 2:
        raise DataFolderError(path, "label", "rows of both kinds are needed")
    return counted


def fingerprints_of(rows: pd.DataFrame) -> TrainingRows:
    """What the artifact keeps of the rows that it was trained on, as `read_labelled_rows` returned them."""
    return TrainingRows.of(
        rows["unit"].to_numpy(dtype=object),
        [label_text(label) for label in rows["label"]],
        rows["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[s]").astype(np.int64),
    )
