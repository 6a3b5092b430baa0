"""The baselines every model is measured against. All are fitted on the train part of a split alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from streamrec.contracts.errors import InvalidInputError
from streamrec.training.evaluation import CatalogueRanker
from streamrec.training.ranking_metrics import top_unseen
from streamrec.training.splits import UserHistories

_BATCH_VALUES: Final = 16_000_000
"""Scores of users x items held in memory at once (64 MB)."""


class _Scorer(Protocol):
    item_count: int

    def scores(self, seen: sparse.csr_matrix, last: NDArray[np.int32]) -> NDArray[np.float32]: ...


class _ScoredCatalogue:
    """`CatalogueRanker` of anything that scores the whole catalogue for a batch of users."""

    def top_items(
        self: _Scorer, users: NDArray[np.int32], histories: UserHistories, count: int
    ) -> NDArray[np.int32]:
        """See `CatalogueRanker.top_items`."""
        lists = np.empty((len(users), min(count, self.item_count)), dtype=np.int32)
        batch = max(1, _BATCH_VALUES // self.item_count)
        for start in range(0, len(users), batch):
            chosen = users[start : start + batch]
            seen = history_matrix(chosen, histories, self.item_count)
            scores = self.scores(seen, last_items(chosen, histories))
            lists[start : start + batch] = top_unseen(scores, seen, count)
        return lists


class Popularity(_ScoredCatalogue):
    """The same for everyone: items by their number of train interactions.

    Attributes:
        counts: Shape (items,), float32.
    """

    def __init__(self, counts: NDArray[np.float32]) -> None:
        self.counts = counts
        self.item_count = len(counts)

    @classmethod
    def fit(cls, train: UserHistories, item_count: int) -> Self:
        """Count interactions."""
        return cls(np.bincount(train.items, minlength=item_count).astype(np.float32))

    def scores(self, seen: sparse.csr_matrix, last: NDArray[np.int32]) -> NDArray[np.float32]:  # noqa: ARG002
        """Shape (b, items): the counts, once for every user."""
        return np.tile(self.counts, (len(last), 1))


class ItemKNN(_ScoredCatalogue):
    """Sum of cosine similarities to the items of the history (Sarwar et al. 2001, sec. 3.1.1 and 3.2.1).

    Similarities are shrunk towards zero where few users support them (Bell and Koren 2007) and
    only each item's nearest neighbours are kept.
    """

    def __init__(self, similarity: sparse.csr_matrix) -> None:
        self.similarity = similarity
        self.item_count = similarity.shape[0]

    @classmethod
    def fit(
        cls, train: UserHistories, item_count: int, *, neighbour_count: int = 100, shrinkage: float = 5.0
    ) -> Self:
        """Compute the neighbours of every item, a block of items at a time."""
        interactions = train.matrix(item_count)
        by_item = interactions.T.tocsr()
        norms = np.sqrt(np.asarray(interactions.sum(axis=0), dtype=np.float32).ravel())
        block = max(1, _BATCH_VALUES // item_count)
        blocks = []
        for start in range(0, item_count, block):
            stop = min(start + block, item_count)
            similar = (by_item[start:stop] @ interactions).toarray()
            similar /= np.maximum(norms[start:stop, None] * norms[None, :] + shrinkage, 1e-12)
            similar[np.arange(stop - start), np.arange(start, stop)] = 0.0
            blocks.append(_keep_largest(similar, neighbour_count))
        return cls(sparse.vstack(blocks, format="csr"))

    def scores(self, seen: sparse.csr_matrix, last: NDArray[np.int32]) -> NDArray[np.float32]:  # noqa: ARG002
        """Shape (b, items)."""
        # Row i of the similarity holds the neighbours of item i: a candidate counts the items of the
        # history that are among its own neighbours.
        scores: NDArray[np.float32] = (seen @ self.similarity.T).toarray().astype(np.float32)
        return scores


class EASE(_ScoredCatalogue):
    """Embarrassingly shallow autoencoder (Steck 2019, eq. 8): a closed-form item-to-item regression.

    With X the users x items matrix and P = (X'X + l2 I)^-1, the weights are B = I - P diag(1 / diag P).
    Where users are fewer than items, P is never formed: by Woodbury's identity
    P = (I - X' M X) / l2 with M = (X X' + l2 I)^-1, which is users x users and gives the same scores.

    Bound: the smaller side may have at most ``maximum_size`` rows. Where both have more, only the
    ``maximum_size`` most popular items take part; all others follow behind them, by popularity.
    """

    def __init__(
        self,
        items: NDArray[np.int64],
        interactions: sparse.csr_matrix,
        core: NDArray[np.float32],
        scale: NDArray[np.float32],
        l2: float,
        counts: NDArray[np.float32],
        dual: bool,
    ) -> None:
        self.item_count = len(counts)
        self.dual = dual
        self._items = items
        self._interactions = interactions
        self._core = core
        self._scale = scale
        self._l2 = l2
        self._counts = counts

    @classmethod
    def fit(
        cls, train: UserHistories, item_count: int, *, l2: float = 300.0, maximum_size: int = 20_000
    ) -> Self:
        """Invert the smaller of the two Gram matrices.

        Raises:
            InvalidInputError: ``l2`` is not positive: the matrix would be singular.
        """
        if l2 <= 0:
            raise InvalidInputError("l2", "must be positive")
        counts = np.bincount(train.items, minlength=item_count).astype(np.float32)
        items = np.flatnonzero(counts)
        user_count = int((train.lengths > 0).sum())
        if min(items.size, user_count) > maximum_size:
            items = np.sort(np.argsort(-counts, kind="stable")[:maximum_size])
        interactions = train.matrix(item_count)[train.lengths > 0][:, items].tocsr()
        dual = user_count <= items.size
        gram = (interactions @ interactions.T if dual else interactions.T @ interactions).toarray()
        gram[np.diag_indices_from(gram)] += l2
        inverse = linalg.inv(gram, overwrite_a=True, check_finite=False).astype(np.float32)
        if dual:
            # diag(X' M X), without the items x items product.
            by_item = interactions.T.tocsr()
            block = max(1, _BATCH_VALUES // max(1, user_count))
            explained = np.concatenate(
                [
                    np.asarray(rows.multiply(rows @ inverse).sum(axis=1)).ravel()
                    for rows in (by_item[start : start + block] for start in range(0, items.size, block))
                ]
            )
            diagonal = (1.0 - explained) / l2
        else:
            diagonal = np.diag(inverse)
        return cls(items, interactions, inverse, (1.0 / diagonal).astype(np.float32), l2, counts, dual)

    def scores(self, seen: sparse.csr_matrix, last: NDArray[np.int32]) -> NDArray[np.float32]:
        """Shape (b, items)."""
        history = seen[:, self._items].tocsr()
        if self.dual:
            shared = (history @ self._interactions.T) @ self._core
            explained = (self._interactions.T @ shared.T).T
            projected = (history.toarray() - explained) / self._l2
        else:
            projected = history @ self._core
        # Items outside stand below all others, by popularity.
        scores = np.tile(self._counts - 1e6, (len(last), 1)).astype(np.float32)
        scores[:, self._items] = history.toarray() - projected * self._scale
        return scores


class Markov(_ScoredCatalogue):
    """First-order Markov chain: probability of the next item given the last one.

    Transition counts are smoothed with ``prior_count`` imaginary transitions spread by popularity (the
    Dirichlet prior of Zhai and Lafferty 2004): a rarely seen last item falls back to popularity, and
    so does a user without history.

    Attributes:
        transitions: Shape (items, items), sparse: row i counts what directly followed item i.
        popularity: Shape (items,): share of all train interactions.
        prior_count: Weight of popularity, in transitions.
    """

    def __init__(
        self, transitions: sparse.csr_matrix, popularity: NDArray[np.float32], prior_count: float
    ) -> None:
        self.transitions = transitions
        self.popularity = popularity
        self.prior_count = prior_count
        self.item_count = len(popularity)
        self._totals = np.asarray(transitions.sum(axis=1), dtype=np.float32).ravel()

    @classmethod
    def fit(cls, train: UserHistories, item_count: int, *, prior_count: float = 300.0) -> Self:
        """Count how often each item directly followed each other.

        Raises:
            InvalidInputError: ``prior_count`` is not positive: an unseen last item would have no answer.
        """
        if prior_count <= 0.0:
            raise InvalidInputError("prior_count", "must be positive")
        within = train.users[1:] == train.users[:-1]
        before, after = train.items[:-1][within], train.items[1:][within]
        ones = np.ones(before.size, dtype=np.float32)
        counts = sparse.csr_matrix((ones, (before, after)), shape=(item_count, item_count))
        popularity = np.bincount(train.items, minlength=item_count) / max(1, train.items.size)
        return cls(counts, popularity.astype(np.float32), prior_count)

    def scores(self, seen: sparse.csr_matrix, last: NDArray[np.int32]) -> NDArray[np.float32]:  # noqa: ARG002
        """Shape (b, items): p(next | last); popularity for a user without history (``last`` -1)."""
        scores = np.tile(self.prior_count * self.popularity, (len(last), 1)).astype(np.float32)
        known = np.flatnonzero(last >= 0)
        scores[known] += self.transitions[last[known]].toarray()
        totals = np.where(last >= 0, self._totals[last], 0.0).astype(np.float32)
        scores /= (totals + np.float32(self.prior_count))[:, None]
        return scores


BASELINES: Final[Mapping[str, Callable[[UserHistories, int], CatalogueRanker]]] = {
    "popularity": Popularity.fit,
    "itemknn": ItemKNN.fit,
    "ease": EASE.fit,
    "markov": Markov.fit,
}
"""How to fit each baseline on train sequences and a number of items, by the name it is reported under."""


def history_matrix(users: NDArray[np.int32], histories: UserHistories, item_count: int) -> sparse.csr_matrix:
    """Binary matrix of what some users have seen, float32, shape (b, item_count)."""
    parts = [np.unique(histories.of(user)) for user in users]
    offsets = np.concatenate(([0], np.cumsum([part.size for part in parts]))).astype(np.int64)
    items = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    return sparse.csr_matrix(
        (np.ones(items.size, dtype=np.float32), items, offsets), shape=(len(users), item_count)
    )


def last_items(users: NDArray[np.int32], histories: UserHistories) -> NDArray[np.int32]:
    """Shape (b,): the newest item of each user, -1 for a user without history."""
    ends = histories.offsets[users + 1]
    has_any = histories.lengths[users] > 0
    if histories.items.size == 0:
        return np.full(len(users), -1, dtype=np.int32)
    return np.where(has_any, histories.items[np.maximum(ends - 1, 0)], -1).astype(np.int32)


def _keep_largest(values: NDArray[np.float32], count: int) -> sparse.csr_matrix:
    """The ``count`` largest positive entries of each row, the rest zero."""
    if count < values.shape[1]:
        threshold = -np.partition(-values, count - 1, axis=1)[:, count - 1]
        values = np.where(values >= np.maximum(threshold, 1e-12)[:, None], values, 0.0)
    return sparse.csr_matrix(values, dtype=np.float32)
