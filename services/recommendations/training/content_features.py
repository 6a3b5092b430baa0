"""What is known of an item from content alone, as named features: what the models embed."""

from __future__ import annotations

from typing import Final

import numpy as np

from streamrec.contracts.conventions import UNKNOWN
from streamrec.datasets.catalogue import Catalogue

MAXIMUM_TOPICS: Final = 8
"""Topics of one item that count; more are ignored."""

MAXIMUM_FEATURES: Final = MAXIMUM_TOPICS + 3
"""Most features of one item: its topics, creator, language and year."""


def content_features(catalogue: Catalogue, item: int) -> list[tuple[str, float]]:
    """Name and weight of each feature of an item; its topics share the weight 1, every other one has 1."""
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
