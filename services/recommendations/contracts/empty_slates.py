"""Why a slate holds no item, for answers and metrics."""

from __future__ import annotations

from enum import StrEnum


class EmptyReason(StrEnum):
    """Of a slate without items."""

    EMPTY_CATALOGUE = "empty_catalogue"
    """There is no item to recommend: a fault of the catalogue, which somebody should hear of."""
    EVERYTHING_FILTERED = "everything_filtered"
    """The user disliked what there is, or was shown it on the pages before."""
