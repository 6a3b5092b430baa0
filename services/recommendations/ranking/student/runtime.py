"""The student as it serves: NumPy on tables, one history at a time, only the newest position computed.

It computes what `network.StudentNetwork` computes for one prefix, with the keys and values of every item made
beforehand. At this size a general runtime's overhead a call is most of the time: see
docs/decisions/0010-the-student-runs-on-numpy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.ranking.student.settings import StudentNetworkSettings

RMS_EPSILON: Final = 1e-6
_MOST: Final = 4
"""Multiplying all rows of a table costs less than gathering more than one in this many."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StudentWeights:
    """Everything that a score is computed from; all float32.

    d is the dimension, D that of the candidates' vectors, c = (newest + pools) * d the length of what is seen
    directly, s = c + d that of the state, L the history length.

    Attributes:
        inputs: Shape (n, d): items in a history.
        keys: Shape (n, d), and
        values: shape (n, d): what attention makes of them.
        outputs: Shape (n, D): items as candidates.
        biases: Shape (n,): scores that no user changes.
        pool_weights: Shape (pools, L): weight by steps back, newest first, not normalised.
        lag_biases: Shape (heads, L): added to attention's logits, by steps back, newest first.
        query: Shape (d, c), divided by the root of a head's size, and
        query_bias: shape (d,), too.
        state: Shape (D + hidden, s): the direct part, then the hidden layer with the norm's gain in it.
        direct_bias: Shape (D,).
        hidden_bias: Shape (hidden,).
        contract: Shape (D, hidden).
        segments: By attribute, shape (values + 1, D); row 0 is zero and stands for unknown.
    """

    inputs: Array
    keys: Array
    values: Array
    outputs: Array
    biases: Array
    pool_weights: Array
    lag_biases: Array
    query: Array
    query_bias: Array
    state: Array
    direct_bias: Array
    hidden_bias: Array
    contract: Array
    segments: tuple[Array, ...]


class StudentScorer:
    """Scores items for a user. Holds no state between calls; safe to share between threads."""

    def __init__(self, settings: StudentNetworkSettings, weights: StudentWeights) -> None:
        """Prepare what is the same for every request.

        Args:
            settings: Sizes.
            weights: Of matching shapes; see `artifact.read`, which checks them.
        """
        self.settings = settings
        self.weights = weights
        d = settings.dimension
        # Weights as slices of the newest m positions, oldest first: a history is stored oldest first.
        self._pool_weights = np.ascontiguousarray(weights.pool_weights[:, ::-1])
        self._lag_biases = np.ascontiguousarray(weights.lag_biases[:, ::-1])
        self._pool_totals = np.cumsum(weights.pool_weights, axis=1, dtype=np.float64).astype(np.float32)
        self._every_dimension = np.arange(d)
        self._head_of = self._every_dimension // (d // settings.head_count)
        self._seen_size = weights.query.shape[1]

    def scores(
        self, history: NDArray[np.int64], segment_rows: NDArray[np.int64], candidates: NDArray[np.int64]
    ) -> Array:
        """Score some items for one user.

        Args:
            history: Shape (h,), item rows, oldest first; of more than ``history_length`` the newest count.
            segment_rows: Shape (attributes,): row of each attribute's value, 0 where unknown.
            candidates: Shape (c,), item rows.

        Returns:
            Shape (c,).
        """
        weights = self.weights
        user = self.user_vector(history, segment_rows)
        if _MOST * len(candidates) > len(weights.outputs):
            scores: Array = (weights.outputs @ user + weights.biases)[candidates]
        else:
            scores = weights.outputs.take(candidates, axis=0) @ user + weights.biases.take(candidates)
        return scores

    def user_vector(self, history: NDArray[np.int64], segment_rows: NDArray[np.int64]) -> Array:
        """Shape (D,): see the module of the network for the formula."""
        weights, size = self.weights, len(self.weights.direct_bias)
        history = history[-self.settings.history_length :]
        state = np.zeros(weights.state.shape[1], dtype=np.float32)
        if history.size:
            self._read(history, state)
        products = weights.state @ state
        root_mean_square = np.sqrt(state.dot(state) / np.float32(state.size) + np.float32(RMS_EPSILON))
        hidden = products[size:]
        hidden /= root_mean_square
        hidden += weights.hidden_bias
        np.maximum(hidden, 0.0, out=hidden)
        user: Array = products[:size]
        user += weights.contract @ hidden
        user += weights.direct_bias
        for table, row in zip(weights.segments, segment_rows.tolist(), strict=True):
            if row:
                user += table[row]
        return user

    def _read(self, history: NDArray[np.int64], state: Array) -> None:
        """Fill ``state``, shape (s,), from a history that is not empty."""
        weights, settings = self.weights, self.settings
        d, length = settings.dimension, history.size
        vectors = weights.inputs.take(history, axis=0)
        newest = vectors[: -settings.newest_count - 1 : -1]
        state[: newest.size] = newest.ravel()
        pools_start = settings.newest_count * d
        pools = self._pool_weights[:, -length:] @ vectors
        pools /= self._pool_totals[:, length - 1, None]
        state[pools_start : self._seen_size] = pools.ravel()
        query = weights.query @ state[: self._seen_size]
        query += weights.query_bias
        # One column a head, zero where another head's dimensions are: one product serves all heads.
        by_head = np.zeros((settings.head_count, d), dtype=np.float32)
        by_head[self._head_of, self._every_dimension] = query
        attention = by_head @ weights.keys.take(history, axis=0).T
        attention += self._lag_biases[:, -length:]
        attention -= attention.max(axis=1, keepdims=True)
        np.exp(attention, out=attention)
        attention /= attention.sum(axis=1, keepdims=True)
        read = attention @ weights.values.take(history, axis=0)
        state[self._seen_size :] = read[self._head_of, self._every_dimension]
