"""The table of evaluation requests: read with suspicion, from Parquet or CSV, and bounded.

Columns: ``request_id``, ``unit``, ``at``, ``split`` (``train`` or ``validation``), ``label`` or ``relevant``,
``group.ATTRIBUTE`` for every attribute, and whatever the predictor reads. In a CSV ``relevant`` is a list
whose entries are separated by ``|``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.parquet_files import read_bounded
from streamrec.gates.predictions import MAXIMUM_ROWS
from streamrec.gates.predictor import GROUP_PREFIX, HIDDEN_COLUMNS

TRAIN: Final = "train"
VALIDATION: Final = "validation"

MAXIMUM_BYTES: Final = 2 * 1024**3
_MAXIMUM_COLUMNS: Final = 2_000
_TEXT_COLUMNS: Final = ("request_id", "unit", "at", "split", "relevant")
_LIST_SEPARATOR: Final = "|"


@dataclass(frozen=True, eq=False, slots=True)
class RequestTable:
    """Requests with what is true of them.

    Attributes:
        task: What is asked.
        frame: Sorted by time. Text: request_id (each once), unit, split, ``group.*`` (None where missing);
            ``at`` in UTC; label (float64) or relevant (lists of text); the rest as it came.
    """

    task: Task
    frame: pd.DataFrame

    @property
    def training(self) -> pd.DataFrame:
        """Rows that versions are trained on."""
        return self.frame[self.frame["split"] == TRAIN].reset_index(drop=True)

    @property
    def validation(self) -> pd.DataFrame:
        """Rows that versions are judged on."""
        return self.frame[self.frame["split"] == VALIDATION].reset_index(drop=True)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes of which the table has groups."""
        names = [name for name in self.frame.columns if name.startswith(GROUP_PREFIX)]
        return tuple(name.removeprefix(GROUP_PREFIX) for name in names)


def feature_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that only the predictor knows the meaning of."""
    known = {"request_id", "unit", "at", *HIDDEN_COLUMNS}
    return [name for name in frame.columns if name not in known and not name.startswith(GROUP_PREFIX)]


def shown_to_predictor(frame: pd.DataFrame) -> pd.DataFrame:
    """The requests without what a predictor must not see: what is true, the split, the groups."""
    return frame[["request_id", "unit", "at", *feature_columns(frame)]]


def read_request_table(path: Path, task: Task, *, place: str = "evaluation.requests") -> RequestTable:
    """Read and check a table.

    Args:
        path: A ``.parquet`` or ``.csv`` file.
        task: Says whether label or relevant must be there.
        place: Where the specification names it, for messages.

    Raises:
        InvalidInputError: It cannot be read, is too large, or a column is missing or wrong; says which.
    """
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InvalidInputError(place, f"{path} has more than {MAXIMUM_BYTES} bytes; take a sample of it")
        frame = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    except FileNotFoundError as error:
        raise InvalidInputError(place, f"there is no file {path}") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInputError(
            place, f"{path} cannot be read: {' '.join(str(error).split())[:300]}"
        ) from error
    try:
        return checked_request_table(frame, task)
    except InvalidInputError as error:
        raise InvalidInputError(f"{place}.{error.field}", f"{error.problem} ({path.name})") from error


def checked_request_table(frame: pd.DataFrame, task: Task) -> RequestTable:
    """Check a table that is in memory.

    Raises:
        InvalidInputError: A column is missing or wrong; ``field`` is its name.
    """
    if not 1 <= len(frame) <= MAXIMUM_ROWS:
        raise InvalidInputError("rows", f"must be 1 to {MAXIMUM_ROWS}; take a sample of them")
    if len(frame.columns) > _MAXIMUM_COLUMNS or not frame.columns.is_unique:
        raise InvalidInputError("columns", f"must be at most {_MAXIMUM_COLUMNS}, each once")
    truth = "relevant" if task.answers_items else "label"
    for name in ("request_id", "unit", "at", "split", truth):
        if name not in frame.columns:
            raise InvalidInputError(name, "is missing: a table of requests needs this column")
    frame = frame.copy()
    for name in ("request_id", "unit"):
        frame[name] = _texts(frame[name], name)
    repeated = frame["request_id"].duplicated()
    if repeated.any():
        raise InvalidInputError("request_id", f"holds {frame['request_id'][repeated].iloc[0]!r} twice")
    frame["at"] = _times(frame["at"])
    frame["split"] = frame["split"].astype(object)
    other = ~frame["split"].isin((TRAIN, VALIDATION))
    if other.any():
        raise InvalidInputError(
            "split", f"must be {TRAIN} or {VALIDATION}, not {frame['split'][other].iloc[0]!r}"
        )
    frame[truth] = _lists(frame[truth]) if task.answers_items else _labels(frame[truth], task)
    for name in frame.columns:
        if name.startswith(GROUP_PREFIX):
            missing = frame[name].isna()
            frame[name] = frame[name].astype(object).map(str).where(~missing, None)
    return RequestTable(task, frame.sort_values(["at", "request_id"], kind="stable").reset_index(drop=True))


def _read_parquet(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = read_bounded(path, maximum_rows=MAXIMUM_ROWS).to_pandas()
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    header = pd.read_csv(path, nrows=0)
    text = {
        name: object for name in header.columns if name in _TEXT_COLUMNS or str(name).startswith(GROUP_PREFIX)
    }
    # An empty field is missing, and nothing else is: "NA" is Namibia.
    frame = pd.read_csv(path, nrows=MAXIMUM_ROWS + 1, dtype=text, keep_default_na=False, na_values=[""])
    if len(frame) > MAXIMUM_ROWS:
        raise ValueError(f"it has more than {MAXIMUM_ROWS} rows")
    if "relevant" in frame.columns:
        frame["relevant"] = [
            [] if not isinstance(text, str) else text.split(_LIST_SEPARATOR) for text in frame["relevant"]
        ]
    return frame


def _texts(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    if column.isna().any():
        raise InvalidInputError(name, "must not be empty in any row")
    texts = column.astype(object).map(str)
    lengths = texts.str.len()
    if ((lengths < 1) | (lengths > MAXIMUM_ID_CHARACTERS)).any():
        raise InvalidInputError(name, f"must have 1 to {MAXIMUM_ID_CHARACTERS} characters in every row")
    return texts


def _times(column: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(column):
        raise InvalidInputError("at", "must be times, such as 2026-01-31T12:00:00Z, and not numbers")
    try:
        times = pd.to_datetime(column, utc=True, format=None if column.dtype != object else "ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInputError("at", f"must be times, such as 2026-01-31T12:00:00Z ({error})") from error
    if times.isna().any():
        raise InvalidInputError("at", "must not be empty in any row")
    return times.dt.as_unit("us")


def _labels(column: pd.Series[Any], task: Task) -> pd.Series[Any]:
    try:
        labels = column.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidInputError("label", f"must be numbers ({error})") from error
    if not np.isfinite(labels).all():
        raise InvalidInputError("label", "must be a finite number in every row")
    if task is Task.CLASSIFICATION and not labels.isin((0.0, 1.0)).all():
        other = labels[~labels.isin((0.0, 1.0))].iloc[0]
        raise InvalidInputError("label", f"must be 0 or 1 where the task is classification, not {other:g}")
    return labels


def _lists(column: pd.Series[Any]) -> list[list[str]]:
    lists = []
    for row, entries in enumerate(column):
        if not isinstance(entries, (list, tuple, np.ndarray)):
            raise InvalidInputError("relevant", f"row {row} must be a list of item ids")
        items = [str(item) for item in entries]
        if len(set(items)) < len(items) or not all(items):
            raise InvalidInputError("relevant", f"row {row} holds an item twice, or one without an id")
        lists.append(items)
    return lists
