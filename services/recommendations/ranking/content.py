"""What the network knows of an item from its content alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.training.content_features import MAXIMUM_FEATURES, content_features
from streamrec.datasets.catalogue import Catalogue


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
        named = [content_features(catalogue, item) for item in range(len(catalogue))]
        counts = Counter(name for features in named for name, _ in features)
        kept = sorted(name for name, count in counts.items() if count >= minimum_count)
        row_of = {name: row for row, name in enumerate(kept, start=1)}
        rows = np.zeros((len(catalogue), MAXIMUM_FEATURES), dtype=np.int64)
        weights = np.zeros((len(catalogue), MAXIMUM_FEATURES), dtype=np.float32)
        for item, features in enumerate(named):
            for slot, (name, weight) in enumerate(features):
                if name in row_of:
                    rows[item, slot], weights[item, slot] = row_of[name], weight
        return cls(rows, weights, len(kept) + 1)
