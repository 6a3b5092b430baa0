"""The network of the ranker: learned pools of the history, and a causal transformer that corrects them.

pooled   p(t) = unit(b + s + sum_k W_k p_k(t))
ordered  o(t) = unit(b + s + sum_k W_k p_k(t) + T(v_1 .. v_t))

p_k are recency-weighted means of the item vectors up to position t, s is what the segment adds, b is a bias
and T is a causal transformer over the item vectors (SASRec: Kang and McAuley 2018, pre-norm). The pools and
the item vectors are learned first and generalise from little data; T is learned after them, so that it
explains what they cannot, and they go on learning beside it. A logit is the cosine of a user vector and an
item vector over the temperature.

An item's vector is its id embedding plus the weighted sum of its content embeddings, at unit length; the same
vectors are the input and the output side, as in the paper's shared item embedding (sec. III-C). An item
without any train interaction has no id embedding: its vector is that of its content.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.settings import NetworkSettings

PADDING: Final = -1
"""The item row that stands for no item. Padding is on the right, where no earlier position looks."""

_EMBEDDING_DEVIATION: Final = 0.1
_POSITION_DEVIATION: Final = 0.02
_LONGEST_HALF_LIFE: Final = 15.0
_OLDEST_LOG_WEIGHT: Final = -8.0
_BUCKETS_PER_OCTAVE: Final = 2
_SMALLEST: Final = 1e-6


class RecencyPools(nn.Module):
    """Weighted means of a history's vectors, each mean through a matrix of its own, summed.

    The weight of a vector depends on how many steps back it lies, in buckets that are finer for the newest,
    and is learned. The pools start as the whole history, a session, and the last item.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        pools, dimension = settings.pool_count, settings.dimension
        steps_back = np.arange(settings.history_length)
        bucket_of = (np.log2(steps_back + 1) * _BUCKETS_PER_OCTAVE).astype(np.int64)
        self.register_buffer("bucket_of", torch.from_numpy(bucket_of), persistent=False)
        self.log_weights = nn.Parameter(_initial_log_weights(bucket_of, steps_back, pools))
        self.heads = nn.Parameter(torch.eye(dimension).repeat(pools, 1, 1) / math.sqrt(pools))

    def newest(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Pool whole histories.

        Args:
            vectors: Shape (b, length, d), newest first; ``length`` is at most ``history_length``.
            present: Shape (b, length), 1 where there is an item, 0 where there is none.

        Returns:
            Shape (b, d); zero for an empty history.
        """
        weights = present[:, None, :] * self._weights(vectors.shape[1])[None]
        return self._pool(weights, vectors)[:, 0]

    def causal(self, vectors: Tensor) -> Tensor:
        """Pool the history up to each position, itself included.

        Args:
            vectors: Shape (b, length, d), oldest first.

        Returns:
            Shape (b, length, d).
        """
        length = vectors.shape[1]
        position = torch.arange(length, device=vectors.device)
        lag = position[:, None] - position[None, :]
        weights = self._weights(length)[:, lag.clamp(min=0)] * (lag >= 0)
        return self._pool(weights.reshape(1, -1, length), vectors, length)

    def _weights(self, length: int) -> Tensor:
        return self.log_weights.exp()[:, self.get_buffer("bucket_of")[:length]]

    def _pool(self, weights: Tensor, vectors: Tensor, positions: int = 1) -> Tensor:
        """Shape (b or 1, pools * positions, length) and (b, length, d) to (b, positions, d)."""
        weights = weights / (weights.sum(dim=2, keepdim=True) + _SMALLEST)
        means = (weights @ vectors).view(len(vectors), len(self.heads), positions, -1)
        pooled: Tensor = torch.einsum("bpld,pde->ble", means, self.heads)
        return pooled


class UserEncoder(nn.Module):
    """Item vectors of a history and a segment in, user vectors of unit length out."""

    def __init__(self, settings: NetworkSettings, segment_sizes: tuple[int, ...]) -> None:
        """Build the encoder.

        Args:
            settings: Sizes.
            segment_sizes: Known values of each segment attribute, in the order of their columns.
        """
        super().__init__()
        dimension = settings.dimension
        self.scale = math.sqrt(dimension)
        self.pools = RecencyPools(settings)
        self.bias = nn.Parameter(torch.randn(dimension) * _EMBEDDING_DEVIATION)
        self.segments = nn.ParameterList(
            torch.randn(size + 1, dimension) * _EMBEDDING_DEVIATION for size in segment_sizes
        )
        self.transformer = Transformer(settings)

    def pooled(self, vectors: Tensor, present: Tensor, segments: Tensor) -> Tensor:
        """Encode histories without regard to more of their order than recency.

        Args:
            vectors: Shape (b, length, d), newest first; ``length`` is at most ``history_length``.
            present: Shape (b, length), 1 where there is an item, 0 where there is none.
            segments: Shape (b, attributes), int64: row of each attribute's value, 0 where unknown.

        Returns:
            Shape (b, d), unit length.
        """
        return functional.normalize(self.pools.newest(vectors, present) + self._base(segments), dim=1)

    def ordered(self, vectors: Tensor, segments: Tensor) -> Tensor:
        """Encode every prefix of histories: what the pools say, corrected by the transformer.

        Args:
            vectors: Shape (b, length, d), oldest first; ``length`` is at most ``history_length``.
            segments: As in `pooled`.

        Returns:
            Shape (b, length, d), unit length. A position sees itself and before.
        """
        pooled = self.pools.causal(vectors) + self._base(segments)[:, None]
        return functional.normalize(pooled + self.transformer(vectors), dim=2)

    def _base(self, segments: Tensor) -> Tensor:
        base: Tensor = self.bias.expand(len(segments), -1)
        for column, table in enumerate(self.segments):
            values = segments[:, column]
            base = base + table[values] * (values > 0)[:, None]
        return base


class Transformer(nn.Module):
    """Vectors of a history in, one correction of the user vector per position out."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        dimension = settings.dimension
        self.scale = math.sqrt(dimension)
        self.positions = nn.Parameter(torch.randn(settings.history_length, dimension) * _POSITION_DEVIATION)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            _Block(dimension, settings.head_count, settings.dropout) for _ in range(settings.layer_count)
        )
        self.norm = nn.LayerNorm(dimension)
        self.output = nn.Linear(dimension, dimension, bias=False)
        # It starts silent: before it has learned anything, the pools speak alone.
        nn.init.zeros_(self.output.weight)

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (b, length, d) to the same; ``length`` is at most ``history_length``, oldest first."""
        hidden = self.dropout(vectors * self.scale + self.positions[: vectors.shape[1]])
        for block in self.blocks:
            hidden = block(hidden)
        corrections: Tensor = self.output(self.norm(hidden))
        return corrections


class SequenceNetwork(nn.Module):
    """The encoder together with the item vectors that it reads and predicts."""

    def __init__(
        self,
        content: ContentTable,
        train_counts: NDArray[np.int64],
        segment_sizes: tuple[int, ...],
        settings: NetworkSettings,
    ) -> None:
        """Build the network.

        Args:
            content: Content features of the n items.
            train_counts: Shape (n,): train interactions of each item.
            segment_sizes: See `UserEncoder`.
            settings: Sizes.
        """
        super().__init__()
        self.item_dropout = settings.item_dropout
        self.temperature = settings.temperature
        self.encoder = UserEncoder(settings, segment_sizes)

        def table(rows: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, settings.dimension) * _EMBEDDING_DEVIATION)

        self.identity = table(len(train_counts))
        self.content = table(content.feature_count)
        self.register_buffer("known", torch.from_numpy(train_counts > 0).float(), persistent=False)
        self.register_buffer("content_rows", torch.from_numpy(content.rows), persistent=False)
        self.register_buffer("content_weights", torch.from_numpy(content.weights), persistent=False)

    def item_vectors(self, rows: Tensor | None = None) -> Tensor:
        """Shape (m, d), unit length, of some rows or of all.

        In training a share of the items does without its id embedding.
        """
        known: Tensor = self.get_buffer("known")
        identity: Tensor = self.identity
        features, weights = self.get_buffer("content_rows"), self.get_buffer("content_weights")
        if rows is not None:
            known, identity = known[rows], identity.index_select(0, rows)
            features, weights = features[rows], weights[rows]
        if self.training and self.item_dropout > 0.0:
            # Without content an item has nothing else to stand on.
            kept = (torch.rand_like(known) >= self.item_dropout) | ~weights.any(dim=1)
            known = known * kept
        content = functional.embedding_bag(features, self.content, per_sample_weights=weights, mode="sum")
        return functional.normalize(identity * known[:, None] + content, dim=1)


class _Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to its input."""

    def __init__(self, dimension: int, head_count: int, dropout: float) -> None:
        super().__init__()
        self.head_count = head_count
        self.attention_norm = nn.LayerNorm(dimension)
        self.query_key_value = nn.Linear(dimension, 3 * dimension)
        self.attention_output = nn.Linear(dimension, dimension)
        self.feed_forward_norm = nn.LayerNorm(dimension)
        self.expand = nn.Linear(dimension, 4 * dimension)
        self.contract = nn.Linear(4 * dimension, dimension)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, length, dimension = hidden.shape
        heads = self.query_key_value(self.attention_norm(hidden)).view(
            batch, length, 3, self.head_count, dimension // self.head_count
        )
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended = attended.transpose(1, 2).reshape(batch, length, dimension)
        hidden = hidden + self.dropout(self.attention_output(attended))
        expanded = self.dropout(functional.gelu(self.expand(self.feed_forward_norm(hidden))))
        output: Tensor = hidden + self.dropout(self.contract(expanded))
        return output


def _initial_log_weights(bucket_of: NDArray[np.int64], steps_back: NDArray[np.int64], pools: int) -> Tensor:
    """Shape (pools, buckets): half-lives of the whole history, then 15 steps, 1 step and so on."""
    ages = np.bincount(bucket_of, weights=steps_back) / np.maximum(np.bincount(bucket_of), 1)
    half_lives = np.array([math.inf, *(_LONGEST_HALF_LIFE ** (1 - pool) for pool in range(pools - 1))])
    logarithms = -math.log(2.0) * ages[None, :] / half_lives[:, None]
    return torch.from_numpy(np.maximum(logarithms, _OLDEST_LOG_WEIGHT).astype(np.float32))
