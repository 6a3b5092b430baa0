"""The trained two-tower model as it serves: NumPy and the index, no training framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.retrieval.content import ContentVocabulary
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.item_changes import catalogue_of
from streamrec.items.state import ItemState

WEIGHTS_FILE: Final = "two_tower.safetensors"
VOCABULARY_FILE: Final = "two_tower.json"

SEGMENT_ATTRIBUTES: Final = tuple(attribute.name for attribute in fields(Segment))

_FORMAT_VERSION: Final = 1
_SMALLEST: Final = 1e-6


@dataclass(frozen=True)
class TwoTowerWeights:
    """Everything learned but the items' own vectors, which lie in the index.

    Attributes:
        recency: Shape (pools, history_length), positive: weight of the newest item first, by pool.
        heads: Shape (pools, d, d): what each pool contributes to the user vector.
        bias: Shape (d,): the user vector of someone of whom nothing is known.
        segments: By attribute, shape (values, d): what a segment attribute adds.
        segment_values: By attribute, the values in the order of those rows.
        content: Shape (features + 1, d): embedding of each content feature; row 0 is padding, zero.
        vocabulary: Names of the content features.
    """

    recency: NDArray[np.float32]
    heads: NDArray[np.float32]
    bias: NDArray[np.float32]
    segments: Mapping[str, NDArray[np.float32]]
    segment_values: Mapping[str, tuple[str, ...]]
    content: NDArray[np.float32]
    vocabulary: ContentVocabulary

    def __post_init__(self) -> None:
        pools, dimension = self.heads.shape[0], self.bias.shape[0]
        expected = {
            "recency": (self.recency, (pools, self.recency.shape[-1])),
            "heads": (self.heads, (pools, dimension, dimension)),
            "content": (self.content, (len(self.vocabulary.features) + 1, dimension)),
        }
        for attribute in SEGMENT_ATTRIBUTES:
            shape = (len(self.segment_values[attribute]), dimension)
            expected[f"segments.{attribute}"] = (self.segments[attribute], shape)
        for name, (array, shape) in expected.items():
            if array.shape != shape or not np.isfinite(array).all():
                raise InvalidInputError(name, f"must be finite and of shape {shape}, not {array.shape}")
        if not np.isfinite(self.bias).all():
            raise InvalidInputError("bias", "must be finite")


class TwoTowerRetriever:
    """Finds the items whose vectors are closest to the user's. Implements `Retriever`; immutable.

    The user vector is made from the vectors of the history's items, so an item that the index learned of
    after training counts in a history too.
    """

    def __init__(self, weights: TwoTowerWeights, index: ItemIndex) -> None:
        if index.dimension != weights.bias.shape[0]:
            raise InvalidInputError(
                "index", f"has dimension {index.dimension}, the user tower {weights.bias.shape[0]}"
            )
        self.weights = weights
        self.index = index
        self._heads = weights.heads.reshape(-1, weights.bias.shape[0])
        self._segment_rows = {
            attribute: {value: row for row, value in enumerate(values)}
            for attribute, values in weights.segment_values.items()
        }

    def user_vector(self, user: UserState) -> NDArray[np.float32]:
        """Shape (d,), unit length: where the user stands in the space of the items.

        Unknown items of the history are ignored; of the known ones the newest `history_length` count,
        repeated ones every time. Without any, the segment decides; without a known segment, it is what
        most users like.
        """
        weights = self.weights
        vector = weights.bias.copy()
        for attribute, row_of in self._segment_rows.items():
            row = row_of.get(getattr(user.segment, attribute))
            if row is not None:
                vector += weights.segments[attribute][row]
        rows = self._newest_known(user.history)
        if rows:
            recency = weights.recency[:, : len(rows)]
            pooled = (recency @ self.index.vectors[rows]) / (recency.sum(axis=1, keepdims=True) + _SMALLEST)
            vector += pooled.reshape(-1) @ self._heads
        unit: NDArray[np.float32] = (vector / max(float(np.linalg.norm(vector)), _SMALLEST)).astype(
            np.float32
        )
        return unit

    def retrieve(self, user: UserState, count: int) -> Candidates:
        """Return ``count`` items neither seen nor disliked, best first; fewer if there are no more.

        Scores are cosine similarities between -1 and 1.
        """
        return self.index.search(self.user_vector(user), count, exclude=user.not_shown)

    def item_vectors(self, catalogue: Catalogue) -> NDArray[np.float32]:
        """Shape (n, d), unit length: the item tower over any catalogue.

        An item that was trained on has its trained vector. One that was not has the vector of its content:
        topics, creator, language and year. One without any known content has the zero vector, which is
        equally far from everyone.
        """
        rows, weights = self.weights.vocabulary.encode(catalogue)
        vectors = np.einsum("nf,nfd->nd", weights, self.weights.content[rows])
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SMALLEST)
        row_of = self.index.row_of
        known = [item for item, item_id in enumerate(catalogue.item_ids) if item_id in row_of]
        vectors[known] = self.index.vectors[[row_of[catalogue.item_ids[item]] for item in known]]
        result: NDArray[np.float32] = vectors.astype(np.float32)
        return result

    def with_items(self, state: ItemState) -> TwoTowerRetriever:
        """Return the same model over the items of the log: new ones by their content, removed ones not.

        An item that was trained on keeps its trained vector, however it is described anew.
        """
        row_of = self.index.row_of
        new = catalogue_of(item for item_id, item in state.items.items() if item_id not in row_of)
        removed = state.removed & row_of.keys()
        if not new and not removed:
            return self
        index = self.index.with_changes(new.item_ids, self.item_vectors(new), removed)
        return TwoTowerRetriever(self.weights, index)

    def _newest_known(self, history: Sequence[str]) -> list[int]:
        limit = self.weights.recency.shape[1]
        row_of = self.index.row_of
        rows: list[int] = []
        for item_id in reversed(history):
            row = row_of.get(item_id)
            if row is not None:
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows

    def save(self, folder: Path) -> None:
        """Write weights, vocabulary and index into ``folder``, which is made if need be."""
        self.index.save(folder)
        weights = self.weights
        tensors = {
            "recency": weights.recency,
            "heads": weights.heads,
            "bias": weights.bias,
            "content": weights.content,
            **{f"segments.{name}": table for name, table in weights.segments.items()},
        }
        save_file(
            {name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / WEIGHTS_FILE
        )
        document = {
            "format_version": _FORMAT_VERSION,
            "content_features": weights.vocabulary.features,
            "segment_values": dict(weights.segment_values),
        }
        (folder / VOCABULARY_FILE).write_text(
            json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> TwoTowerRetriever:
        """Read what `save` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, is of another version, or does not fit the others.
        """
        index = ItemIndex.load(folder)
        try:
            document = json.loads((folder / VOCABULARY_FILE).read_text("utf-8"))
            tensors = load_file(folder / WEIGHTS_FILE)
            if document["format_version"] != _FORMAT_VERSION:
                raise ArtifactError(
                    f"{folder / VOCABULARY_FILE} is of format {document['format_version']}, this code reads "
                    f"{_FORMAT_VERSION}; train the model again"
                )
            weights = TwoTowerWeights(
                recency=tensors["recency"],
                heads=tensors["heads"],
                bias=tensors["bias"],
                segments={name: tensors[f"segments.{name}"] for name in SEGMENT_ATTRIBUTES},
                segment_values={name: tuple(document["segment_values"][name]) for name in SEGMENT_ATTRIBUTES},
                content=tensors["content"],
                vocabulary=ContentVocabulary(tuple(document["content_features"])),
            )
            return cls(weights, index)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, InvalidInputError) as error:
            raise ArtifactError(f"{folder} does not hold a readable two-tower model: {error}") from error


def segment_values(segments: Sequence[Segment]) -> dict[str, tuple[str, ...]]:
    """Known values of each segment attribute, sorted. ``unknown`` is not a value: it adds nothing."""
    return {
        attribute: tuple(sorted({getattr(segment, attribute) for segment in segments} - {UNKNOWN}))
        for attribute in SEGMENT_ATTRIBUTES
    }
