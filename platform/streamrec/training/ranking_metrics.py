"""Ranking metrics of one held-out item per user, over the full catalogue. Never sampled."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

LIST_LENGTH: Final = 500
"""How much of a ranking an evaluation looks at: the depth of the deepest metric, Recall@500."""


def rank_of(lists: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.int32]:
    """Position of each user's held-out item in that user's list.

    Args:
        lists: Shape (u, n), item rows, best first; -1 pads a short list.
        target: Shape (u,), the held-out item of each user.

    Returns:
        Shape (u,), 0 for the first position, -1 where the item is not in the list.
    """
    hits = lists == target[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), -1).astype(np.int32)


def hit_at(ranks: NDArray[np.int32], depth: int) -> NDArray[np.float64]:
    """Shape (u,): 1.0 where the held-out item is among the first ``depth``, else 0.0.

    With one held-out item per user this is also Recall@depth.
    """
    return ((ranks >= 0) & (ranks < depth)).astype(np.float64)


def ndcg_at(ranks: NDArray[np.int32], depth: int) -> NDArray[np.float64]:
    """Shape (u,): 1 / log2(rank + 2) where the held-out item is among the first ``depth``, else 0.

    The ideal gain of one relevant item is 1 (Järvelin and Kekäläinen 2002, eq. 3, binary relevance).
    """
    found = (ranks >= 0) & (ranks < depth)
    return np.where(found, 1.0 / np.log2(np.maximum(ranks, 0) + 2.0), 0.0)


def top_unseen(
    scores: NDArray[np.float32], seen: sparse.csr_matrix, count: int = LIST_LENGTH
) -> NDArray[np.int32]:
    """Best unseen items of each user by score.

    Args:
        scores: Shape (u, items); changed in place: seen items become -inf.
        seen: Shape (u, items), non-zero where the user has seen the item.
        count: Length of the lists.

    Returns:
        Shape (u, min(count, items)), best first; ties go to the lower row; -1 where nothing unseen is left.
    """
    rows, columns = seen.nonzero()
    scores[rows, columns] = -np.inf
    count = min(count, scores.shape[1])
    if count < scores.shape[1]:
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        top.sort(axis=1)
    else:
        top = np.broadcast_to(np.arange(count), scores.shape).copy()
    values = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    top[np.isneginf(np.take_along_axis(values, order, axis=1))] = -1
    return top.astype(np.int32)
