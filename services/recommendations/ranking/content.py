"""What the network knows of an item from its content alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.types import UNKNOWN
from streamrec.datasets.catalogue import Catalogue

MAXIMUM_TOPICS: Final = 8
"""Topics of one item that count; more are ignored."""

_SLOTS: Final = MAXIMUM_TOPICS + 3


@dataclass(frozen=True)
class ContentTable:
    """Every item's content features, as rows of an embedding table.

    Attributes:
        rows: Shape (n, slots), int64; row 0 is padding.
        weights: Shape (n, slots), float32: the topics of an item share the weight 1, every other feature has
            weight 1, padding has weight 0.
        feature_count: Rows of the embedding table, padding included.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    feature_count: int

    @classmethod
    def of(cls, catalogue: Catalogue, minimum_count: int) -> Self:
        """Encode the features that at least ``minimum_count`` items have."""
        named = [_features_of(catalogue, item) for item in range(len(catalogue))]
        counts = Counter(name for features in named for name, _ in features)
        kept = sorted(name for name, count in counts.items() if count >= minimum_count)
        row_of = {name: row for row, name in enumerate(kept, start=1)}
        rows = np.zeros((len(catalogue), _SLOTS), dtype=np.int64)
        weights = np.zeros((len(catalogue), _SLOTS), dtype=np.float32)
        for item, features in enumerate(named):
            for slot, (name, weight) in enumerate(features):
                if name in row_of:
                    rows[item, slot], weights[item, slot] = row_of[name], weight
        return cls(rows, weights, len(kept) + 1)


def _features_of(catalogue: Catalogue, item: int) -> list[tuple[str, float]]:
    topics = sorted(set(catalogue.topics[item]))[:MAXIMUM_TOPICS]
    features = [(f"topic:{topic}", 1.0 / len(topics)) for topic in topics]
    if catalogue.creator_ids[item] != UNKNOWN:
        features.append((f"creator:{catalogue.creator_ids[item]}", 1.0))
    if catalogue.creator_languages[item] != UNKNOWN:
        features.append((f"language:{catalogue.creator_languages[item]}", 1.0))
    published_at = catalogue.published_at[item]
    if not np.isnat(published_at):
        features.append((f"year:{published_at.astype('datetime64[Y]')}", 1.0))
    return features
