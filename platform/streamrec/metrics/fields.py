"""Fields of events as columns: numbers, conditions, and what figures are split by. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic_core import from_json

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.metrics.definitions import Condition, Dimension

OTHER: Final = "other"
"""What a dimension with a list of values calls all others."""

_COLUMN_OF: Final[Mapping[str, str]] = {"items": "item_ids"}
_JSON_COLUMNS: Final = ("extension", "output")
_PAIR_COLUMNS: Final = ("versions", "variants")
_MAXIMUM_VALUE_CHARACTERS: Final = 128


def column_of(field: str) -> str:
    """The column of the event log that a field stands in."""
    base = field.partition(".")[0]
    return _COLUMN_OF.get(base, base)


class EventFields:
    """Fields of the events of one table. JSON columns are parsed once, for the fields that are asked for."""

    def __init__(self, table: pa.Table, fields: Iterable[str]) -> None:
        """Set it up.

        Args:
            table: Holds the `column_of` of every field.
            fields: All that will be asked for.
        """
        self._table = table
        self._parsed: dict[str, list[Any]] = {}
        for column in _JSON_COLUMNS:
            keys = sorted({field.partition(".")[2] for field in fields if field.startswith(f"{column}.")})
            for key, values in _parsed(table, column, keys).items():
                self._parsed[f"{column}.{key}"] = values

    def numbers(self, field: str) -> NDArray[np.float64]:
        """The field as numbers, shape (events,); NaN where it is missing, no number or not finite."""
        if field == "items":
            return np.asarray(pc.list_value_length(self._table["item_ids"]).to_numpy(), dtype=np.float64)
        if field in self._parsed:
            return np.fromiter(map(_number, self._parsed[field]), np.float64, self._table.num_rows)
        column = self._table[column_of(field)]
        numbers = np.asarray(pc.fill_null(column, math.nan).to_numpy(), dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, math.nan)

    def holds(self, condition: Condition) -> NDArray[np.bool_]:
        """Whether a condition holds, shape (events,)."""
        field = condition.field
        if field in self._parsed:
            values: Sequence[Any] = self._parsed[field]
            return np.fromiter((holds(condition, value) for value in values), np.bool_, len(values))
        if field == "items":
            lengths = self.numbers(field)
            return np.fromiter((holds(condition, int(n)) for n in lengths), np.bool_, lengths.size)
        encoded = self._table[field].combine_chunks().dictionary_encode(null_encoding="encode")
        of_value = np.array([holds(condition, value) for value in encoded.dictionary.to_pylist()], np.bool_)
        return of_value[encoded.indices.to_numpy()] if len(encoded) else np.zeros(0, np.bool_)

    def values(self, name: str, dimension: Dimension) -> pa.Array:
        """The values of a dimension as text, `UNKNOWN` where there is none, inside its bound.

        Args:
            name: Of the dimension, for messages.
            dimension: One of answers.

        Raises:
            InvalidInputError: There are more different values than the dimension may have.
        """
        field = dimension.field
        column, _, key = field.partition(".")
        if field in self._parsed:
            found = pa.array(map(_text, self._parsed[field]), pa.string())
        elif column in _PAIR_COLUMNS:
            found = pc.map_lookup(self._table[column].combine_chunks(), pa.scalar(key), "first")
        else:
            found = self._table[field].combine_chunks()
        return bounded(name, dimension, pc.fill_null(found.cast(pa.string()), UNKNOWN))


def holds(condition: Condition, value: Any) -> bool:
    """Whether a condition is true of a field's value; None where the field is missing."""
    there = value is not None and value not in ("", [], {})
    if condition.present is not None:
        return there is condition.present
    if not there:
        return False
    if condition.equals:
        return _among(value, condition.equals)
    return not _among(value, condition.differs_from)


def bounded(name: str, dimension: Dimension, values: pa.Array) -> pa.Array:
    """Hold a dimension's values inside its bound; see `EventFields.values`.

    Args:
        name: Of the dimension.
        dimension: Its bound.
        values: Text without nulls.
    """
    if dimension.values:
        known = pc.is_in(values, value_set=pa.array([*dimension.values, UNKNOWN], pa.string()))
        return pc.if_else(known, values, OTHER)
    check_bound(name, dimension, pc.unique(values).to_pylist())
    return values


def check_bound(name: str, dimension: Dimension, values: Collection[str]) -> None:
    """Refuse more different values than a dimension may have.

    Raises:
        InvalidInputError: Names the dimension and what to do.
    """
    most = dimension.maximum_values
    if most is not None and len(set(values) - {UNKNOWN}) > most:
        raise InvalidInputError(
            f"dimensions.{name}",
            f"has more than {most} values in the events; raise maximum_values, list the values that matter, "
            "or split by something smaller",
        )


def _parsed(table: pa.Table, column: str, keys: Sequence[str]) -> dict[str, list[Any]]:
    if not keys:
        return {}
    found: dict[str, list[Any]] = {key: [] for key in keys}
    for text in table[column].to_pylist():
        document = {} if text is None else _object(text)
        for key in keys:
            found[key].append(document.get(key))
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        document = from_json(text)
    except ValueError as error:
        raise ArtifactError(f"the event log holds an extension that is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        return number if math.isfinite(number) else math.nan
    return math.nan


def _text(value: Any) -> str | None:
    if value is None or value in ("", [], {}):
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text[:_MAXIMUM_VALUE_CHARACTERS]


def _among(value: Any, values: Sequence[Any]) -> bool:
    # True equals 1 in Python, and they are different values of a field.
    return any(isinstance(value, bool) is isinstance(other, bool) and value == other for other in values)
