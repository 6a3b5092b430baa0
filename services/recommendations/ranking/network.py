"""The causal transformer over a user's history (SASRec: Kang and McAuley 2018), pre-norm.

An item's vector is an id embedding plus the weighted sum of its content embeddings; the same vectors are the
input and the output side, as in the paper's shared item embedding (sec. III-C). An item without any train
interaction has no id embedding: content alone speaks for it.
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
"""The item row that stands for no item. Padding is on the right, where causal attention never looks."""

_INITIAL_DEVIATION: Final = 0.02


class SequenceEncoder(nn.Module):
    """Item vectors of a history in, one hidden state per position out; a position sees itself and before."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        dimension = settings.dimension
        self.scale = math.sqrt(dimension)
        self.positions = nn.Parameter(torch.randn(settings.history_length, dimension) * _INITIAL_DEVIATION)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            _Block(dimension, settings.head_count, settings.dropout) for _ in range(settings.layer_count)
        )
        self.norm = nn.LayerNorm(dimension)

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (b, length, d) to (b, length, d); ``length`` is at most ``history_length``."""
        hidden = self.dropout(vectors * self.scale + self.positions[: vectors.shape[1]])
        for block in self.blocks:
            hidden = block(hidden)
        output: Tensor = self.norm(hidden)
        return output


class SequenceNetwork(nn.Module):
    """The encoder together with the item vectors that it reads and predicts."""

    def __init__(
        self,
        content: ContentTable,
        train_counts: NDArray[np.int64],
        settings: NetworkSettings,
    ) -> None:
        """Build the network.

        Args:
            content: Content features of the n items.
            train_counts: Shape (n,): train interactions of each item.
            settings: Sizes.
        """
        super().__init__()
        self.item_dropout = settings.item_dropout
        self.encoder = SequenceEncoder(settings)
        self.identity = nn.Parameter(torch.randn(len(train_counts), settings.dimension) * _INITIAL_DEVIATION)
        self.content = nn.Parameter(
            torch.randn(content.feature_count, settings.dimension) * _INITIAL_DEVIATION
        )
        self.bias = nn.Parameter(torch.zeros(len(train_counts)))
        self.register_buffer("known", torch.from_numpy(train_counts > 0).float(), persistent=False)
        self.register_buffer("prior", torch.from_numpy(log_prior(train_counts)), persistent=False)
        self.register_buffer("content_rows", torch.from_numpy(content.rows), persistent=False)
        self.register_buffer("content_weights", torch.from_numpy(content.weights), persistent=False)

    def item_vectors(self) -> Tensor:
        """Shape (n, d). In training a share of the items does without its id embedding."""
        known = self.get_buffer("known")
        if self.training and self.item_dropout > 0.0:
            known = known * (torch.rand_like(known) >= self.item_dropout)
        bags = functional.embedding_bag(
            self.get_buffer("content_rows"),
            self.content,
            per_sample_weights=self.get_buffer("content_weights"),
            mode="sum",
        )
        return self.identity * known[:, None] + bags

    def item_biases(self) -> Tensor:
        """Shape (n,): log popularity, corrected by a learned amount for items that were trained on."""
        return self.get_buffer("prior") + self.bias * self.get_buffer("known")

    def hidden_states(self, items: Tensor, vectors: Tensor) -> Tensor:
        """Encode histories.

        Args:
            items: Shape (b, length), item rows, oldest first, `PADDING` on the right.
            vectors: Shape (n, d), from `item_vectors`.

        Returns:
            Shape (b, length, d).
        """
        states: Tensor = self.encoder(functional.embedding(items.clamp(min=0), vectors))
        return states


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


def log_prior(train_counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Shape (n,): log of each item's share of the interactions, with half an interaction for everyone."""
    smoothed = train_counts.astype(np.float64) + 0.5
    logarithms: NDArray[np.float32] = np.log(smoothed / smoothed.sum()).astype(np.float32)
    return logarithms
