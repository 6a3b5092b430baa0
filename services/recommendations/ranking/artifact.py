"""The ranker's files: safetensors for weights, npz for tables, JSON for sizes. Nothing in them is code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy import sparse

from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.combination import LOGITS, Combination
from services.recommendations.ranking.network import UserEncoder
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import NetworkSettings
from streamrec.contracts.errors import ArtifactError

WEIGHTS_FILE: Final = "ranker.safetensors"
TABLES_FILE: Final = "ranker_tables.npz"
SETTINGS_FILE: Final = "ranker.json"
FORMAT_VERSION: Final = 2

_ENCODER_PREFIX: Final = "encoder."
_SPARSE_TABLES: Final = ("transitions", "co_visitation", "topics")
_ITEM_ARRAYS: Final = ("popularity", "creators", "languages", "published_days")
_NAMES: Final = ("language_names", "creator_names", "topic_names")
_WRONG_FILE: Final = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    SafetensorError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class RankerParts:
    """What a ranker is made of; see `RankingModel`."""

    item_ids: tuple[str, ...]
    settings: NetworkSettings
    encoder: UserEncoder
    segment_table: SegmentTable
    vectors: NDArray[np.float32]
    tables: CandidateTables
    combination: Combination


def write(parts: RankerParts, folder: Path) -> None:
    """Write a ranker into ``folder``, which is made if need be.

    Raises:
        ArtifactError: An item id cannot be kept by the file format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    item_ids = np.array(parts.item_ids, dtype=np.str_)
    if tuple(item_ids.tolist()) != parts.item_ids:
        raise ArtifactError("an item id ends with a NUL character, which the file format cannot keep")
    tables = parts.tables
    tensors = {_ENCODER_PREFIX + name: tensor for name, tensor in parts.encoder.state_dict().items()}
    tensors["vectors"] = torch.from_numpy(parts.vectors)
    tensors["combination"] = torch.from_numpy(parts.combination.weights)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS_FILE)
    arrays: dict[str, NDArray[Any]] = {
        "item_ids": item_ids,
        **{name: np.array(getattr(tables, name), dtype=np.str_) for name in _NAMES},
    }
    for name in _ITEM_ARRAYS:
        arrays[name] = getattr(tables, name)
    for name in _SPARSE_TABLES:
        arrays |= _parts(name, getattr(tables, name))
    np.savez_compressed(folder / TABLES_FILE, allow_pickle=False, **arrays)
    document = {
        "format_version": FORMAT_VERSION,
        "network": asdict(parts.settings),
        "features": list(FEATURES),
        "segment_values": [list(values) for values in parts.segment_table.values],
        "history_length": tables.history_length,
        "last_day": tables.last_day,
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> RankerParts:
    """Read what `write` wrote.

    Raises:
        ArtifactError: A file is missing, damaged, of another version, or does not fit the others.
    """
    try:
        document = json.loads((folder / SETTINGS_FILE).read_text())
        if document["format_version"] != FORMAT_VERSION or tuple(document["features"]) != FEATURES:
            raise ValueError("written by another version of the ranker; train it again")
        settings = NetworkSettings(**document["network"])
        tensors = load_file(folder / WEIGHTS_FILE)
        # Opened here: numpy leaves a file that it cannot read open.
        with (folder / TABLES_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            loaded = dict(arrays.items())
        item_ids = tuple(loaded["item_ids"].tolist())
        tables = _tables(loaded, len(item_ids), document)
        segment_table = SegmentTable(tuple(tuple(values) for values in document["segment_values"]))
        encoder = UserEncoder(settings, segment_table.sizes)
        encoder.load_state_dict(
            {
                name.removeprefix(_ENCODER_PREFIX): tensor
                for name, tensor in tensors.items()
                if name.startswith(_ENCODER_PREFIX)
            }
        )
        vectors = _checked(tensors, "vectors", (len(item_ids), settings.dimension))
        weights = _checked(tensors, "combination", (len(LOGITS) + len(FEATURES),))
    except _WRONG_FILE as error:
        raise ArtifactError(f"{folder} does not hold a readable ranker: {error}") from error
    if len(set(item_ids)) != len(item_ids):
        raise ArtifactError(f"{folder}: an item stands in more than one row of {TABLES_FILE}")
    return RankerParts(item_ids, settings, encoder, segment_table, vectors, tables, Combination(weights))


def _tables(
    loaded: Mapping[str, NDArray[Any]], item_count: int, document: Mapping[str, Any]
) -> CandidateTables:
    for name in _ITEM_ARRAYS:
        if loaded[name].shape != (item_count,):
            raise ValueError(f"{name} has shape {loaded[name].shape}, but there are {item_count} items")
    return CandidateTables(
        popularity=loaded["popularity"],
        transitions=_matrix("transitions", loaded, (item_count, item_count)),
        co_visitation=_matrix("co_visitation", loaded, (item_count, item_count)),
        topics=_matrix("topics", loaded, (item_count, int(loaded["topics.shape"][1]))),
        creators=loaded["creators"],
        languages=loaded["languages"],
        language_names=tuple(loaded["language_names"].tolist()),
        # Earlier releases did not write these two.
        creator_names=tuple(loaded["creator_names"].tolist()) if "creator_names" in loaded else (),
        topic_names=tuple(loaded["topic_names"].tolist()) if "topic_names" in loaded else (),
        published_days=loaded["published_days"],
        last_day=int(document["last_day"]),
        history_length=int(document["history_length"]),
    )


def _parts(name: str, matrix: sparse.csr_matrix) -> dict[str, NDArray[Any]]:
    return {
        f"{name}.data": matrix.data.astype(np.float32),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.shape": np.array(matrix.shape, dtype=np.int64),
    }


def _matrix(name: str, loaded: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> sparse.csr_matrix:
    data, indices = loaded[f"{name}.data"], loaded[f"{name}.indices"]
    if tuple(loaded[f"{name}.shape"].tolist()) != shape or not np.isfinite(data).all():
        raise ValueError(f"the table {name} has the wrong shape or values that are not finite")
    matrix = sparse.csr_matrix((data, indices, loaded[f"{name}.indptr"]), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _checked(tensors: Mapping[str, torch.Tensor], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensors[name].numpy()
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name} has the wrong shape or type, or values that are not finite")
    return array
