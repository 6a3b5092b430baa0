"""How good a network is while it learns, without the candidate features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from services.recommendations.ranking.batches import newest
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.settings import RankingSettings
from streamrec.training.ranking_metrics import LIST_LENGTH, ndcg_at, rank_of, top_unseen
from streamrec.training.splits import Split, UserHistories

_BATCH_USERS: Final = 64


@dataclass(frozen=True)
class NetworkValidation:
    """Mean NDCG over the whole list of the logits, on the validation items of a fixed sample of users.

    Over the whole list and not its first ten places: it moves with every item's place, and so is less noisy.

    Attributes:
        users: Shape (v,), rows of the users.
        targets: Shape (v,), their validation items.
        train: Their histories.
        seen: Shape (v, n), what is filtered from their answers.
        segments: Shape (users of ``train``, attributes); see `UserEncoder.pooled`.
        history_length: Items of a history that count.
    """

    users: NDArray[np.int32]
    targets: NDArray[np.int32]
    train: UserHistories
    seen: sparse.csr_matrix
    segments: NDArray[np.int64]
    history_length: int

    @classmethod
    def of(
        cls, split: Split, segments: NDArray[np.int64], settings: RankingSettings, rng: np.random.Generator
    ) -> Self:
        """Sample the users."""
        size = min(settings.optimisation.validation_users, split.evaluated.size)
        chosen = np.sort(rng.choice(split.evaluated.size, size, replace=False))
        users = split.evaluated[chosen]
        return cls(
            users=users,
            targets=split.validation[chosen],
            train=split.train,
            seen=split.train.matrix(len(split.catalogue))[users],
            segments=segments,
            history_length=settings.network.history_length,
        )

    def __call__(self, network: SequenceNetwork, ordered: bool) -> float:
        """Of the sum of both logits, or of the pooled one alone; the network is in evaluation mode."""
        ranks = []
        with torch.inference_mode():
            vectors = network.item_vectors()
            for start in range(0, len(self.users), _BATCH_USERS):
                batch = slice(start, start + _BATCH_USERS)
                users = self._user_vectors(network, vectors, self.users[batch], ordered)
                top = top_unseen((users @ vectors.T).cpu().numpy(), self.seen[batch], LIST_LENGTH)
                ranks.append(rank_of(top, self.targets[batch]))
        return float(ndcg_at(np.concatenate(ranks), LIST_LENGTH).mean())

    def _user_vectors(
        self, network: SequenceNetwork, vectors: Tensor, users: NDArray[np.int32], ordered: bool
    ) -> Tensor:
        items = newest(self.train, users, self.history_length)
        present = items != PADDING
        device = vectors.device
        segments = torch.from_numpy(self.segments[users]).to(device)
        history = functional.embedding(torch.from_numpy(np.maximum(items, 0)).to(device), vectors)
        pooled = network.encoder.pooled(history, torch.from_numpy(present).float().to(device), segments)
        if not ordered:
            return pooled
        lengths = present.sum(axis=1)
        # Oldest first: each row turned round within its own length, so that padding stays on the right.
        positions = np.maximum(lengths[:, None] - 1 - np.arange(items.shape[1]), 0)
        turned = torch.from_numpy(np.maximum(np.take_along_axis(items, positions, axis=1), 0)).to(device)
        states = network.encoder.ordered(functional.embedding(turned, vectors), segments)
        newest_places = torch.from_numpy(np.maximum(lengths - 1, 0)).to(device)
        return pooled + states[torch.arange(len(users), device=device), newest_places]
