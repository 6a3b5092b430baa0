"""The two towers while they learn (PyTorch)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.model import SEGMENT_ATTRIBUTES, TwoTowerWeights
from services.recommendations.retrieval.settings import RetrievalSettings

_EMBEDDING_SCALE: Final = 0.1
_OLDEST_LOG_WEIGHT: Final = -8.0
_BUCKETS_PER_OCTAVE: Final = 2


class TwoTowers(nn.Module):
    """Item tower: unit(id embedding + content). User tower: unit(pools of history vectors + segment + bias).

    Each pool is a weighted mean of the history's item vectors. The weight of a position depends on its bucket
    of recency (finer for the newest), is learned, and starts from a half-life of its own: the whole
    history, a session, the last item.
    """

    def __init__(
        self,
        item_features: tuple[NDArray[np.int32], NDArray[np.float32]],
        vocabulary: ContentVocabulary,
        segment_values: Mapping[str, tuple[str, ...]],
        settings: RetrievalSettings,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        dimension, pools = settings.dimension, settings.pool_count
        self._vocabulary = vocabulary
        self._segment_values = segment_values
        self.feature_rows: Tensor
        self.feature_weights: Tensor
        self.bucket_of: Tensor
        self.register_buffer("feature_rows", torch.from_numpy(item_features[0].astype(np.int64)))
        self.register_buffer("feature_weights", torch.from_numpy(item_features[1]))
        item_count = len(item_features[0])

        def table(rows: int) -> Tensor:
            return torch.randn(rows, dimension, generator=generator) * _EMBEDDING_SCALE

        self.id_embedding = nn.Parameter(table(item_count))
        self.content_embedding = nn.Parameter(table(len(vocabulary.features) + 1))
        # One more row for an unknown value; it is held at zero in `user_vectors`.
        self.segment_embeddings = nn.ParameterDict(
            {name: nn.Parameter(table(len(segment_values[name]) + 1)) for name in SEGMENT_ATTRIBUTES}
        )
        self.bias = nn.Parameter(table(1)[0])
        self.heads = nn.Parameter(torch.eye(dimension).repeat(pools, 1, 1) / math.sqrt(pools))
        positions = torch.arange(settings.history_length, dtype=torch.float32)
        self.register_buffer("bucket_of", torch.log2(positions + 1).mul(_BUCKETS_PER_OCTAVE).long())
        self.log_recency = nn.Parameter(_initial_log_recency(self.bucket_of, positions, pools))

    def item_vectors(self, rows: Tensor, has_id: Tensor | None = None) -> Tensor:
        """Shape (m, d), unit length.

        Args:
            rows: Shape (m,), catalogue rows.
            has_id: Shape (m, 1), 0 where an item has its content alone; 1 for every item where None.
        """
        identity = self.id_embedding.index_select(0, rows)
        if has_id is not None:
            identity = identity * has_id
        content = functional.embedding_bag(
            self.feature_rows[rows],
            self.content_embedding,
            per_sample_weights=self.feature_weights[rows],
            mode="sum",
            padding_idx=0,
        )
        return functional.normalize(identity + content, dim=1)

    def user_vectors(self, history: Tensor, present: Tensor, segments: Tensor) -> Tensor:
        """Shape (b, d), unit length.

        Args:
            history: Shape (b, l, d), item vectors, newest first.
            present: Shape (b, l), 1 where there is an item, 0 where there is none.
            segments: Shape (b, attributes), row of each attribute's table; -1 where unknown.
        """
        weights = present[:, None, :] * self.recency()[None, :, : present.shape[1]]
        weights = weights / (weights.sum(dim=2, keepdim=True) + 1e-6)
        pooled = torch.bmm(weights, history)
        vectors = torch.einsum("bpd,pde->be", pooled, self.heads) + self.bias
        for column, name in enumerate(SEGMENT_ATTRIBUTES):
            values = segments[:, column]
            known = (values >= 0).to(vectors.dtype)[:, None]
            vectors = vectors + known * self.segment_embeddings[name][values]
        return functional.normalize(vectors, dim=1)

    def recency(self) -> Tensor:
        """Shape (pools, history_length), positive."""
        return self.log_recency.exp()[:, self.bucket_of]

    @torch.no_grad()
    def export(self) -> tuple[TwoTowerWeights, NDArray[np.float32]]:
        """Return what serves: the weights, and the vectors of all items, shape (items, d)."""

        def array(tensor: Tensor) -> NDArray[np.float32]:
            result: NDArray[np.float32] = tensor.detach().numpy().copy()
            return result

        content = array(self.content_embedding)
        content[0] = 0.0
        weights = TwoTowerWeights(
            recency=array(self.recency()),
            heads=array(self.heads),
            bias=array(self.bias),
            segments={name: array(table)[:-1] for name, table in self.segment_embeddings.items()},
            segment_values=self._segment_values,
            content=content,
            vocabulary=self._vocabulary,
        )
        return weights, array(self.item_vectors(torch.arange(len(self.id_embedding))))


class OwnNegatives(NamedTuple):
    """Negatives that each user has alone.

    Attributes:
        vectors: Shape (b, h, d).
        log_expected_counts: Shape (b, h), as in `sampled_softmax_loss`.
        absent: Shape (b, h), true where there is no item.
    """

    vectors: Tensor
    log_expected_counts: Tensor
    absent: Tensor


def sampled_softmax_loss(
    users: Tensor,
    candidates: Tensor,
    log_expected_counts: Tensor,
    not_negative: Tensor,
    temperature: float,
    own_negatives: OwnNegatives | None = None,
) -> Tensor:
    """Mean cross-entropy of each user's target over the catalogue, estimated from sampled negatives.

    A negative i stands in the logits as s_i / temperature - log q_i, where q_i is how often it is expected
    among all of the user's negatives, whichever way they were drawn: what is drawn more often would otherwise
    be pushed down for that alone (Bengio and Senecal 2008; Yi et al. 2019, the logQ correction; over several
    ways of drawing it is the balance heuristic of Veach and Guibas 1995). The target is always there, exactly
    once, so nothing is subtracted from it: the denominator is then an unbiased estimate of the full softmax's
    (Khrylchenko et al. 2025 show what correcting the target too does).

    Args:
        users: Shape (b, d).
        candidates: Shape (c, d), c at least b: the target of user i is candidate i.
        log_expected_counts: Shape (c,) or, where users differ, (b, c): log q; not used for a user's target.
        not_negative: Shape (b, c), true where a candidate must not count against the user: another copy of
            the target, or an item the user has seen. A mark on the target itself is ignored.
        temperature: Of the softmax.
        own_negatives: More negatives, each user's own.
    """
    logits = users @ candidates.T / temperature - log_expected_counts
    logits = logits.masked_fill(not_negative, -torch.inf)
    own = torch.arange(len(users))
    target_logits = (users * candidates[: len(users)]).sum(dim=1) / temperature
    logits = logits.index_put((own, own), target_logits)
    if own_negatives is not None:
        similarities = torch.einsum("bd,bhd->bh", users, own_negatives.vectors)
        more = similarities / temperature - own_negatives.log_expected_counts
        logits = torch.cat((logits, more.masked_fill(own_negatives.absent, -torch.inf)), dim=1)
    return functional.cross_entropy(logits, own)


def _initial_log_recency(bucket_of: Tensor, positions: Tensor, pools: int) -> Tensor:
    counts = torch.bincount(bucket_of)
    ages = torch.bincount(bucket_of, weights=positions) / counts.clamp(min=1)
    half_lives = torch.tensor([math.inf] + [15.0 * 15.0 ** (-pool) for pool in range(pools - 1)])
    initial: Tensor = (-math.log(2.0) * ages[None, :] / half_lives[:, None]).clamp(min=_OLDEST_LOG_WEIGHT)
    return initial
