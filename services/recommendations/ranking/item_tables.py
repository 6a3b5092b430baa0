"""Item-to-item tables counted from train sequences: what follows what, and what is visited together."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.recommendations.ranking.settings import FeatureSettings
from streamrec.training.splits import UserHistories

_TRANSITION_SHRINKAGE: Final = 5.0
_CO_VISITATION_SHRINKAGE: Final = 5.0
_BLOCK_ITEMS: Final = 1024


def transition_probabilities(
    train: UserHistories, item_count: int, settings: FeatureSettings
) -> sparse.csr_matrix:
    """Probability of an item soon after another, shrunk towards zero where little is known.

    A pair that is l steps apart counts 1 / sqrt(l), up to ``settings.transition_window`` steps: a skip-gram
    count with a direction. Row a is the counts of a divided by their sum plus a constant.

    Returns:
        Shape (items, items), float32, at most ``settings.neighbour_count`` entries a row.
    """
    counts = sparse.csr_matrix((item_count, item_count), dtype=np.float32)
    for lag in range(1, settings.transition_window + 1):
        within = train.users[lag:] == train.users[:-lag]
        before, after = train.items[:-lag][within], train.items[lag:][within]
        weights = np.full(before.size, 1.0 / np.sqrt(lag), dtype=np.float32)
        counts = counts + sparse.csr_matrix((weights, (before, after)), shape=counts.shape)
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel() + _TRANSITION_SHRINKAGE
    counts = counts.tocsr()
    counts.data = (counts.data / np.repeat(totals, np.diff(counts.indptr))).astype(np.float32)
    return keep_largest(counts, settings.neighbour_count)


def co_visitation(train: UserHistories, item_count: int, settings: FeatureSettings) -> sparse.csr_matrix:
    """Cosine similarity of items by the users who visited both, shrunk where few did.

    Cosine: Sarwar et al. 2001, eq. 1; shrinkage: Bell and Koren 2007, eq. 6. Of each user the newest
    ``settings.co_visitation_length`` items count.

    Returns:
        Shape (items, items), float32, zero diagonal, at most ``settings.neighbour_count`` entries a row.
    """
    from_end = train.offsets[1:][train.users] - np.arange(train.items.size)
    recent = from_end <= settings.co_visitation_length
    visits = sparse.csr_matrix(
        (np.ones(int(recent.sum()), dtype=np.float32), (train.users[recent], train.items[recent])),
        shape=(len(train), item_count),
    )
    visits.data[:] = 1.0
    by_item = visits.T.tocsr()
    counts = np.asarray(visits.sum(axis=0), dtype=np.float64).ravel()
    blocks = []
    for start in range(0, item_count, _BLOCK_ITEMS):
        together = (by_item[start : start + _BLOCK_ITEMS] @ visits).tocsr()
        rows = start + np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
        columns = together.indices
        shared = together.data.astype(np.float64)
        cosine = shared / np.sqrt(np.maximum(counts[rows] * counts[columns], 1.0))
        cosine *= shared / (shared + _CO_VISITATION_SHRINKAGE)
        cosine[rows == columns] = 0.0
        together.data = cosine.astype(np.float32)
        together.eliminate_zeros()
        blocks.append(keep_largest(together, settings.neighbour_count))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((0, 0), dtype=np.float32)


def keep_largest(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """The ``count`` largest entries of each row; equal ones by lower column."""
    lengths = np.diff(matrix.indptr)
    if lengths.size == 0 or lengths.max() <= count:
        matrix.sort_indices()
        return matrix
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(order.size) - matrix.indptr[:-1][rows]
    kept = order[rank < count]
    pruned = sparse.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)
    pruned.sort_indices()
    return pruned


def weighted_rows(
    matrix: sparse.csr_matrix, rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of ``weights[j] * matrix[rows[j]]``, dense, shape (columns,)."""
    starts, ends = matrix.indptr[rows], matrix.indptr[rows + 1]
    lengths = (ends - starts).astype(np.int64)
    total = int(lengths.sum())
    if total == 0:
        return np.zeros(matrix.shape[1])
    firsts = np.cumsum(lengths) - lengths
    positions = np.arange(total) + np.repeat(starts - firsts, lengths)
    values = matrix.data[positions].astype(np.float64) * np.repeat(weights, lengths)
    return np.bincount(matrix.indices[positions], weights=values, minlength=matrix.shape[1]).astype(
        np.float64
    )
