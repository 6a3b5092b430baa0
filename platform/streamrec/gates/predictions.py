"""The predictions table: what a version said about the evaluation data.

Every gate about quality, fairness and skew reads it, and none of them loads a model. One Parquet row a
request; written from what an isolated program answered, and checked again by whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.parquet_files import read_bounded
from streamrec.gates.predictor import GROUP_PREFIX, ITEM_IDS_COLUMN, SCORE_COLUMN, SCORES_COLUMN

MAXIMUM_ROWS: Final = 1_000_000
MAXIMUM_ITEMS: Final = 1_000
"""Items of one answer."""
MAXIMUM_LIST_ENTRIES: Final = 50_000_000
"""Items of all answers together."""

_TASK_KEY: Final = b"streamrec.task"
_TIME: Final = pa.timestamp("us", tz="UTC")
_TEXT_LIST: Final = pa.list_(pa.string())
_NUMBER_LIST: Final = pa.list_(pa.float64())


@dataclass(frozen=True, eq=False, slots=True)
class Lists:
    """One list for each request, end to end.

    Attributes:
        values: Shape (entries,).
        offsets: Shape (requests + 1,): list ``n`` is ``values[offsets[n]:offsets[n + 1]]``.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> NDArray[Any]:
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Entries of each list, shape (requests,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """What a version answered to each request, and what was true.

    Attributes:
        task: What it answers: decides which of the fields below are filled.
        request_ids, units: Shape (requests,), text; ids are unique.
        at: Shape (requests,), ``datetime64[us]`` in UTC.
        labels, scores: Shape (requests,), finite; None where the answer is a list of items.
        item_ids: Text, best first, none twice in a list; None where the answer is one number.
        item_scores: As long as ``item_ids``, finite, never rising within a list.
        relevant: The items that were right, none twice in a list.
        groups: By attribute, shape (requests,), text or None where it is missing.
    """

    task: Task
    request_ids: NDArray[np.object_]
    units: NDArray[np.object_]
    at: NDArray[np.datetime64]
    labels: NDArray[np.float64] | None
    scores: NDArray[np.float64] | None
    item_ids: Lists | None
    item_scores: Lists | None
    relevant: Lists | None
    groups: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.request_ids)

    def paired_with(self, other: Predictions) -> None:
        """Check that another version answered the same requests, in the same order, about the same truth.

        Raises:
            InvalidInputError: It did not; names the first difference.
        """
        if self.task is not other.task:
            raise InvalidInputError("task", f"differs: {self.task} and {other.task} cannot be compared")
        if len(self) != len(other):
            raise InvalidInputError("request_id", f"differs: {len(self)} requests against {len(other)}")
        for name, mine, theirs in (
            ("request_id", self.request_ids, other.request_ids),
            ("unit", self.units, other.units),
            ("at", self.at, other.at),
            ("label", self.labels, other.labels),
        ):
            if mine is None or theirs is None:
                continue
            differing = np.flatnonzero(mine != theirs)
            if len(differing):
                raise InvalidInputError(name, f"differs in row {differing[0]}: not the same requests")
        if self.relevant is not None and other.relevant is not None:
            same = np.array_equal(self.relevant.offsets, other.relevant.offsets) and np.array_equal(
                self.relevant.values, other.relevant.values
            )
            if not same:
                raise InvalidInputError("relevant", "differs: not the same requests")


def with_answers(predictions: Predictions, others: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    """Return ``predictions`` with other answers in some rows.

    Args:
        predictions: Of n requests.
        others: Of the requests in those rows, in their order.
        rows: Shape (n,): which.

    Raises:
        InvalidInputError: ``others`` are not about these requests.
    """
    if not np.array_equal(predictions.request_ids[rows], others.request_ids):
        raise InvalidInputError("request_id", "differs: not the requests of these rows")
    if predictions.scores is not None and others.scores is not None:
        scores = predictions.scores.copy()
        scores[rows] = others.scores
        return replace(predictions, scores=scores)
    return replace(
        predictions,
        item_ids=_with_lists(predictions.item_ids, others.item_ids, rows),
        item_scores=_with_lists(predictions.item_scores, others.item_scores, rows),
    )


def _with_lists(lists: Lists | None, others: Lists | None, rows: NDArray[np.bool_]) -> Lists | None:
    if lists is None or others is None:
        return lists
    places = np.cumsum(rows) - 1
    chosen = [others[places[row]] if rows[row] else lists[row] for row in range(len(lists))]
    return Lists(np.concatenate(chosen), np.cumsum([0, *map(len, chosen)], dtype=np.int64))


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write the table as Parquet."""
    pq.write_table(_to_table(predictions), path, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """Read a table and check everything that a gate relies on.

    Raises:
        InvalidInputError: A column is missing, of another type or holds what it must not; names it and the
            row.
    """
    try:
        table = read_bounded(path, maximum_rows=MAXIMUM_ROWS)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInputError("predictions", f"{path} cannot be read: {error}") from error
    return _from_table(table)


def checked(predictions: Predictions) -> Predictions:
    """Return predictions that were made in memory, if they are what `read_predictions` accepts.

    Raises:
        InvalidInputError: They are not; names column and row.
    """
    count = len(predictions)
    if not 1 <= count <= MAXIMUM_ROWS:
        raise InvalidInputError("predictions", f"must have 1 to {MAXIMUM_ROWS} rows, not {count}")
    for name, texts in (("request_id", predictions.request_ids), ("unit", predictions.units)):
        _check_texts(name, texts, count)
    if len(set(predictions.request_ids.tolist())) < count:
        raise InvalidInputError("request_id", "holds an id twice")
    if len(predictions.at) != count or np.isnat(predictions.at).any():
        raise InvalidInputError("at", "must hold a time in every row")
    for attribute, groups in predictions.groups.items():
        if len(groups) != count:
            raise InvalidInputError(f"{GROUP_PREFIX}{attribute}", f"must have {count} rows")
    if predictions.task.answers_items:
        _check_lists(predictions, count)
    else:
        for name, numbers in (("label", predictions.labels), ("score", predictions.scores)):
            _check_numbers(name, numbers, count)
        if predictions.task is Task.CLASSIFICATION and predictions.labels is not None:
            other = np.flatnonzero(~np.isin(predictions.labels, (0.0, 1.0)))
            if len(other):
                raise InvalidInputError("label", f"must be 0 or 1; row {other[0]} is neither")
    return predictions


def _check_texts(name: str, texts: NDArray[np.object_], count: int) -> None:
    if len(texts) != count:
        raise InvalidInputError(name, f"must have {count} rows, not {len(texts)}")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not 1 <= len(text) <= MAXIMUM_ID_CHARACTERS:
            raise InvalidInputError(
                name, f"row {row} must be text of 1 to {MAXIMUM_ID_CHARACTERS} characters"
            )


def _check_numbers(name: str, numbers: NDArray[np.float64] | None, count: int) -> None:
    if numbers is None or len(numbers) != count:
        raise InvalidInputError(name, f"must have {count} rows")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise InvalidInputError(name, f"must be finite; row {wrong[0]} holds {numbers[wrong[0]]}")


def _check_lists(predictions: Predictions, count: int) -> None:
    items, scores, relevant = predictions.item_ids, predictions.item_scores, predictions.relevant
    if items is None or scores is None or relevant is None:
        raise InvalidInputError(
            "item_ids", f"must be there, as scores and relevant, where the task is {predictions.task}"
        )
    for name, lists in ((ITEM_IDS_COLUMN, items), (SCORES_COLUMN, scores), ("relevant", relevant)):
        if len(lists) != count:
            raise InvalidInputError(name, f"must have {count} rows, not {len(lists)}")
        too_long = np.flatnonzero(lists.lengths > MAXIMUM_ITEMS)
        if len(too_long):
            raise InvalidInputError(name, f"row {too_long[0]} has more than {MAXIMUM_ITEMS} entries")
    if not np.array_equal(items.offsets, scores.offsets):
        row = int(np.flatnonzero(items.lengths != scores.lengths)[0])
        raise InvalidInputError(SCORES_COLUMN, f"row {row} is not as long as {ITEM_IDS_COLUMN}")
    wrong = np.flatnonzero(~np.isfinite(scores.values))
    if len(wrong):
        row = int(np.searchsorted(scores.offsets, wrong[0], side="right")) - 1
        raise InvalidInputError(SCORES_COLUMN, f"must be finite; row {row} holds {scores.values[wrong[0]]}")
    within = np.ones(max(len(scores.values) - 1, 0), dtype=bool)
    ends = scores.offsets[1:-1]
    within[ends[(ends > 0) & (ends < len(scores.values))] - 1] = False
    rising = np.flatnonzero(within & (np.diff(scores.values) > 0.0))
    if len(rising):
        row = int(np.searchsorted(scores.offsets, rising[0], side="right")) - 1
        raise InvalidInputError(SCORES_COLUMN, f"row {row} is not sorted: the best item comes first")
    for name, lists in ((ITEM_IDS_COLUMN, items), ("relevant", relevant)):
        for row in range(count):
            entries = lists[row].tolist()
            if len(set(entries)) < len(entries):
                raise InvalidInputError(name, f"row {row} holds an item twice")
        if any(not isinstance(item, str) or not item for item in lists.values):
            raise InvalidInputError(name, "must hold item ids as text")


def _to_table(predictions: Predictions) -> pa.Table:
    columns: dict[str, Any] = {
        "request_id": pa.array(predictions.request_ids, pa.string()),
        "unit": pa.array(predictions.units, pa.string()),
        "at": pa.array(predictions.at.astype("datetime64[us]")).cast(pa.timestamp("us")).cast(_TIME),
    }
    if predictions.labels is not None and predictions.scores is not None:
        columns["label"] = pa.array(predictions.labels, pa.float64())
        columns[SCORE_COLUMN] = pa.array(predictions.scores, pa.float64())
    for name, lists, values_type in (
        (ITEM_IDS_COLUMN, predictions.item_ids, pa.string()),
        (SCORES_COLUMN, predictions.item_scores, pa.float64()),
        ("relevant", predictions.relevant, pa.string()),
    ):
        if lists is not None:
            columns[name] = pa.ListArray.from_arrays(
                pa.array(lists.offsets, pa.int32()), pa.array(lists.values, values_type)
            )
    for attribute, groups in predictions.groups.items():
        columns[f"{GROUP_PREFIX}{attribute}"] = pa.array(groups, pa.string())
    return pa.table(columns).replace_schema_metadata({_TASK_KEY: predictions.task.value.encode()})


def _from_table(table: pa.Table) -> Predictions:
    named = (table.schema.metadata or {}).get(_TASK_KEY, b"").decode("ascii", "replace")
    if named not in tuple(Task):
        raise InvalidInputError("task", "is missing: the file was not written as a predictions table")
    task = Task(named)
    listed = task.answers_items
    groups = {
        name.removeprefix(GROUP_PREFIX): _texts(table, name)
        for name in table.column_names
        if name.startswith(GROUP_PREFIX)
    }
    return checked(
        Predictions(
            task=task,
            request_ids=_texts(table, "request_id"),
            units=_texts(table, "unit"),
            at=_column(table, "at", _TIME).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False),
            labels=None if listed else _numbers(table, "label"),
            scores=None if listed else _numbers(table, SCORE_COLUMN),
            item_ids=_lists(table, ITEM_IDS_COLUMN, _TEXT_LIST) if listed else None,
            item_scores=_lists(table, SCORES_COLUMN, _NUMBER_LIST) if listed else None,
            relevant=_lists(table, "relevant", _TEXT_LIST) if listed else None,
            groups=groups,
        )
    )


def _column(table: pa.Table, name: str, wanted: Any) -> Any:
    if table.column_names.count(name) != 1:
        raise InvalidInputError(name, "is missing" if name not in table.column_names else "is there twice")
    column = table.column(name)
    if column.type != wanted:
        raise InvalidInputError(name, f"must be of the type {wanted}, not {column.type}")
    return column.combine_chunks()


def _texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    texts: NDArray[np.object_] = _column(table, name, pa.string()).to_numpy(zero_copy_only=False)
    return texts


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    column = _column(table, name, pa.float64())
    if column.null_count:
        raise InvalidInputError(name, "must not be empty in any row")
    numbers: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return numbers


def _lists(table: pa.Table, name: str, wanted: Any) -> Lists:
    column = _column(table, name, wanted)
    if column.null_count:
        raise InvalidInputError(name, "must hold a list in every row; an empty one is []")
    values = column.flatten()
    if values.null_count:
        raise InvalidInputError(name, "must not hold an empty entry in a list")
    if len(values) > MAXIMUM_LIST_ENTRIES:
        raise InvalidInputError(name, f"holds more than {MAXIMUM_LIST_ENTRIES} entries")
    offsets = column.offsets.to_numpy().astype(np.int64)
    return Lists(values.to_numpy(zero_copy_only=False), offsets - offsets[0])
