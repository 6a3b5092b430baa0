"""The cold-start model for many users at once: the answers of `ColdStartModel.retrieve`, by matrix products.

For simulations and offline work, where thousands of users ask in the same moment. The arithmetic is that of
the served path and is tested to give its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Segment

CHUNK_USERS: Final = 256
"""Users that are scored at once: bounds the memory at a few arrays of this many rows, one column an item."""

Floats = NDArray[np.float64]


class ColdStartBatch:
    """Retrieves for many users; items are named by row of the model's index."""

    def __init__(self, model: ColdStartModel) -> None:
        self.model = model
        self._coordinates = model.item_coordinates
        self._squares = self._coordinates * self._coordinates
        self._vectors = np.asarray(model.index.vectors, dtype=np.float32)
        self._priors: dict[Segment, tuple[Floats, Floats]] = {}

    def retrieve(
        self,
        segments: Sequence[Segment],
        histories: NDArray[np.integer],
        count: int,
        rngs: Sequence[np.random.Generator],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``count`` best unseen items of each user; see `ColdStartModel.retrieve`.

        Args:
            segments: Of the n users.
            histories: Shape (n, w): distinct item rows, -1 where there is none.
            count: Items wanted.
            rngs: Length n: the generator of each user's draw.

        Returns:
            Item rows and scores, best first, both of shape (n, min(count, items)); -1 and minus infinity
            where a user has no more unseen items.
        """
        width = min(count, len(self.model.index))
        rows = np.empty((len(segments), width), dtype=np.int64)
        scores = np.empty((len(segments), width), dtype=np.float32)
        for begin in range(0, len(segments), CHUNK_USERS):
            part = slice(begin, begin + CHUNK_USERS)
            rows[part], scores[part] = self._chunk(segments[part], histories[part], width, rngs[part])
        return rows, scores

    def _chunk(
        self,
        segments: Sequence[Segment],
        histories: NDArray[np.integer],
        count: int,
        rngs: Sequence[np.random.Generator],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        model = self.model
        seen = histories >= 0
        clicks = seen.sum(axis=1)
        mean, precision = self._posterior(segments, histories, seen, rngs)
        population_mean, population_weight = model.population
        own = 1.0 / (1.0 + 1.0 / precision)
        linear = own * mean - population_weight * population_mean
        quadratic = 0.5 * (population_weight - own)
        users, columns = np.nonzero(seen)
        taken = histories[users, columns]

        near = (linear @ model.basis.to_canonical.T).astype(np.float32) @ self._vectors.T
        near[users, taken] = -np.inf
        groups = np.array([model.popularity.group(segment.language) for segment in segments])
        chosen = np.zeros(near.shape, dtype=np.bool_)
        np.put_along_axis(chosen, top_columns(near, count), values=True, axis=1)
        # Each user's own seen items are made up for among the leaders, as in the served path.
        depth = count + clicks
        leaders = model.leaders[groups, : int(depth.max())]
        rank = np.arange(leaders.shape[1])
        wanted = rank[None, :] < depth[:, None]
        owner = np.broadcast_to(np.arange(len(segments))[:, None], leaders.shape)
        chosen[owner[wanted], leaders[wanted]] = True
        chosen[users, taken] = False

        taste = linear.astype(np.float32) @ self._coordinates.T
        taste += quadratic.astype(np.float32) @ self._squares.T
        weights = np.array([model.blend.weight_after(int(n)) for n in clicks], dtype=np.float32)
        scores = model.popularity.log_shares[groups] + weights[:, None] * taste
        scores[~chosen] = -np.inf
        best = top_columns(scores, count)
        best_scores = np.take_along_axis(scores, best, axis=1)
        return np.where(np.isneginf(best_scores), -1, best), best_scores

    def _posterior(
        self,
        segments: Sequence[Segment],
        histories: NDArray[np.integer],
        seen: NDArray[np.bool_],
        rngs: Sequence[np.random.Generator],
    ) -> tuple[Floats, Floats]:
        """Mean and precision, both of shape (n, d), after the history and the draw."""
        blend = self.model.blend
        for segment in segments:
            if segment not in self._priors:
                self._priors[segment] = self.model.prior.of(segment)
        prior_mean = np.array([self._priors[segment][0] for segment in segments])
        prior_precision = 1.0 / np.array([self._priors[segment][1] for segment in segments])
        rows = np.where(seen, histories, 0)
        total = (self._coordinates[rows] * seen[:, :, None]).sum(axis=1, dtype=np.float64)
        precision = prior_precision + blend.click_weight * seen.sum(axis=1)[:, None]
        mean = (prior_precision * prior_mean + blend.click_weight * total) / precision
        if blend.exploration == 0.0:
            return mean, precision
        dimension = mean.shape[1]
        drawn = np.array([rng.standard_normal(dimension) for rng in rngs]).reshape(mean.shape)
        left = max(1.0 - blend.exploration**2, 1e-12)
        return mean + drawn * (blend.exploration / np.sqrt(precision)), precision / left


def top_columns(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Shape (n, count): columns of each row's highest scores, best first; equal scores in column order."""
    if count < scores.shape[1]:
        found = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        found.sort(axis=1)
        # Of equal scores at the cut the partition takes any; these rows are sorted whole instead.
        lowest = np.take_along_axis(scores, found, axis=1).min(axis=1)
        cut = np.isfinite(lowest) & ((scores >= lowest[:, None]).sum(axis=1) > count)
        found[cut] = np.sort(np.argsort(-scores[cut], axis=1, kind="stable")[:, :count], axis=1)
    else:
        found = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    best: NDArray[np.int64] = np.take_along_axis(found, order, axis=1)
    return best
