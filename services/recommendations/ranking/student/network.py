"""The student while it learns: prefixes of windows of items in, one user vector each out.

u(t) = D h(t) + C relu(E rms(h(t)) + e) + s,   h(t) = [x_t, x_(t-1), .., p_1(t) .. p_P(t), a(t)]

x are item vectors, p_k recency-weighted means of them and a one layer of attention (Vaswani et al. 2017,
eq. 1) whose query is made of the newest items and the means, and whose logits carry a learned bias for the
number of steps back (Shaw et al. 2018 in the scalar form of Raffel et al. 2020, sec. 2.1) in place of
position embeddings. So a key and a value depend on the item alone: when serving they are rows of a table, and
only the newest position is computed. The score of an item is u . y_i + b_i and what its features add. y and b
are the teacher's and are not learned, so that an item that few labels speak of keeps its place.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from services.recommendations.ranking.student.settings import StudentNetworkSettings

PADDING: Final = -1
"""The item row that stands for no item; on the right, where no earlier position looks."""
RMS_EPSILON: Final = 1e-6

_HALF_LIVES: Final = (math.inf, 15.0, 3.0)
_OLDEST_LOG_WEIGHT: Final = -8.0
_HEAD_RECENCY: Final = 0.3
_FIRST_HIDDEN_GAIN: Final = 0.1
_FIRST_GAIN: Final = 10.0
"""Length of the first user vectors: the scores must be able to tell items from the start."""


class StudentNetwork(nn.Module):
    """Item tables and the encoder over them."""

    outputs: Tensor
    biases: Tensor

    def __init__(
        self,
        settings: StudentNetworkSettings,
        item_vectors: NDArray[np.float32],
        item_biases: NDArray[np.float32],
        segment_sizes: tuple[int, ...],
    ) -> None:
        """Build the network.

        Args:
            settings: Sizes.
            item_vectors: Shape (n, D): y. Its principal directions are what x starts from.
            item_biases: Shape (n,): b.
            segment_sizes: Known values of each segment attribute.
        """
        super().__init__()
        self.settings = settings
        d, length = settings.dimension, settings.history_length
        directions = principal_directions(item_vectors, d)
        self.inputs = nn.Parameter(torch.from_numpy(item_vectors @ directions))
        self.register_buffer("outputs", torch.from_numpy(item_vectors.copy()))
        self.register_buffer("biases", torch.from_numpy(item_biases.copy()))
        size = item_vectors.shape[1]
        steps_back = torch.arange(length, dtype=torch.float32)
        half_lives = torch.tensor(
            [_HALF_LIVES[pool % len(_HALF_LIVES)] for pool in range(settings.pool_count)]
        )
        recency = -math.log(2.0) * steps_back[None, :] / half_lives[:, None]
        self.pool_log_weights = nn.Parameter(recency.clamp(min=_OLDEST_LOG_WEIGHT))
        head_recency = _HEAD_RECENCY * torch.arange(settings.head_count)
        self.lag_biases = nn.Parameter(-head_recency[:, None] * torch.log1p(steps_back)[None, :])
        seen_size = (settings.newest_count + settings.pool_count) * d
        self.query = nn.Linear(seen_size, d)
        self.key = nn.Linear(d, d, bias=False)
        self.value = nn.Linear(d, d, bias=False)
        state_size = seen_size + d
        self.norm = nn.RMSNorm(state_size, eps=RMS_EPSILON)
        self.expand = nn.Linear(state_size, settings.hidden_size)
        self.contract = nn.Linear(settings.hidden_size, size, bias=False)
        self.direct = nn.Linear(state_size, size)
        self.segments = nn.ParameterList(torch.zeros(values + 1, size) for values in segment_sizes)
        with torch.no_grad():
            parts = settings.newest_count + settings.pool_count
            self.direct.weight.zero_()
            self.direct.bias.zero_()
            for part in range(parts):
                block = self.direct.weight[:, part * d : (part + 1) * d]
                block.copy_(torch.from_numpy(directions) * (_FIRST_GAIN / parts))
            self.contract.weight.mul_(_FIRST_HIDDEN_GAIN)

    def forward(self, items: Tensor, lengths: Tensor, segments: Tensor) -> Tensor:
        """Encode some prefixes of some windows.

        Args:
            items: Shape (w, length), item rows, oldest first, `PADDING` on the right; ``length`` is at most
                ``history_length``.
            lengths: Shape (w, p), int64: items of each prefix, 0 to those of its window.
            segments: Shape (w, attributes), int64: row of each attribute's value, 0 where unknown.

        Returns:
            Shape (w, p, D): user vectors.
        """
        state = torch.zeros(*lengths.shape, self.direct.in_features)
        if items.shape[1]:
            # Of an empty prefix there is nothing to see.
            state = self._read(items, lengths) * (lengths > 0)[..., None]
        users = self.direct(state) + self.contract(functional.relu(self.expand(self.norm(state))))
        for column, table in enumerate(self.segments):
            values = segments[:, column]
            users = users + (table[values] * (values > 0)[:, None])[:, None]
        result: Tensor = users
        return result

    def _read(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Shape (w, length) and (w, p) to h, shape (w, p, s); an empty prefix gets what means nothing."""
        settings = self.settings
        windows, length = items.shape
        vectors = functional.embedding(items.clamp(min=0), self.inputs)
        steps_back = lengths[..., None] - 1 - torch.arange(length)
        absent, steps_back = steps_back < 0, steps_back.clamp(min=0)
        # An empty prefix may look at the first item, so that no softmax is over nothing.
        absent = absent & ((lengths > 0)[..., None] | (torch.arange(length) > 0))

        back = lengths[..., None] - 1 - torch.arange(settings.newest_count)
        places = back.clamp(min=0).view(windows, -1, 1).expand(-1, -1, settings.dimension)
        newest = vectors.gather(1, places) * (back >= 0).view(windows, -1, 1)

        pool_logits = self.pool_log_weights[:, steps_back].permute(1, 2, 0, 3)
        pool_logits = pool_logits.masked_fill(absent[:, :, None], -torch.inf)
        pools = torch.einsum("wpkl,wld->wpkd", pool_logits.softmax(dim=3), vectors)
        seen = torch.cat([newest.reshape(*lengths.shape, -1), pools.flatten(2)], dim=2)

        def heads(states: Tensor) -> Tensor:
            return states.view(windows, -1, settings.head_count, settings.dimension // settings.head_count)

        logits = torch.einsum("wphe,wlhe->wphl", heads(self.query(seen)), heads(self.key(vectors)))
        logits = logits / math.sqrt(settings.dimension // settings.head_count)
        logits = logits + self.lag_biases[:, steps_back].permute(1, 2, 0, 3)
        logits = logits.masked_fill(absent[:, :, None], -torch.inf)
        read = torch.einsum("wphl,wlhe->wphe", logits.softmax(dim=3), heads(self.value(vectors)))
        return torch.cat([seen, read.flatten(2)], dim=2)


def principal_directions(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Shape (D, dimension): orthonormal columns that keep the most of (n, D) vectors, and then zeros.

    Vectors that fit are kept as they are: the columns are then those of the identity.
    """
    given = vectors.shape[1]
    if given <= dimension:
        return np.eye(given, dimension, dtype=np.float32)
    _, _, directions = np.linalg.svd(vectors, full_matrices=False)
    kept = np.zeros((given, dimension), dtype=np.float32)
    found = directions[:dimension].T
    kept[:, : found.shape[1]] = found
    return kept
