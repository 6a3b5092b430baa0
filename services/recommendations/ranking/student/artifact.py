"""The student's files: safetensors for weights, npz for item ids, JSON for sizes. Nothing in them is code."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.recommendations.ranking.segments import ATTRIBUTES, SegmentTable
from services.recommendations.ranking.student import feature_arrays
from services.recommendations.ranking.student.features import FeatureTables
from services.recommendations.ranking.student.runtime import Array, StudentWeights
from services.recommendations.ranking.student.settings import StudentNetworkSettings, StudentSettings
from streamrec.contracts.errors import ArtifactError, InvalidInputError

WEIGHTS_FILE: Final = "student.safetensors"
ITEMS_FILE: Final = "student_items.npz"
SETTINGS_FILE: Final = "student.json"
FORMAT_VERSION: Final = 2

_SEGMENT_PREFIX: Final = "segments."
_WRONG_FILE: Final = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    SafetensorError,
    InvalidInputError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class StudentParts:
    """What a student is made of; see `StudentRanker`."""

    item_ids: tuple[str, ...]
    settings: StudentNetworkSettings
    weights: StudentWeights
    segment_table: SegmentTable
    features: FeatureTables


def write(parts: StudentParts, folder: Path) -> None:
    """Write a student into ``folder``, which is made if need be.

    Raises:
        ArtifactError: An item id cannot be kept by the file format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    item_ids = np.array(parts.item_ids, dtype=np.str_)
    if tuple(item_ids.tolist()) != parts.item_ids:
        raise ArtifactError("an item id ends with a NUL character, which the file format cannot keep")
    arrays = {name: getattr(parts.weights, name) for name in _array_names()}
    for column, table in enumerate(parts.weights.segments):
        arrays[f"{_SEGMENT_PREFIX}{column}"] = table
    arrays.update(feature_arrays.to_arrays(parts.features))
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS_FILE)
    np.savez_compressed(folder / ITEMS_FILE, allow_pickle=False, item_ids=item_ids)
    document = {
        "format_version": FORMAT_VERSION,
        "network": asdict(parts.settings),
        "segment_values": [list(values) for values in parts.segment_table.values],
        "features": feature_arrays.to_document(parts.features),
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> StudentParts:
    """Read what `write` wrote.

    Raises:
        ArtifactError: A file is missing, damaged, of another version, or does not fit the others.
    """
    try:
        document = json.loads((folder / SETTINGS_FILE).read_text())
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError("written by another version of the student; train it again")
        settings = StudentSettings(network=StudentNetworkSettings(**document["network"])).network
        # Opened here: numpy leaves a file that it cannot read open.
        with (folder / ITEMS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # One object an id in a process: a look-up that finds it need not compare texts.
            item_ids = tuple(map(sys.intern, arrays["item_ids"].tolist()))
        segment_table = SegmentTable(tuple(tuple(values) for values in document["segment_values"]))
        if len(segment_table.values) != len(ATTRIBUTES):
            raise ValueError(
                f"{len(segment_table.values)} segment attributes, but there are {len(ATTRIBUTES)}"
            )
        tensors = load_file(folder / WEIGHTS_FILE)
        weights = _weights(tensors, settings, len(item_ids), segment_table)
        features = feature_arrays.of(document["features"], tensors, len(item_ids))
    except _WRONG_FILE as error:
        raise ArtifactError(f"{folder} does not hold a readable student: {error}") from error
    if len(set(item_ids)) != len(item_ids):
        raise ArtifactError(f"{folder}: an item stands in more than one row of {ITEMS_FILE}")
    return StudentParts(item_ids, settings, weights, segment_table, features)


def _weights(
    tensors: dict[str, Any], settings: StudentNetworkSettings, item_count: int, segment_table: SegmentTable
) -> StudentWeights:
    d, length = settings.dimension, settings.history_length
    seen = (settings.newest_count + settings.pool_count) * d
    items, outputs = (item_count, d), tensors["outputs"]
    if outputs.ndim != 2:
        raise ValueError("outputs has the wrong shape")
    size = outputs.shape[1]
    shapes: dict[str, tuple[int, ...]] = {
        "inputs": items,
        "keys": items,
        "values": items,
        "outputs": (item_count, size),
        "biases": (item_count,),
        "pool_weights": (settings.pool_count, length),
        "lag_biases": (settings.head_count, length),
        "query": (d, seen),
        "query_bias": (d,),
        "state": (size + settings.hidden_size, seen + d),
        "direct_bias": (size,),
        "hidden_bias": (settings.hidden_size,),
        "contract": (size, settings.hidden_size),
    }
    arrays = {name: _checked(tensors, name, shapes[name]) for name in _array_names()}
    if not (arrays["pool_weights"][:, 0] > 0.0).all() or (arrays["pool_weights"] < 0.0).any():
        raise ValueError("pool_weights must be positive")
    segments = tuple(
        _checked(tensors, f"{_SEGMENT_PREFIX}{column}", (values + 1, size))
        for column, values in enumerate(segment_table.sizes)
    )
    return StudentWeights(**arrays, segments=segments)


def _array_names() -> list[str]:
    return [field.name for field in fields(StudentWeights) if field.name != "segments"]


def _checked(tensors: dict[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    array: Array = tensors[name]
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name} has the wrong shape or type, or values that are not finite")
    return array
