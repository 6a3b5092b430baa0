"""What the item tower knows of an item before anyone has touched it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.training.content_features import MAXIMUM_FEATURES, content_features
from streamrec.datasets.catalogue import Catalogue


@dataclass(frozen=True)
class ContentVocabulary:
    """The content features that have an embedding: topics, creators, languages, years of publication.

    Attributes:
        features: Names such as ``topic:Drama`` or ``year:1995``; the embedding of ``features[i]`` is row
            i + 1 of the table, row 0 is padding.
    """

    features: tuple[str, ...]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {feature: row for row, feature in enumerate(self.features, start=1)}

    @classmethod
    def build(cls, catalogue: Catalogue, minimum_count: int) -> Self:
        """Keep every feature that at least ``minimum_count`` items have, sorted."""
        counts: Counter[str] = Counter()
        for item in range(len(catalogue)):
            counts.update(name for name, _ in content_features(catalogue, item))
        return cls(tuple(sorted(name for name, count in counts.items() if count >= minimum_count)))

    def encode(self, catalogue: Catalogue) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Look up every item's features; those without an embedding are left out.

        Returns:
            Rows of the embedding table and their weights, both of shape (n, slots): the topics of an item
            share the weight 1, every other feature has weight 1, padding is row 0 with weight 0.
        """
        rows = np.zeros((len(catalogue), MAXIMUM_FEATURES), dtype=np.int32)
        weights = np.zeros((len(catalogue), MAXIMUM_FEATURES), dtype=np.float32)
        row_of = self._row_of
        for item in range(len(catalogue)):
            for slot, (name, weight) in enumerate(content_features(catalogue, item)):
                row = row_of.get(name)
                if row is not None:
                    rows[item, slot], weights[item, slot] = row, weight
        return rows, weights
