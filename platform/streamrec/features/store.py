"""The port to the feature store, and the rows that it hands out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.datasets.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class UserFeatures:
    """One user's row, as serving reads it.

    Attributes:
        user_id: Who.
        country, language, age_band, signup_channel: Segment attributes, ``unknown`` where not known.
        history: Items of the user's positive events, oldest first, bounded by the store.
        updated_at: Time of the newest event in ``history``, UTC; None without any.
    """

    user_id: str
    country: str
    language: str
    age_band: str
    signup_channel: str
    history: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True)
class ItemTable:
    """Every item with its features: small enough to be cached whole in a replica.

    Attributes:
        catalogue: Every item.
        interaction_counts: Shape (n,), int64: interactions of each item up to materialisation.
        revision: SHA-256 of the content; changes whenever the table does.
    """

    catalogue: Catalogue
    interaction_counts: NDArray[np.int64]
    revision: str


class FeatureStore(Protocol):
    """Online features. Blocking: call it from a worker thread where an event loop must not wait."""

    def user_features(self, user_id: str) -> UserFeatures | None:
        """Return the user's row, or None for a user that the store does not know.

        Raises:
            DependencyError: The online store did not answer.
        """
        ...

    def write_history(self, user_id: str, history: tuple[str, ...], updated_at: datetime) -> None:
        """Replace the user's history online; creates the user's activity row if there is none.

        Raises:
            DependencyError: The online store did not answer.
        """
        ...

    def item_table(self) -> ItemTable:
        """Return all items with their features.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...
