"""The item index as it serves, beside exact search over the same vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import CANDIDATE_COUNT
from services.recommendations.evaluation.call_latency import latency_json, time_calls
from services.recommendations.item_index.index import ItemIndex
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.stats.intervals import bootstrap_mean
from streamrec.training.model_card import CallLatency

SEARCH_CALL: Final = f"find {CANDIDATE_COUNT} items for one user vector"


@dataclass(frozen=True)
class IndexSearch:
    """Recall and time of the index.

    Attributes:
        item_count: Items in it.
        is_exact: Whether it is an exact index itself: at this size an approximation buys nothing.
        recall: Share of the true `CANDIDATE_COUNT` items that it finds, mean over queries with an interval.
        served: Time of one search.
        exact: Time of one exact search; that of `served` where the index is exact.
    """

    item_count: int
    is_exact: bool
    recall: Interval
    served: CallLatency
    exact: CallLatency

    @property
    def time_share(self) -> float:
        """Median time over that of exact search."""
        return self.served.median_ms / self.exact.median_ms

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "items": self.item_count,
            "is_exact": self.is_exact,
            "recall@500": interval_json(self.recall),
            "latency": latency_json(self.served),
            "exact_latency": latency_json(self.exact),
            "median_time_share": self.time_share,
        }


def measure_index(
    index: ItemIndex, exact: ItemIndex, queries: Sequence[NDArray[np.float32]], *, seed: int
) -> IndexSearch:
    """Search both for every query.

    Args:
        index: As it serves.
        exact: Over the same items; ``index`` itself where that is exact.
        queries: User vectors, each of shape (d,).
        seed: Of the resamples.

    Raises:
        InvalidInputError: There are no queries, or the two hold different items.
    """
    if index.item_ids != exact.item_ids:
        raise InvalidInputError("exact", "does not hold the same items as the index")
    nothing = np.empty(0, dtype=np.int64)
    served = time_calls(
        SEARCH_CALL, lambda query: index.search_rows(query, CANDIDATE_COUNT, nothing), queries
    )
    if index is exact:
        reference, shares = served, np.ones(len(queries))
    else:
        reference = time_calls(
            SEARCH_CALL, lambda query: exact.search_rows(query, CANDIDATE_COUNT, nothing), queries
        )
        shares = np.array([_found_share(index, exact, query, nothing) for query in queries])
    recall = bootstrap_mean(shares, rng=np.random.default_rng(seed))
    return IndexSearch(len(index), index is exact, recall, served, reference)


def _found_share(
    index: ItemIndex, exact: ItemIndex, query: NDArray[np.float32], nothing: NDArray[np.int64]
) -> float:
    found, _ = index.search_rows(query, CANDIDATE_COUNT, nothing)
    true, _ = exact.search_rows(query, CANDIDATE_COUNT, nothing)
    return float(np.isin(true, found).mean())
