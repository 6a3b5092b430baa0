"""The feature tables of the student as plain arrays and JSON, and the check of what is read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.ranking.candidate_features import FEATURES
from services.recommendations.ranking.student.features import FeatureTables, SparseRows
from streamrec.contracts.conventions import HISTORY_LIMIT

_PREFIX: Final = "features."
_SPARSE: Final = ("transitions", "co_visitation", "topics")
_ROW_PARTS: Final[Mapping[str, type[Any]]] = {"starts": np.int64, "columns": np.int32, "values": np.float32}
_ITEM_ARRAYS: Final[Mapping[str, type[Any]]] = {
    "popularity": np.float32,
    "creators": np.int32,
    "languages": np.int32,
    "published_days": np.int32,
}


def to_arrays(tables: FeatureTables) -> dict[str, NDArray[Any]]:
    """Every array of the tables, by name."""
    arrays = {_PREFIX + name: getattr(tables, name) for name in _ITEM_ARRAYS}
    for name in _SPARSE:
        rows: SparseRows = getattr(tables, name)
        for part in _ROW_PARTS:
            arrays[f"{_PREFIX}{name}.{part}"] = getattr(rows, part)
    return arrays


def to_document(tables: FeatureTables) -> dict[str, Any]:
    """What is not an array, for JSON."""
    return {
        "weights": dict(tables.weights),
        "language_names": list(tables.language_names),
        "creator_names": list(tables.creator_names),
        "topic_names": list(tables.topic_names),
        "topic_count": tables.topics.width,
        "history_length": tables.history_length,
    }


def of(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], item_count: int) -> FeatureTables:
    """Put together what `to_arrays` and `to_document` took apart.

    Raises:
        KeyError: Something is missing.
        ValueError: Something does not fit the rest, or would give scores that are not finite.
    """
    weights = {str(name): float(weight) for name, weight in document["weights"].items()}
    if not weights.keys() <= set(FEATURES) or not all(map(math.isfinite, weights.values())):
        raise ValueError("a feature's weight is not finite, or there is no such feature")
    history_length, topic_count = int(document["history_length"]), int(document["topic_count"])
    if not 1 <= history_length <= HISTORY_LIMIT or topic_count < 0:
        raise ValueError("features.history_length or features.topic_count is out of range")
    items = {name: _checked(arrays, name, dtype, (item_count,)) for name, dtype in _ITEM_ARRAYS.items()}
    names = tuple(str(name) for name in document["language_names"])
    # Earlier releases did not write these two.
    creators, topics = (
        tuple(str(name) for name in document.get(field, ())) for field in ("creator_names", "topic_names")
    )
    if topics and len(topics) != topic_count:
        raise ValueError("features.topic_names does not name every topic")
    if not (items["popularity"] > 0.0).all() or not np.isfinite(items["popularity"]).all():
        raise ValueError("features.popularity must be positive")
    for name, end in (("creators", len(creators) or item_count), ("languages", len(names))):
        if item_count and not (items[name].min() >= -1 and items[name].max() < end):
            raise ValueError(f"features.{name} is out of range")
    return FeatureTables(
        weights=weights,
        transitions=_rows(arrays, "transitions", item_count, item_count),
        co_visitation=_rows(arrays, "co_visitation", item_count, item_count),
        topics=_rows(arrays, "topics", item_count, topic_count),
        popularity=items["popularity"],
        creators=items["creators"],
        languages=items["languages"],
        published_days=items["published_days"],
        language_names=names,
        history_length=history_length,
        creator_names=creators,
        topic_names=topics,
    )


def _rows(arrays: Mapping[str, NDArray[Any]], name: str, count: int, width: int) -> SparseRows:
    entries = arrays[f"{_PREFIX}{name}.columns"].size
    shapes = {"starts": (count + 1,), "columns": (entries,), "values": (entries,)}
    starts, columns, values = (
        _checked(arrays, f"{name}.{part}", dtype, shapes[part]) for part, dtype in _ROW_PARTS.items()
    )
    if starts[0] != 0 or starts[-1] != entries or (np.diff(starts) < 0).any():
        raise ValueError(f"features.{name}.starts are not the starts of its rows")
    if entries and not (columns.min() >= 0 and columns.max() < width):
        raise ValueError(f"features.{name}.columns are out of range")
    if not np.isfinite(values).all() or (values < 0.0).any():
        raise ValueError(f"features.{name}.values must be finite and not negative")
    return SparseRows(starts, columns, values, width)


def _checked(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    array = arrays[_PREFIX + name]
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{_PREFIX}{name} has the wrong shape or type")
    return array
