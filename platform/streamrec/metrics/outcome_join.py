"""Outcomes joined to impressions on tables, as `streamrec.events.joining.join_outcomes` joins objects. Pure.

`tests/unit/metrics/test_outcome_join.py` holds that both say the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW

OUTCOME_COLUMNS: Final = ("unit", "request_id", "item_id", "occurred_at")
IMPRESSION_COLUMNS: Final = ("unit", "request_id", "client_request_id", "slot", "predicted_at", "item_ids")

NO_ANSWER: Final = -1

_MICROSECOND: Final = timedelta(microseconds=1)


def joined_rows(outcomes: pa.Table, impressions: pa.Table, window: timedelta) -> NDArray[np.int64]:
    """Find the impression that each outcome belongs to.

    Args:
        outcomes: `OUTCOME_COLUMNS`, every event once.
        impressions: `IMPRESSION_COLUMNS`, every event once.
        window: How long after an impression an outcome still belongs to it.

    Returns:
        Shape (outcomes,): row of the impression, `NO_ANSWER` where there is none.
    """
    found = np.full(outcomes.num_rows, NO_ANSWER, dtype=np.int64)
    own = _pairs(outcomes, impressions, "request_id")
    called = _pairs(outcomes, impressions, "client_request_id")
    # What a client calls its request counts only where no request of the unit has that id as its own.
    called = called[~np.isin(called[:, 0], own[:, 0])]
    pairs = np.concatenate([own, called])
    pairs = pairs[_in_time(outcomes, impressions, pairs, window)]
    pairs = pairs[_item_shown(outcomes, impressions, pairs)]
    if pairs.size:
        shown = pairs[:, 1]
        order = np.lexsort((_ranks(impressions, shown), pairs[:, 0]))
        rows, first = np.unique(pairs[order, 0], return_index=True)
        found[rows] = pairs[order[first], 1]
    return found


def answered(outcomes: pa.Table, impressions: pa.Table) -> pa.Table:
    """The impressions that an outcome names, by either id: others need not be looked at."""
    named = pc.drop_null(pc.unique(outcomes["request_id"]))
    by_own = pc.is_in(impressions["request_id"], value_set=named)
    by_client = pc.is_in(impressions["client_request_id"], value_set=named)
    return impressions.filter(pc.or_(by_own, by_client))


def _pairs(outcomes: pa.Table, impressions: pa.Table, id_column: str) -> NDArray[np.int64]:
    """All pairs of one unit and one request: shape (pairs, 2), outcome and impression."""
    keys = ["unit", "request_id"]
    left = _numbered(outcomes.select(keys), "outcome")
    right = _numbered(impressions.select(["unit", id_column]).rename_columns(keys), "impression")
    pairs = left.join(right, keys, join_type="inner")
    return np.stack([pairs[name].to_numpy() for name in ("outcome", "impression")], axis=1)


def _numbered(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(name, pa.array(np.arange(table.num_rows)))


def _in_time(
    outcomes: pa.Table, impressions: pa.Table, pairs: NDArray[np.int64], window: timedelta
) -> NDArray[np.bool_]:
    occurred = microseconds(outcomes["occurred_at"])[pairs[:, 0]]
    predicted = microseconds(impressions["predicted_at"])[pairs[:, 1]]
    delay = occurred - predicted
    inside: NDArray[np.bool_] = (delay >= -(MAXIMUM_CLOCK_SKEW // _MICROSECOND)) & (
        delay <= window // _MICROSECOND
    )
    return inside


def _item_shown(outcomes: pa.Table, impressions: pa.Table, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the slate holds the outcome's item; an outcome about no item belongs to any slate."""
    items = outcomes["item_id"].combine_chunks().take(pa.array(pairs[:, 0]))
    shown: NDArray[np.bool_] = items.is_null().to_numpy(zero_copy_only=False)
    slates = impressions["item_ids"].combine_chunks().take(pa.array(pairs[:, 1]))
    pair_of = pc.list_parent_indices(slates)
    equal = pc.fill_null(pc.equal(pc.list_flatten(slates), items.take(pair_of)), False)
    shown[pair_of.filter(equal).to_numpy()] = True
    return shown


def _ranks(impressions: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each pair's impression among all: by the name of the slot, then as in `EventSnapshot`."""
    names = ("slot", "predicted_at", "request_id", "unit")
    taken = impressions.select(names).take(pa.array(rows))
    order = pc.sort_indices(taken, sort_keys=[(name, "ascending") for name in names]).to_numpy()
    ranks = np.empty(rows.size, dtype=np.int64)
    ranks[order] = np.arange(rows.size)
    return ranks


def microseconds(moments: pa.ChunkedArray) -> NDArray[np.int64]:
    """Moments as microseconds since 1970, UTC."""
    numbers: NDArray[np.int64] = moments.cast(pa.int64()).to_numpy()
    return numbers
